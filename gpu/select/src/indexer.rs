//! Keeps a catalogue in step with a folder of adapters: headers only, unchanged files skipped, on several threads, and it can be
//! stopped at any file without losing what is done.

use crate::card::{Card, Edits, Kind};
use crate::catalogue::{Catalogue, Record};
use crate::error::{Error, Result};
use crate::intake;
use crate::refine::refine;
use admix_files::adapter::Adapter;
use admix_files::{FileSource, ready};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Folders below the library that are looked into.
const DEEPEST: usize = 8;
/// Files up to this size are hashed while they are read; larger ones by [`complete_keys`].
const HASHED_AT_ONCE: u64 = 512 << 10;

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
    let moved: HashSet<u64> = gone.iter().filter(|r| r.key.is_some()).map(|r| r.size).collect();
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

/// Hashes the tensors of files whose hash is not known yet: as slow as reading them, so it belongs into the background.
///
/// # Errors
/// [`Error::Cancelled`], with what was done kept.
pub fn complete_keys(
    folder: &Path,
    catalogue: &mut Catalogue,
    progress: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Result<()> {
    let open: Vec<String> =
        catalogue.files.iter().filter(|(_, r)| r.key.is_none() && r.card.is_some()).map(|(p, _)| p.clone()).collect();
    for (done, path) in open.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if let Some(key) = key_of(&folder.join(path)) {
            catalogue.set_key(path, key);
        }
        progress(done + 1, open.len());
    }
    Ok(())
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

/// The sha256 of an adapter's tensors: as slow as reading the file.
pub fn key_of(path: &Path) -> Option<String> {
    weights(path).and_then(|w| hash(&w))
}

fn hash(path: &Path) -> Option<String> {
    let source = FileSource::open(path).ok()?;
    ready(intake::tensors_sha256(&source, &path.display().to_string())).ok()
}

fn read(folder: &Path, file: &Found, is_moved: bool) -> (Record, Option<String>) {
    let path = folder.join(&file.path);
    let last = file.path.rsplit('/').next().unwrap_or(&file.path);
    let name = last.strip_suffix(".safetensors").unwrap_or(last).to_owned();
    let mut record = Record { name: name.clone(), size: file.size, modified: file.modified, key: None, card: None };
    let adapter = match Adapter::open(&path) {
        Ok(adapter) => adapter,
        Err(e) => return (record, Some(e.to_string())),
    };
    let facts = intake::facts(&adapter, &name);
    record.key = match weights(&path) {
        Some(w) if is_moved || file.size <= HASHED_AT_ONCE => hash(&w),
        _ => intake::stated_key(&adapter.metadata),
    };
    record.card = Some(refine(&facts));
    (record, None)
}

/// What the shipped adapters' folder says of its files: `catalogue.json` (what the training script wrote) and `cards.json` (edits by
/// name). Any library may have both.
fn overlay(folder: &Path, catalogue: &mut Catalogue) {
    let shipped = shipped_cards(folder);
    for record in catalogue.files.values_mut() {
        if let (Some(edits), Some(card)) = (shipped.get(&record.name), &mut record.card) {
            *card = edits.over(card.clone());
        }
    }
}

/// The cards that a folder's `catalogue.json` and `cards.json` state, by name. Either may be missing; one that cannot be read is
/// passed over with a warning.
pub fn shipped_cards(folder: &Path) -> HashMap<String, Edits> {
    let mut out: HashMap<String, Edits> = HashMap::new();
    let json = |file: &str| -> Option<serde_json::Value> {
        let bytes = std::fs::read(folder.join(file)).ok()?;
        let read = serde_json::from_slice(&bytes);
        read.map_err(|e| log::warn!("{}: {file} is passed over: {e}", folder.display())).ok()
    };
    for item in json("catalogue.json").as_ref().and_then(|v| v.as_array()).into_iter().flatten() {
        let text = |key: &str| item[key].as_str().map(str::to_owned);
        let Some(name) = text("name") else { continue };
        let triggers =
            item["triggers"].as_array().map(|t| t.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect());
        let weight = item["weight"].as_f64();
        let edits = Edits {
            title: text("title"),
            description: text("description"),
            triggers,
            kind: text("kind").and_then(|k| Kind::named(&k)),
            weight,
            range: weight.map(|w| [0.4 * w, 1.5 * w]),
            ..Edits::default()
        };
        out.insert(name, edits);
    }
    for (name, value) in json("cards.json").as_ref().and_then(|v| v.as_object()).into_iter().flatten() {
        match serde_json::from_value::<Edits>(value.clone()) {
            Ok(edits) => out.entry(name.clone()).or_default().merge(edits),
            Err(e) => log::warn!("{}: the card of {name} in cards.json is passed over: {e}", folder.display()),
        }
    }
    out
}

/// Gives copies of shipped adapters the shipped cards: the same tensors, and nothing stated that speaks against it.
pub fn adopt_cards(catalogue: &mut Catalogue, shipped: &[(String, Card)], keys: &HashMap<String, String>) {
    for record in catalogue.files.values_mut() {
        let (Some(key), Some(card)) = (&record.key, &mut record.card) else { continue };
        let Some(name) = keys.get(key) else { continue };
        let Some((_, known)) = shipped.iter().find(|(n, _)| n == name) else { continue };
        let silent = card.triggers.is_empty() && card.description.is_empty() && card.tags.is_empty();
        let same = card.triggers.iter().any(|t| known.triggers.contains(t));
        if same || silent && record.name == *name {
            *card = Card { captions: card.captions.clone(), ..known.clone() };
        }
    }
}
