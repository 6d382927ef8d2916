//! Adapters that come one by one, not as a folder: dropped onto the studio, or lying beside the page of the browser version.

use crate::catalogue::{Catalogue, Record};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::intake;
use crate::keep::Keep;
use crate::place::{Place, tensors};
use crate::shelf::Shelf;
use admix_files::Bundle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records of files that are not at hand are kept up to this number: they may come back.
const MOST_RECORDS: usize = 10_000;

/// One of them.
pub struct Loose {
    /// What recipes call it, and its name in the catalogue.
    pub reference: String,
    /// Name without folder and ending.
    pub name: String,
    /// Its files.
    pub place: Place,
}

/// Reads the cards of `files` and puts them on a shelf in their order, with the catalogue that `keeper` keeps. `progress` hears (done, of)
/// files; what cannot be read or holds no adapter is a note.
///
/// # Errors
/// A catalogue that cannot be read or written; [`Error::Cancelled`], with what was done kept.
pub async fn shelf(
    files: &[Loose],
    keeper: Arc<dyn Keep>,
    progress: &dyn Fn(usize, usize),
    stop: &AtomicBool,
) -> Result<Shelf> {
    let mut catalogue = keeper.read().await?;
    let before = catalogue.files.clone();
    let mut shelf = Shelf::default();
    for (done, file) in files.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Err(why) = bring_up_to_date(file, &mut catalogue).await {
            shelf.notes.push(format!("{} is passed over: {why}", file.name));
        }
        progress(done + 1, files.len());
    }
    if catalogue.files.len() > MOST_RECORDS {
        catalogue.files.retain(|reference, _| files.iter().any(|f| f.reference == *reference));
    }
    if catalogue.files != before {
        // A person may have said something of a card while files were read: only what was read goes in, and what was said stays.
        let put = |kept: &mut Catalogue| {
            for (reference, record) in
                catalogue.files.iter().filter(|(name, record)| before.get(*name) != Some(*record))
            {
                kept.files.insert(reference.clone(), record.clone());
                if let Some(key) = &record.key {
                    kept.set_key(reference, key.clone());
                }
            }
            before
                .keys()
                .filter(|name| !catalogue.files.contains_key(*name))
                .for_each(|name| drop(kept.files.shift_remove(name)));
        };
        keeper.change(Box::new(put)).await?;
        catalogue = keeper.read().await?;
    }
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    for file in files {
        let Some(entry) = catalogue.entry(&file.reference, file.reference.clone()) else { continue };
        let key = catalogue.key(&file.reference)?;
        shelf.put(entry, file.place.clone(), Home::new(keeper.clone(), key, file.place.clone()));
    }
    Ok(shelf)
}

async fn bring_up_to_date(file: &Loose, catalogue: &mut Catalogue) -> admix_files::Result<()> {
    let bundle = file.place.bundle()?;
    let size = tensors(&bundle).map_or(0, |(_, source)| source.len());
    let modified = fingerprint(&bundle);
    let held = catalogue.files.get(&file.reference);
    if held.is_some_and(|r| r.size == size && r.modified == modified && modified != 0) {
        return Ok(());
    }
    let mut record = Record { name: file.name.clone(), size, modified, ..Record::default() };
    let read = intake::read(bundle, &file.name).await;
    let outcome = read.map(|(card, stated)| (record.card, record.key) = (Some(card), stated));
    // Of the size of one that is known: probably the same under another name or date, and what was said of it must not be missed.
    let is_known = catalogue.files.values().any(|r| r.size == size && r.key.is_some());
    if record.card.is_some() && (size <= intake::HASHED_AT_ONCE || is_known) {
        record.key = file.place.key(&|| true).await?;
    }
    let key = record.key.clone();
    catalogue.files.insert(file.reference.clone(), record);
    if let Some(key) = key {
        catalogue.set_key(&file.reference, key);
    }
    outcome
}

/// Changes with every file of a bundle; 0 where one of them does not tell.
fn fingerprint(bundle: &Bundle) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in bundle.names() {
        let Some(state) = bundle.get(name).and_then(|source| source.identity()) else { return 0 };
        // FNV-1a. What lies beside the page is told apart by length alone; the cards of such files are stated beside them anyway.
        for byte in state.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Edits;
    use crate::keep::Passing;
    use admix_files::{builtin, ready};

    fn loose(path: &std::path::Path) -> Loose {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Loose { reference: path.display().to_string(), name, place: Place::Path(path.into()) }
    }

    fn open(files: &[Loose], keeper: &Arc<Passing>, stop: bool) -> Result<Shelf> {
        let stop = AtomicBool::new(stop);
        let work = async { Ok(shelf(files, keeper.clone(), &|_, _| {}, &stop).await) };
        ready(work).expect("never waits")
    }

    #[test]
    fn single_files_have_cards_and_edits_outlive_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::copy(builtin::resolve_adapter("builtin:neon").unwrap(), at("one.safetensors")).unwrap();
        std::fs::write(at("bad.safetensors"), b"not one").unwrap();
        let keeper = Arc::new(Passing::default());
        let files = [loose(&at("one.safetensors")), loose(&at("bad.safetensors")), loose(&at("gone.safetensors"))];
        let first = open(&files, &keeper, false).unwrap();
        assert_eq!((first.entries.len(), first.homes.len(), first.notes.len()), (1, 1, 2));
        assert!(first.entries[0].key.is_some());
        let mine = Edits { title: Some("Mine".into()), ..Edits::default() };
        ready(async { Ok(first.homes[0].edit(mine).await) }).unwrap().unwrap();
        std::fs::rename(at("one.safetensors"), at("two.safetensors")).unwrap();
        let again = open(&[loose(&at("two.safetensors"))], &keeper, false).unwrap();
        assert_eq!((again.entries[0].name.as_str(), again.entries[0].card().title.as_str()), ("two", "Mine"));
        assert!(matches!(open(&files, &keeper, true), Err(Error::Cancelled)));
    }

    #[test]
    fn what_is_said_while_files_are_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.safetensors");
        std::fs::copy(builtin::resolve_adapter("builtin:neon").unwrap(), &path).unwrap();
        let keeper = Arc::new(Passing::default());
        let files = [loose(&path)];
        let early = format!("path:{}", files[0].reference);
        let say = |_, _| {
            let mine = Edits { title: Some("Mine".into()), ..Edits::default() };
            let put = |kept: &mut Catalogue| drop(kept.edits.insert(early.clone(), mine));
            ready(async { Ok(keeper.change(Box::new(put)).await) }).unwrap().unwrap();
        };
        let work = async { Ok(shelf(&files, keeper.clone(), &say, &AtomicBool::new(false)).await) };
        let first = ready(work).unwrap().unwrap();
        assert_eq!(first.entries[0].card().title, "Mine");
        assert_eq!(open(&files, &keeper, false).unwrap().entries[0].card().title, "Mine");
    }
}
