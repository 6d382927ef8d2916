//! Folders that are watched: model and adapter files that appear in them appear on the shelf.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use crate::io::dropped::{Inbox, Incoming};

/// Seconds between two looks. Asking the system for changes would save little: a folder of ten thousand names is read in milliseconds.
const EVERY: Duration = Duration::from_secs(2);
/// A file counts as written once it has been left alone for so long: downloads grow.
const SETTLED: Duration = Duration::from_secs(2);
/// Folders inside folders are followed so deep.
const DEPTH: usize = 4;

/// Watches on a thread of its own until it is dropped.
pub struct Watch {
    /// Its end ends the thread.
    _alive: Option<Sender<()>>,
}

impl Watch {
    /// Watches folders; what is found goes to the inbox.
    pub fn start(folders: &[PathBuf], inbox: Inbox) -> Watch {
        if folders.is_empty() {
            return Watch { _alive: None };
        }
        let folders = folders.to_vec();
        let (alive, stopped) = channel();
        let look = move || {
            let mut known = HashSet::new();
            loop {
                for folder in &folders {
                    for path in fresh(folder, &mut known, SystemTime::now()) {
                        inbox.put(Incoming::Found(path.display().to_string()));
                    }
                }
                if !matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("watch".into()).spawn(look) {
            log::error!("no thread to watch folders with: {error}");
        }
        Watch { _alive: Some(alive) }
    }
}

/// Weight files below a folder that are not in `known` and were left alone for a while; they are known from then on.
fn fresh(folder: &Path, known: &mut HashSet<PathBuf>, now: SystemTime) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![(folder.to_path_buf(), 0)]);
    while let Some((folder, depth)) = open.pop() {
        // A folder that is gone for now may come back: a drive that is plugged in again.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            if path.is_dir() {
                // A diffusers folder is one model, not many files.
                let is_model = path.join("model_index.json").exists();
                if is_model && known.insert(path.clone()) {
                    found.push(path);
                } else if !is_model && depth < DEPTH {
                    open.push((path, depth + 1));
                }
                continue;
            }
            let is_weights = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
            let changed = std::fs::metadata(&path).and_then(|m| m.modified()).unwrap_or(now);
            let is_settled = now.duration_since(changed).is_ok_and(|age| age >= SETTLED);
            if is_weights && is_settled && known.insert(path.clone()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_found_once_and_when_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("styles");
        std::fs::create_dir(&inner).expect("creates");
        std::fs::write(inner.join("ink.safetensors"), b"x").expect("writes");
        std::fs::write(folder.path().join("notes.txt"), b"x").expect("writes");
        let mut known = HashSet::new();
        let now = SystemTime::now();
        assert!(fresh(folder.path(), &mut known, now).is_empty(), "it may still be growing");
        let later = now + Duration::from_secs(10);
        assert_eq!(fresh(folder.path(), &mut known, later), [inner.join("ink.safetensors")]);
        assert!(fresh(folder.path(), &mut known, later).is_empty());
        assert!(fresh(Path::new("/nowhere"), &mut known, later).is_empty());
    }
}
