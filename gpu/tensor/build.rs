//! Collects every `shaders/**/*.wgsl` into one table, so that a new shader file needs no line of Rust to be found.
use std::{env, fs, path::Path};

fn collect(root: &Path, dir: &Path, out: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).expect("shaders/ is readable").flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, out);
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            let stem = path.strip_prefix(root).expect("below shaders/").with_extension("");
            let stem = stem.to_string_lossy().replace('\\', "/");
            out.push((stem, path.display().to_string()));
        }
    }
}

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../shaders");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    let mut text = String::from("&[\n");
    for (name, path) in &files {
        println!("cargo:rerun-if-changed={path}");
        text.push_str(&format!("    ({name:?}, include_str!({path:?})),\n"));
    }
    text.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("shader_sources.rs");
    fs::write(out, text).expect("OUT_DIR is writable");
}
