//! Folders on disk, and what comes with the program, as a shelf.

use crate::catalogue::Catalogue;
use crate::error::Result;
use crate::home::Home;
use crate::indexer;
use crate::keep::{Keep, Passing};
use crate::place::Place;
use crate::shelf::Shelf;
use crate::sqlite::{FILE_NAME, SqliteFile, Store};
use crate::stated;
use crate::words::Words;
use admix_files::builtin;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The word vectors that come with the program.
///
/// # Errors
/// A missing or damaged file.
pub fn shipped_words() -> Result<Arc<Words>> {
    let path = builtin::assets_folder()?.join("select/words.safetensors");
    let bytes = std::fs::read(&path)
        .map_err(|e| admix_files::Error::NotFound(format!("{} cannot be read: {e}", path.display())))?;
    Ok(Arc::new(Words::from_bytes(&bytes)?))
}

/// Indexes the folders and, behind them with `built_in`, what comes with the program. A folder's catalogue is kept in it, where it can
/// be written; `own` names the file for what a person says of the built-in adapters.
///
/// # Errors
/// Folders that cannot be listed, damaged catalogues, [`crate::Error::Cancelled`].
pub fn open(
    folders: &[PathBuf],
    built_in: bool,
    own: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Result<Shelf> {
    let mut shelf = Shelf::default();
    let shipped = shipped()?;
    let adapters = builtin::assets_folder()?.join(builtin::Kind::Adapter.folder());
    let mut seen = HashSet::new();
    for folder in folders {
        let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        if seen.insert(real) {
            let (catalogue, keeper) = index(&mut shelf.notes, folder, progress, stop)?;
            put(&mut shelf, &catalogue, &keeper, folder, &|path| folder.join(path).display().to_string())?;
        }
    }
    stated::adopt(&mut shelf.entries, &shipped.entries(&|path| path.into()));
    if built_in && seen.insert(std::fs::canonicalize(&adapters).unwrap_or_else(|_| adapters.clone())) {
        let mut shipped = shipped;
        if own.is_file() {
            let (_, said) = Store::open(own)?;
            (shipped.edits, shipped.seen) = (said.edits, said.seen);
        }
        let keeper: Arc<dyn Keep> = Arc::new(SqliteFile::new(own));
        let name = |path: &str| format!("builtin:{}", path.strip_suffix(".safetensors").unwrap_or(path));
        put(&mut shelf, &shipped, &keeper, &adapters, &name)?;
    }
    Ok(shelf)
}

/// Puts a catalogue's adapters on a shelf.
fn put(
    shelf: &mut Shelf,
    catalogue: &Catalogue,
    keeper: &Arc<dyn Keep>,
    folder: &Path,
    refer: &dyn Fn(&str) -> String,
) -> Result<()> {
    for path in catalogue.files.keys() {
        let Some(entry) = catalogue.entry(path, refer(path)) else { continue };
        let place = Place::Path(folder.join(path));
        shelf.put(entry, place.clone(), Home::new(keeper.clone(), catalogue.key(path)?, place));
    }
    Ok(())
}

fn index(
    notes: &mut Vec<String>,
    folder: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Result<(Catalogue, Arc<dyn Keep>)> {
    // The listing fails first where there is no such folder: nothing is made there.
    std::fs::read_dir(folder)
        .map_err(|e| crate::Error::Usage(format!("the library {} cannot be listed: {e}", folder.display())))?;
    let file = folder.join(FILE_NAME);
    let (mut store, mut catalogue) = match Store::open(&file) {
        Ok((store, catalogue)) => (Some(store), catalogue),
        Err(e) if file.is_file() => return Err(e),
        Err(_) => {
            notes.push(format!("{} cannot be written: its cards are made anew every time", folder.display()));
            (None, Catalogue::default())
        }
    };
    let outcome = indexer::index(folder, &mut catalogue, progress, stop);
    let keeper: Arc<dyn Keep> = match &mut store {
        Some(store) => {
            store.save(&catalogue)?;
            Arc::new(SqliteFile::new(&file))
        }
        None => Arc::new(Passing::default()),
    };
    let report = outcome?;
    if let Some((first, why)) = report.passed_over.first() {
        let more = match report.passed_over.len() {
            1 => String::new(),
            n => format!(" (and {} more files)", n - 1),
        };
        notes.push(format!("{}: {first} is passed over{more}: {why}", folder.display()));
    }
    Ok((catalogue, keeper))
}

/// The built-in adapters, indexed. All of them are entries: a damaged one is a fault of the installation.
fn shipped() -> Result<Catalogue> {
    let folder = builtin::assets_folder()?.join(builtin::Kind::Adapter.folder());
    let mut catalogue = Catalogue::default();
    if folder.is_dir() {
        indexer::index(&folder, &mut catalogue, &|_, _| {}, &AtomicBool::new(false))?;
    }
    catalogue.files.retain(|_, r| r.card.is_some());
    Ok(catalogue)
}
