//! Shared by the tests of the command line: the program, its fixtures, and what every command owes.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(path)
}

/// The smallest whole pipeline: 32x32 pictures.
pub fn tiny() -> String {
    golden("models/sd1_tiny").display().to_string()
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Runs the program in `at`.
pub fn admix(at: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_admix");
    // RUST_BACKTRACE would bring panics back in full.
    Command::new(program)
        .current_dir(at)
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names in a folder.
pub fn names(at: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(at).expect("a folder").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The command must fail because of its input: status 2, nothing on stdout, one line that holds every word of `words`, no new file.
pub fn refused(at: &Path, arguments: &[&str], words: &[&str]) {
    let before = names(at);
    let output = admix(at, arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.starts_with("admix: ") && !said.contains("internal error") && !said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said}");
    }
    assert_eq!(names(at), before, "{arguments:?} left files");
}

/// The command must succeed with one JSON object on stdout and no word on stderr.
pub fn json(at: &Path, arguments: &[&str]) -> Value {
    let output = admix(at, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    let said = text(&output.stdout);
    assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    let value: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"));
    assert!(value.is_object(), "{said}");
    value
}

pub fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copies");
        }
    }
}
