//! Any bytes as a header, raw and behind a correct length.
#![no_main]

use admix_files::safetensors::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Index::parse(bytes, bytes.len() as u64);
    let mut framed = (bytes.len() as u64).to_le_bytes().to_vec();
    framed.extend_from_slice(bytes);
    if let Ok(index) = Index::parse(&framed, framed.len() as u64) {
        // Whatever is accepted lies within the file and adds up.
        for tensor in index.tensors.values() {
            assert!(tensor.range.end <= framed.len() as u64);
            assert_eq!(tensor.elements(), tensor.shape.iter().product::<usize>());
        }
    }
});
