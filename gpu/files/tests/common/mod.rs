//! Shared by the tests: the fixtures, and writing a checkpoint as planned.
#![allow(dead_code)]

use admix_files::checkpoint::{Checkpoint, Content, Export};
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{DType, ready};
use std::path::{Path, PathBuf};

#[path = "../../../../tests/golden/synthetic.rs"]
pub mod synthetic;

pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The folder of a fixture; synthetic ones are made below `scratch`.
pub fn model(name: &str, scratch: &Path) -> PathBuf {
    if !golden().join(format!("models/{name}.weights.json")).is_file() {
        return golden().join("models").join(name);
    }
    let out = scratch.join(name);
    synthetic::write_folder(&golden(), name, &out).unwrap();
    out
}

/// Writes what an export plans, each tensor in its own element type.
pub fn write(checkpoint: &Checkpoint, export: &Export, out: &Path) {
    for file in &export.files {
        let specs: Vec<TensorSpec> = file
            .tensors
            .iter()
            .map(|t| TensorSpec { name: t.key.clone(), dtype: t.dtype, shape: t.shape.clone() })
            .collect();
        let data = file.tensors.iter().map(|t| match &t.content {
            Content::Copied(r) => ready(checkpoint.read_ref(r)).unwrap(),
            _ => t.assemble(t.names().iter().map(|n| ready(checkpoint.read_raw(n)).unwrap()).collect(), t.dtype),
        });
        let bytes = write_to_vec(&specs, &export.metadata, data).unwrap();
        let path = if file.path.is_empty() { out.to_path_buf() } else { out.join(&file.path) };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for (path, text) in &export.texts {
        let path = out.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Names, canonical shapes, types and bytes of all weights.
pub fn weights(c: &Checkpoint) -> Vec<(String, Vec<usize>, DType, Vec<u8>)> {
    let mut all: Vec<_> = c
        .tensors
        .iter()
        .map(|(n, t)| (n.clone(), t.shape.clone(), t.info.dtype, ready(c.read_raw(n)).unwrap()))
        .collect();
    all.sort();
    all
}

/// Both have the same weights, bit for bit.
pub fn assert_same_weights(a: &Checkpoint, b: &Checkpoint) {
    let (a, b) = (weights(a), weights(b));
    let names = |w: &[(String, Vec<usize>, DType, Vec<u8>)]| w.iter().map(|t| t.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for (x, y) in a.iter().zip(&b) {
        assert_eq!((&x.1, x.2), (&y.1, y.2), "{}", x.0);
        assert!(x.3 == y.3, "{} has other bytes", x.0);
    }
}
