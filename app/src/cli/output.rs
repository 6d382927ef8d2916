//! Files and reports: written beside their final name and renamed, so that no partial file is ever left under it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fault::Fault;

/// Prints a line on stdout. A reader that went away is no error.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a report as one line of JSON.
pub fn print_json(value: &Value) {
    print(&value.to_string());
}

/// Line breaks and other control characters become spaces, runs of them one.
pub fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split(' ').filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// A file name's text for people: no folders.
pub fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_string(), |n| n.to_string_lossy().into_owned())
}

/// Checks, before any work is done, that a file of that name can be made: its folder exists and it is no folder itself.
pub fn check_target(path: &Path, flag: &str) -> Result<(), Fault> {
    let shown = path.display();
    if path.as_os_str().is_empty() || path.file_name().is_none() {
        return Err(Fault::input(format!("{flag}: \"{shown}\" is not the name of a file")));
    }
    if path.is_dir() {
        return Err(Fault::input(format!("{flag}: {shown} is a folder; name a file in it")));
    }
    check_folder(path, flag)
}

/// Checks that the folder in which `path` will lie exists.
pub fn check_folder(path: &Path, flag: &str) -> Result<(), Fault> {
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    if parent.is_dir() {
        return Ok(());
    }
    Err(Fault::input(format!("{flag}: the folder {} does not exist; create it first", parent.display())))
}

/// Files that appear together: each is written under a temporary name, and none gets its own before all are whole.
#[derive(Default)]
pub struct Batch {
    /// (temporary, final).
    files: Vec<(PathBuf, PathBuf)>,
}

impl Batch {
    /// Writes one file under a temporary name.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        self.files.push((temporary.clone(), path.to_path_buf()));
        std::fs::write(&temporary, bytes).map_err(|e| failed(path, &e))
    }

    /// Gives all files their names.
    pub fn finish(mut self) -> Result<(), Fault> {
        for (temporary, path) in &self.files {
            std::fs::rename(temporary, path).map_err(|e| failed(path, &e))?;
        }
        self.files.clear();
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (temporary, _) in &self.files {
            // Best effort: the error that led here is the one worth reporting.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

fn failed(path: &Path, e: &std::io::Error) -> Fault {
    Fault::other(format!("cannot write {}: {e}", path.display()))
}

/// `name.png` for one picture; `name-0.png`, `name-1.png`, ... for several.
pub fn numbered(path: &Path, count: usize) -> Vec<PathBuf> {
    if count == 1 {
        return vec![path.to_path_buf()];
    }
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    (0..count).map(|i| path.with_file_name(format!("{stem}-{i}{extension}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_batches() {
        assert_eq!(numbered(Path::new("a/cat.png"), 1), [PathBuf::from("a/cat.png")]);
        assert_eq!(numbered(Path::new("a/b.c.png"), 2), [PathBuf::from("a/b.c-0.png"), PathBuf::from("a/b.c-1.png")]);
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(one_line("a\nb\t\u{1b}[31m c"), "a b [31m c");
    }
}
