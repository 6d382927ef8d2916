//! The tab's catalogue: one JSON file in the page's own storage, and the pictures of cards beside it.

use std::cell::Cell;

use admix_engine::select::Error;
use admix_engine::select::catalogue::Catalogue;
use admix_engine::select::keep::{CatalogueChange, Keep, KeepFuture};

use crate::io::assets::pause;
use crate::io::store;

/// The catalogue's file.
const FILE: &str = "cards/catalogue.json";
/// Where one goes that cannot be read: a person's work is never thrown away.
const DAMAGED: &str = "cards/catalogue.damaged.json";

/// The catalogue in the page's own storage.
pub struct Opfs;

thread_local! {
    static IS_TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// The right to read, change and write: two changes that wait for the browser in between would each write without the other's.
struct Turn;

impl Turn {
    async fn take() -> Turn {
        while IS_TAKEN.replace(true) {
            pause(5).await;
        }
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.set(false);
    }
}

fn key_of(key: &str) -> String {
    format!("cards/{}.png", store::as_key(key))
}

async fn read() -> Result<Catalogue, Error> {
    let Some(bytes) = store::read(FILE).await.map_err(Error::Catalogue)? else { return Ok(Catalogue::default()) };
    match Catalogue::from_bytes(&bytes) {
        Ok(catalogue) => Ok(catalogue),
        Err(error) => {
            log::error!("{error}; a copy is kept as {DAMAGED}");
            store::write(DAMAGED, &bytes).await.map_err(Error::Catalogue)?;
            Ok(Catalogue::default())
        }
    }
}

impl Keep for Opfs {
    fn read(&self) -> KeepFuture<'_, Catalogue> {
        Box::pin(read())
    }

    fn change<'a>(&'a self, change: CatalogueChange<'a>) -> KeepFuture<'a, ()> {
        Box::pin(async {
            let _turn = Turn::take().await;
            let mut catalogue = read().await?;
            change(&mut catalogue);
            store::write(FILE, &catalogue.to_bytes()).await.map_err(Error::Catalogue)
        })
    }

    fn picture<'a>(&'a self, key: &'a str) -> KeepFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { store::read(&key_of(key)).await.map_err(Error::Catalogue) })
    }

    fn keep_picture<'a>(&'a self, key: &'a str, png: &'a [u8]) -> KeepFuture<'a, ()> {
        Box::pin(async move { store::write(&key_of(key), png).await.map_err(Error::Catalogue) })
    }
}
