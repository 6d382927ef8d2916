//! Any list of keys, small shapes and metadata as an adapter: `key:2,3` or `key=value` per line.
#![no_main]

use admix_files::adapter::Adapter;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let (mut seen, mut specs, mut metadata) = (HashSet::new(), Vec::new(), Vec::new());
    for line in text.lines().take(200) {
        if let Some((name, shape)) = line.rsplit_once(':') {
            let shape: Vec<usize> =
                shape.split(',').filter_map(|n| n.parse().ok()).filter(|n| *n < 16).take(4).collect();
            if name != "__metadata__" && seen.insert(name.to_owned()) {
                specs.push(TensorSpec { name: name.to_owned(), dtype: DType::F8E5M2, shape });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            metadata.push((key.to_owned(), value.to_owned()));
        }
    }
    let data = specs.iter().map(|s| vec![0x3c; s.bytes().unwrap_or(0) as usize]);
    let Ok(bytes) = write_to_vec(&specs, &metadata.into_iter().collect(), data) else { return };
    let Ok(adapter) = ready(Adapter::load(Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes))))) else {
        return;
    };
    let _ = adapter.check_supported();
    for module in adapter.modules.values() {
        let _ = ready(adapter.factors(module)).map(|f| f.delta());
    }
});
