//! Libraries on disk as one list of entries, and what their files say beyond the cards.

use crate::card::{Card, Edits, Entry, Seen};
use crate::catalogue::Catalogue;
use crate::compose::Evidence;
use crate::error::Result;
use crate::library::Target;
use crate::sqlite::{FILE_NAME, Store};
use crate::words::Words;
use crate::{indexer, interference};
use admix_files::adapter::{Adapter, Targets};
use admix_files::checkpoint::{Checkpoint, ModelFamily};
use admix_files::{builtin, ready};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where an entry's edits and pictures are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The catalogue's file.
    pub catalogue: PathBuf,
    /// Its key there: the tensors' sha256, or `path:PATH` while that is not known.
    pub key: String,
}

impl Home {
    /// Changes the card: what is said here wins over what files say, now and after every new indexing.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn edit(&self, change: Edits) -> Result<()> {
        self.change(|catalogue, key| catalogue.edits.entry(key).or_default().merge(change))
    }

    /// Forgets what was said: the card is again as the files have it.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn clear(&self) -> Result<()> {
        self.change(|catalogue, key| drop(catalogue.edits.shift_remove(&key)))
    }

    /// Keeps what pictures showed, and the one that becomes the thumbnail.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub fn keep_seen(&self, seen: Seen, png: &[u8]) -> Result<()> {
        let mut kept = String::new();
        self.change(|catalogue, key| {
            kept.clone_from(&key);
            catalogue.seen.insert(key, seen);
        })?;
        Store::open(&self.catalogue)?.0.keep_picture(&kept, png)
    }

    /// The thumbnail that is kept here.
    ///
    /// # Errors
    /// A catalogue that cannot be read.
    pub fn picture(&self) -> Result<Option<Vec<u8>>> {
        if self.catalogue.is_file() { Store::open(&self.catalogue)?.0.picture(&self.key) } else { Ok(None) }
    }

    fn change(&self, change: impl FnOnce(&mut Catalogue, String)) -> Result<()> {
        if let Some(folder) = self.catalogue.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| crate::Error::Catalogue(format!("{} cannot be made: {e}", folder.display())))?;
        }
        let (mut store, mut catalogue) = Store::open(&self.catalogue)?;
        // Large files are hashed only now, when there is something to keep: it shall outlive the file's name.
        if let (Some(path), Some(folder)) = (self.key.strip_prefix("path:"), self.catalogue.parent())
            && let Some(key) = indexer::key_of(&folder.join(path))
        {
            catalogue.set_key(path, key);
        }
        let known = self.key.strip_prefix("path:").and_then(|path| catalogue.key(path).ok());
        change(&mut catalogue, known.unwrap_or_else(|| self.key.clone()));
        store.save(&catalogue)
    }
}

/// What was found where.
#[derive(Default)]
pub struct Shelf {
    /// All adapters: those of the named folders first, then the built-in ones.
    pub entries: Vec<Entry>,
    /// Where each entry lies.
    pub paths: Vec<PathBuf>,
    /// The catalogue that keeps what a person says of each entry, and the entry's name in it.
    pub homes: Vec<Home>,
    /// One line for each thing a person should know: files passed over, folders that cannot be written.
    pub notes: Vec<String>,
}

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

impl Shelf {
    /// Indexes the folders and, with `built_in`, what comes with the program. A folder's catalogue is kept in it, where it can be
    /// written; `own` names the file for what a person says of the built-in adapters.
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
        let cards: Vec<(String, Card)> =
            shipped.entries(&|p| p.into()).iter().map(|e| (e.name.clone(), e.card())).collect();
        let keys: HashMap<String, String> =
            shipped.files.values().filter_map(|r| Some((r.key.clone()?, r.name.clone()))).collect();
        let mut seen = HashSet::new();
        for folder in folders {
            let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
            if !seen.insert(real) {
                continue;
            }
            let mut catalogue = shelf.folder(folder, progress, stop)?;
            indexer::adopt_cards(&mut catalogue, &cards, &keys);
            let file = folder.join(FILE_NAME);
            let with_cards = catalogue.files.iter().filter(|(_, r)| r.card.is_some()).map(|(path, _)| path);
            shelf.homes.extend(
                with_cards.map(|p| Home { catalogue: file.clone(), key: catalogue.key(p).unwrap_or_default() }),
            );
            for entry in catalogue.entries(&|path| folder.join(path).display().to_string()) {
                shelf.paths.push(PathBuf::from(&entry.reference));
                shelf.entries.push(entry);
            }
        }
        let adapters = builtin::assets_folder()?.join(builtin::Kind::Adapter.folder());
        if built_in && seen.insert(std::fs::canonicalize(&adapters).unwrap_or_else(|_| adapters.clone())) {
            let mut shipped = shipped;
            if own.is_file() {
                let (_, said) = Store::open(own)?;
                (shipped.edits, shipped.seen) = (said.edits, said.seen);
            }
            for (path, entry) in shipped.files.keys().zip(shipped.entries(&|p| p.into())) {
                shelf.paths.push(adapters.join(path));
                let key = shipped.key(path).unwrap_or_default();
                shelf.homes.push(Home { catalogue: own.to_path_buf(), key });
                shelf.entries.push(Entry { reference: format!("builtin:{}", entry.name), ..entry });
            }
        }
        Ok(shelf)
    }

    fn folder(
        &mut self,
        folder: &Path,
        progress: &(dyn Fn(usize, usize) + Sync),
        stop: &AtomicBool,
    ) -> Result<Catalogue> {
        // The listing fails first where there is no such folder: nothing is made there.
        std::fs::read_dir(folder)
            .map_err(|e| crate::Error::Usage(format!("the library {} cannot be listed: {e}", folder.display())))?;
        let (mut store, mut catalogue) = match Store::open(&folder.join(FILE_NAME)) {
            Ok((store, catalogue)) => (Some(store), catalogue),
            Err(e) if folder.join(FILE_NAME).is_file() => return Err(e),
            Err(_) => {
                self.notes.push(format!("{} cannot be written: its cards are made anew every time", folder.display()));
                (None, Catalogue::default())
            }
        };
        let outcome = indexer::index(folder, &mut catalogue, progress, stop);
        if let Some(store) = &mut store {
            store.save(&catalogue)?;
        }
        let report = outcome?;
        if let Some((first, why)) = report.passed_over.first() {
            let more = match report.passed_over.len() {
                1 => String::new(),
                n => format!(" (and {} more files)", n - 1),
            };
            self.notes.push(format!("{}: {first} is passed over{more}: {why}", folder.display()));
        }
        Ok(catalogue)
    }
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

/// The class of a checkpoint, as cards name it.
pub fn target(model: &Checkpoint) -> Target {
    let family = (model.family != ModelFamily::Other).then(|| model.family.id().to_owned());
    Target { family, context: Targets::of(model).context }
}

/// What the files themselves say: whether the tensors fit the model, and how much two adapters interfere.
pub struct Files {
    paths: Vec<PathBuf>,
    targets: Targets,
    /// Interference of pairs that were asked for.
    figures: RefCell<HashMap<(u32, u32), Option<f64>>>,
    opened: RefCell<HashMap<u32, Option<Adapter>>>,
}

impl Files {
    /// For the adapters at `paths`, by the numbers of their entries.
    pub fn new(paths: Vec<PathBuf>, model: &Checkpoint) -> Files {
        Files { paths, targets: Targets::of(model), figures: RefCell::default(), opened: RefCell::default() }
    }

    fn with<T>(&self, entry: u32, ask: impl FnOnce(&Adapter) -> T) -> Option<T> {
        let mut opened = self.opened.borrow_mut();
        let slot = opened.entry(entry).or_insert_with(|| Adapter::open(self.paths.get(entry as usize)?).ok());
        slot.as_ref().map(ask)
    }
}

impl Evidence for Files {
    fn misfit(&self, entry: u32) -> Option<String> {
        let found = self.with(entry, |adapter| {
            if let Err(e) = adapter.check_supported() {
                return Some(e.to_string());
            }
            let fit = adapter.fit_targets(&self.targets);
            fit.matched.is_empty().then(|| fit.cause.unwrap_or_else(|| "none of its modules fits this model".into()))
        });
        found.unwrap_or_else(|| Some("its file cannot be read".into()))
    }

    fn interference(&self, a: u32, b: u32) -> Option<f64> {
        if let Some(figure) = self.figures.borrow().get(&(a, b)) {
            return *figure;
        }
        self.with(a, |_| ())?;
        self.with(b, |_| ())?;
        let opened = self.opened.borrow();
        let (one, other) = (opened.get(&a)?.as_ref()?, opened.get(&b)?.as_ref()?);
        let figure = ready(interference::interference(one, other, &self.targets)).ok().flatten();
        self.figures.borrow_mut().insert((a, b), figure);
        figure
    }
}
