//! Any text as the files beside an adapter: notes, a site's record, a model card, and as metadata of a trainer.
#![no_main]

use admix_files::adapter::Adapter;
use admix_files::bundle::{CARD, NOTES, SITE};
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let spec = |name: &str| TensorSpec { name: name.to_owned(), dtype: DType::F16, shape: vec![1, 1] };
    let specs = [spec("a.lora_A.weight"), spec("a.lora_B.weight")];
    let keys = ["ss_tag_frequency", "ss_dataset_dirs", "ss_resolution", "modelspec.tags", "lora_adapter_metadata"];
    for metadata in [&keys[..4], &keys[4..]] {
        let metadata = metadata.iter().map(|k| ((*k).to_owned(), text.to_owned())).collect();
        let Ok(bytes) = write_to_vec(&specs, &metadata, [vec![0; 2], vec![0; 2]]) else { return };
        let source = Arc::new(MemSource::new(text.as_bytes().to_vec()));
        let mut bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
        for name in [NOTES, SITE, CARD] {
            bundle = bundle.with_text(name, source.clone());
        }
        if let Ok(adapter) = ready(Adapter::load(bundle)) {
            assert!(adapter.triggers.len() <= 20);
        }
    }
});
