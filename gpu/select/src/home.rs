//! Where a person's words on one adapter are kept.

use crate::card::{Edits, Seen};
use crate::catalogue::Catalogue;
use crate::error::Result;
use crate::keep::Keep;
use crate::place::Place;
use std::sync::Arc;

/// An adapter's part of a catalogue.
#[derive(Clone)]
pub struct Home {
    keeper: Arc<dyn Keep>,
    /// Its key there: the tensors' sha256, or `path:PATH` while that is not known.
    key: String,
    place: Place,
}

impl Home {
    /// Under `key` in the catalogue that `keeper` keeps; its files are at `place`.
    pub fn new(keeper: Arc<dyn Keep>, key: String, place: Place) -> Home {
        Home { keeper, key, place }
    }

    /// Changes the card: what is said here wins over what files say, now and after every new indexing.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub async fn edit(&self, change: Edits) -> Result<()> {
        self.change(|catalogue, key| catalogue.edits.entry(key.into()).or_default().merge(change)).await.map(drop)
    }

    /// Forgets what was said: the card is again as the files have it.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub async fn clear(&self) -> Result<()> {
        self.change(|catalogue, key| drop(catalogue.edits.shift_remove(key))).await.map(drop)
    }

    /// Keeps what pictures showed, and the one that becomes the thumbnail.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub async fn keep_seen(&self, seen: Seen, png: &[u8]) -> Result<()> {
        let key = self.change(|catalogue, key| drop(catalogue.seen.insert(key.into(), seen))).await?;
        self.keeper.keep_picture(&key, png).await
    }

    /// The thumbnail that is kept here.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub async fn picture(&self) -> Result<Option<Vec<u8>>> {
        self.keeper.picture(&self.key).await
    }

    /// Notes the hash of the tensors, which was not known when the catalogue was read. What was said before moves along; true if anything is said
    /// under it, perhaps of another file with these tensors.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub async fn learn_key(&mut self, key: &str) -> Result<bool> {
        let Some(path) = self.key.strip_prefix("path:") else { return Ok(false) };
        let mut is_said = false;
        let note = |catalogue: &mut Catalogue| {
            catalogue.set_key(path, key.into());
            is_said = catalogue.edits.contains_key(key) || catalogue.seen.contains_key(key);
        };
        self.keeper.change(Box::new(note)).await?;
        self.key = key.into();
        Ok(is_said)
    }

    /// Changes the catalogue and gives the key that the change was made under.
    async fn change(&self, change: impl FnOnce(&mut Catalogue, &str)) -> Result<String> {
        let path = self.key.strip_prefix("path:");
        // What is kept shall outlive the file's name: where nobody has hashed a large file yet, it is done now.
        let hashed = match path {
            Some(_) => self.place.key(&|| true).await.ok().flatten(),
            None => None,
        };
        let key = hashed.clone().unwrap_or_else(|| self.key.clone());
        let work = |catalogue: &mut Catalogue| {
            if let (Some(path), Some(hashed)) = (path, hashed) {
                catalogue.set_key(path, hashed);
            }
            change(catalogue, &key);
        };
        self.keeper.change(Box::new(work)).await?;
        Ok(key)
    }
}
