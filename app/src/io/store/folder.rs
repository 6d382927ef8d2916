//! The store in a folder of the person's disk.

use std::path::{Path, PathBuf};

use super::APP_ID;

/// The program's data folder; `ADMIX_DATA` names another (tests and trial runs keep their things apart).
pub fn root() -> Result<PathBuf, String> {
    // Tests must not find, nor leave, anything in the folder of the person who runs them.
    if cfg!(test) {
        return Ok(std::env::temp_dir().join(format!("admix-test-{}", std::process::id())));
    }
    match std::env::var_os("ADMIX_DATA") {
        Some(path) => Ok(path.into()),
        None => eframe::storage_dir(APP_ID).ok_or_else(|| "this system has no data folder".into()),
    }
}

fn at(root: &Path, parts: &[&str]) -> PathBuf {
    parts.iter().fold(root.to_path_buf(), |path, part| path.join(part))
}

pub(super) async fn write(parts: &[&str], bytes: &[u8]) -> Result<(), String> {
    let path = at(&root()?, parts);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    }
    crate::io::pick::write_beside(&path, bytes).map_err(|e| e.to_string())
}

pub(super) async fn read(parts: &[&str]) -> Result<Option<Vec<u8>>, String> {
    found(std::fs::read(at(&root()?, parts)))
}

pub(super) async fn remove(parts: &[&str]) -> Result<(), String> {
    found(std::fs::remove_file(at(&root()?, parts))).map(|_| ())
}

pub(super) async fn names(parts: &[&str]) -> Result<Vec<String>, String> {
    let Some(entries) = found(std::fs::read_dir(at(&root()?, parts)))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| e.to_string())?;
        // What a killed program left half written is not kept.
        if let Ok(name) = entry.file_name().into_string()
            && !name.ends_with(".part")
            && entry.path().is_file()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Nothing there is no error.
fn found<T>(result: std::io::Result<T>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_there_is_no_error() {
        assert_eq!(found(std::fs::read("/nowhere/at/all")), Ok(None));
        // A folder where a file should be is one.
        assert!(found(std::fs::read(std::env::temp_dir())).is_err());
    }
}
