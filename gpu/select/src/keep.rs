//! Where a catalogue is kept: one SQLite file natively (`sqlite.rs`), one file in the page's own storage in a browser tab (`app/src/io`).

use crate::catalogue::Catalogue;
use crate::error::Result;
use admix_files::source::Shareable;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// What an operation of a [`Keep`] gives. Natively it is finished when it is made.
pub type KeepFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A change to a catalogue.
pub type CatalogueChange<'a> = Box<dyn FnOnce(&mut Catalogue) + 'a>;

/// Keeps one catalogue and the pictures that belong to it.
pub trait Keep: Shareable {
    /// The catalogue as it is kept; an empty one where nothing is kept yet.
    fn read(&self) -> KeepFuture<'_, Catalogue>;

    /// Reads, changes and writes, all or nothing.
    fn change<'a>(&'a self, change: CatalogueChange<'a>) -> KeepFuture<'a, ()>;

    /// The picture (a PNG) under a key; none if there is none.
    fn picture<'a>(&'a self, key: &'a str) -> KeepFuture<'a, Option<Vec<u8>>>;

    /// Keeps a picture under a key, in place of what was there.
    fn keep_picture<'a>(&'a self, key: &'a str, png: &'a [u8]) -> KeepFuture<'a, ()>;
}

/// Keeps for as long as the program runs: where nothing can be written.
#[derive(Default)]
pub struct Passing {
    catalogue: Mutex<Catalogue>,
    pictures: Mutex<std::collections::HashMap<String, Vec<u8>>>,
}

impl Keep for Passing {
    fn read(&self) -> KeepFuture<'_, Catalogue> {
        let held = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(std::future::ready(Ok(held)))
    }

    fn change<'a>(&'a self, change: CatalogueChange<'a>) -> KeepFuture<'a, ()> {
        change(&mut self.catalogue.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(Ok(())))
    }

    fn picture<'a>(&'a self, key: &'a str) -> KeepFuture<'a, Option<Vec<u8>>> {
        let held = self.pictures.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        Box::pin(std::future::ready(Ok(held)))
    }

    fn keep_picture<'a>(&'a self, key: &'a str, png: &'a [u8]) -> KeepFuture<'a, ()> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), png.into());
        Box::pin(std::future::ready(Ok(())))
    }
}
