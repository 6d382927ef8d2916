//! Any list of keys, small shapes and metadata as an adapter: `key:2,3` or `key=value` per line.
#![no_main]

use admix_files::adapter::{Adapter, Extent};
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
    let _ = ready(adapter.embedding());
    // Against weights of the shapes that it fits, and of one that it mostly does not.
    for module in adapter.modules.values() {
        for shape in [module.fits.shape(), vec![8, 8], vec![6]] {
            let extent = Extent::of(&shape);
            if extent.is_empty() || extent.len() > 4096 || !module.fits.accepts(&shape) {
                continue;
            }
            let Ok(changes) = ready(adapter.changes(module, &shape)) else { continue };
            let vector = Extent { rows: extent.rows, columns: 1, taps: 1 };
            for (change, extent) in [(changes.weight, extent), (changes.bias, vector)] {
                let _ = change.map(|c| c.applied(&vec![1.0; extent.len()], extent, 0.5));
            }
        }
    }
});
