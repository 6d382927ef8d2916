//! Keeps a catalogue in step with a folder of adapters: headers only, unchanged files skipped, on several threads, and it can be
//! stopped at any file without losing what is done.

use crate::catalogue::{Catalogue, Record};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::{intake, stated};
use admix_files::{Bundle, ready};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Folders below the library that are looked into.
const DEEPEST: usize = 8;

/// What an indexing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Adapters now in the catalogue.
    pub adapters: usize,
    /// Files that were read because they are new or changed.
    pub read: usize,
    /// Records of files that are gone.
    pub removed: usize,
    /// Files that hold no adapter, or cannot be read, with the reason.
    pub passed_over: Vec<(String, String)>,
}

/// Brings `catalogue` up to date with `folder`. `progress` hears (done, of) files; `stop` ends the work early.
///
/// # Errors
/// A folder that cannot be listed; [`Error::Cancelled`], with what was done kept.
pub fn index(
    folder: &Path,
    catalogue: &mut Catalogue,
    progress: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Result<Report> {
    let found = files(folder)?;
    let here: HashSet<&str> = found.iter().map(|f| f.path.as_str()).collect();
    let mut report = Report::default();
    let gone: Vec<String> = catalogue.files.keys().filter(|p| !here.contains(p.as_str())).cloned().collect();
    // A file that is gone may have moved: what was said of it stays under the tensors' hash, and a new file of its size is hashed at once.
    let gone: Vec<Record> = gone.iter().filter_map(|p| catalogue.files.shift_remove(p)).collect();
    // So is one that was touched and kept its size.
    let known = gone.iter().chain(catalogue.files.values()).filter(|r| r.key.is_some());
    let moved: HashSet<u64> = known.map(|r| r.size).collect();
    report.removed = gone.len();
    let fresh =
        |f: &&Found| !catalogue.files.get(&f.path).is_some_and(|r| r.size == f.size && r.modified == f.modified);
    let work: Vec<&Found> = found.iter().filter(fresh).collect();
    report.read = work.len();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, Record, Option<String>)>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8).min(work.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = work.get(at) else { break };
                    let (record, why) = read(folder, file, moved.contains(&file.size));
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, record, why));
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, work.len());
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|r| r.0);
    for (at, record, why) in results {
        let path = work[at].path.clone();
        let key = record.key.clone();
        if let Some(why) = why {
            report.passed_over.push((path.clone(), why));
        }
        catalogue.files.insert(path.clone(), record);
        if let Some(key) = key {
            catalogue.set_key(&path, key);
        }
    }
    catalogue.files.sort_keys();
    overlay(folder, catalogue);
    report.adapters = catalogue.files.values().filter(|r| r.card.is_some()).count();
    if stop.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(report) }
}

struct Found {
    /// Below the library, with `/`.
    path: String,
    size: u64,
    modified: u64,
}

/// Adapters by their looks: `.safetensors` files, and folders that hold `adapter_config.json`.
fn files(folder: &Path) -> Result<Vec<Found>> {
    let listed = std::fs::read_dir(folder)
        .map_err(|e| Error::Usage(format!("the library {} cannot be listed: {e}", folder.display())))?;
    drop(listed);
    let mut out = Vec::new();
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((here, depth)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&here) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let Ok(about) = std::fs::metadata(&path) else { continue };
            if about.is_dir() {
                if path.join("adapter_config.json").is_file() {
                    let weights = weights(&path).and_then(|w| std::fs::metadata(w).ok());
                    out.extend(weights.map(|w| found(folder, &path, &w)));
                } else if depth < DEEPEST && !path.join("model_index.json").is_file() {
                    open.push((path, depth + 1));
                }
            } else if name.to_lowercase().ends_with(".safetensors") {
                out.push(found(folder, &path, &about));
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

fn found(folder: &Path, path: &Path, about: &std::fs::Metadata) -> Found {
    let time = |m: &std::fs::Metadata| {
        m.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos() as u64)
    };
    // What lies beside the file belongs to its card.
    let beside = ["json", "civitai.info"].iter().filter_map(|e| std::fs::metadata(path.with_extension(e)).ok());
    let modified = beside.map(|m| time(&m)).fold(time(about), u64::max);
    let below = path.strip_prefix(folder).unwrap_or(path);
    let path = below.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    Found { path, size: about.len(), modified }
}

/// The file that holds the tensors.
fn weights(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_path_buf());
    }
    let own = path.join("adapter_model.safetensors");
    own.is_file().then_some(own)
}

fn read(folder: &Path, file: &Found, is_moved: bool) -> (Record, Option<String>) {
    let path = folder.join(&file.path);
    let last = file.path.rsplit('/').next().unwrap_or(&file.path);
    let name = last.strip_suffix(".safetensors").unwrap_or(last).to_owned();
    let mut record = Record { name: name.clone(), size: file.size, modified: file.modified, key: None, card: None };
    let read = Bundle::open(&path).and_then(|bundle| ready(intake::read(bundle, &name)));
    let (card, stated) = match read {
        Ok(read) => read,
        Err(e) => return (record, Some(e.to_string())),
    };
    let at_once = is_moved || file.size <= intake::HASHED_AT_ONCE;
    record.key = if at_once { ready(Place::Path(path).key(&|| true)).ok().flatten() } else { stated };
    record.card = Some(card);
    (record, None)
}

/// What the folder states of its files by name: see [`stated`].
fn overlay(folder: &Path, catalogue: &mut Catalogue) {
    let bytes = |file: &str| std::fs::read(folder.join(file)).ok();
    let (listed, cards) = (bytes("catalogue.json"), bytes("cards.json"));
    let stated = stated::read(listed.as_deref(), cards.as_deref(), &folder.display().to_string());
    for record in catalogue.files.values_mut() {
        if let (Some(edits), Some(card)) = (stated.get(&record.name), &mut record.card) {
            *card = edits.over(card.clone());
        }
    }
}
