//! Lists the built-in files for the browser tab, which cannot look into a folder.

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
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("assets.rs");
    std::fs::write(out, list).expect("OUT_DIR can be written");
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
