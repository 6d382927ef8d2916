//! Any list of keys and small shapes as a checkpoint: `key:2,3` per line.
#![no_main]

use admix_files::checkpoint::{Checkpoint, Layout, OpenOptions};
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let mut seen = HashSet::new();
    let specs: Vec<TensorSpec> = text
        .lines()
        .take(200)
        .filter_map(|line| {
            let (name, shape) = line.rsplit_once(':')?;
            let shape: Vec<usize> =
                shape.split(',').filter_map(|n| n.parse().ok()).filter(|n| *n < 16).take(4).collect();
            (name != "__metadata__" && seen.insert(name.to_owned())).then(|| TensorSpec {
                name: name.to_owned(),
                dtype: DType::U8,
                shape,
            })
        })
        .map(|t| TensorSpec { dtype: DType::F8E4M3, ..t })
        .collect();
    let data = specs.iter().map(|s| vec![0; s.bytes().unwrap_or(0) as usize]);
    let Ok(bytes) = write_to_vec(&specs, &Default::default(), data) else { return };
    let bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
    let Ok(checkpoint) = ready(Checkpoint::load(bundle, &OpenOptions::default())) else { return };
    let _ = checkpoint.check_renderable();
    for name in checkpoint.tensors.keys() {
        let _ = ready(checkpoint.read_raw(name));
    }
    for layout in [Layout::Same, Layout::SameInOneFile, Layout::Ldm, Layout::Diffusers] {
        let _ = ready(checkpoint.export(layout));
    }
});
