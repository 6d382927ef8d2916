//! What lies beside the page, and what was dropped into the tab.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use admix_engine::files::Bundle;
use admix_engine::files::checkpoint::{Checkpoint, OpenOptions};
use admix_engine::select::keep::{Keep, Passing};
use admix_engine::select::loose::{self, Loose};
use admix_engine::select::{Error, Filter, Place, Words, stated};
use admix_engine::suggest::Adviser;

use super::opfs::Opfs;
use super::{Heard, Places};
use crate::io::{assets, catalogue, dropped};

thread_local! {
    /// The word vectors, once they are here: 3.2 MB that come when they are first needed.
    static WORDS: RefCell<Option<Arc<Words>>> = const { RefCell::new(None) };
    /// Stands in for the page's own storage where the browser has none for it.
    static PASSING: Arc<Passing> = Arc::default();
}

async fn words() -> Result<Arc<Words>, Error> {
    if let Some(words) = WORDS.with_borrow(Clone::clone) {
        return Ok(words);
    }
    let bytes = assets::read("select/words.safetensors").await?;
    assets::breathe().await;
    let words = Arc::new(Words::from_bytes(&bytes)?);
    WORDS.set(Some(words.clone()));
    Ok(words)
}

async fn keeper() -> Arc<dyn Keep> {
    match Opfs.read().await {
        Ok(_) => Arc::new(Opfs),
        Err(error) => {
            log::warn!("changes to cards last until the page is closed: {error}");
            PASSING.with(Clone::clone)
        }
    }
}

pub(super) async fn open(places: &Places, progress: Heard<'_>, stop: &AtomicBool) -> Result<Adviser, Error> {
    let built_in: HashMap<String, Bundle> = assets::bundles().await.map_err(Error::Usage)?.into_iter().collect();
    let find = |reference: &str| dropped::known(reference).or_else(|| built_in.get(reference).cloned());
    let base = find(&places.base)
        .ok_or_else(|| Error::Usage(format!("{} is not loaded in this tab: drop its file here", places.base)))?;
    let model = Checkpoint::load(base, &OpenOptions::default()).await?;
    let words = words().await?;
    let shipped = catalogue::builtin().into_iter().filter(|item| item.is_adapter).map(|item| item.reference);
    let loose = |reference: String| {
        let place = Place::Held(find(&reference)?);
        Some(Loose { name: catalogue::short(&reference), reference, place })
    };
    let files: Vec<Loose> = places.files.iter().cloned().chain(shipped).filter_map(loose).collect();
    let mut shelf = loose::shelf(&files, keeper().await, progress, stop).await?;
    let listed = assets::read("adapters/catalogue.json").await.ok();
    let cards = assets::read("adapters/cards.json").await.ok();
    let stated = stated::read(listed.as_deref(), cards.as_deref(), "the page");
    for entry in shelf.entries.iter_mut().filter(|e| e.reference.starts_with("builtin:")) {
        if let Some(said) = stated.get(&entry.name) {
            entry.found = said.over(std::mem::take(&mut entry.found));
        }
    }
    shelf.adopt_shipped();
    shelf.notes.iter().for_each(|note| log::info!("{note}"));
    assets::breathe().await;
    Ok(Adviser::new(words, shelf, &model, Filter::default()))
}
