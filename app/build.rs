//! Lists the built-in files for the browser tab, which cannot look into a folder, and puts their thumbnails into the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut list = String::from("&[\n");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        let assets = PathBuf::from("../assets");
        for folder in ["models", "finetunes", "adapters"] {
            println!("cargo::rerun-if-changed={}", assets.join(folder).display());
            walk(&assets, &assets.join(folder), &mut list);
        }
        // Of the folder with the script that makes them, the word vectors alone come with the page.
        let words = assets.join("select/words.safetensors");
        println!("cargo::rerun-if-changed={}", words.display());
        add(&assets, &words, &mut list);
    }
    list.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("assets.rs"), list).expect("OUT_DIR can be written");
    std::fs::write(out.join("thumbnails.rs"), thumbnails()).expect("OUT_DIR can be written");
}

/// The thumbnails as (name, bytes), sorted.
fn thumbnails() -> String {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let folder = here.join("../assets/thumbnails");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(&folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    let mut list = String::from("&[\n");
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "png")) {
        let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = writeln!(list, "    ({name:?}, include_bytes!({:?})),", path.display().to_string());
    }
    list + "]\n"
}

/// Adds the files below `folder` as (path below assets, bytes), sorted.
fn walk(assets: &Path, folder: &Path, list: &mut String) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            walk(assets, &path, list);
        } else if [".safetensors", ".json", ".txt"].iter().any(|e| name.ends_with(e)) {
            add(assets, &path, list);
        }
    }
}

fn add(assets: &Path, path: &Path, list: &mut String) {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    let below = path.strip_prefix(assets).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let _ = writeln!(list, "    ({below:?}, {size}),");
}
