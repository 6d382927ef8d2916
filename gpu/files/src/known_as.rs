//! The short checksums by which other programs and model sites know a file.
//!
//! A1111 (`modules/hashes.py`, `extensions-builtin/Lora/network.py`): a checkpoint by the first 10 digits of its sha256 (AutoV2), a textual inversion by the
//! first 12, a LoRA by the first 12 of its metadata's `sshs_model_hash` or else of the sha256 of what follows its header (AutoV3).

use crate::adapter::{Adapter, looks_like_adapter_key};
use crate::bundle::Bundle;
use crate::error::Result;
use crate::hash::{bundle_sha256, data_sha256};
use crate::safetensors::Index;

/// Where kohya's scripts keep the hash of the data.
const STATED: &str = "sshs_model_hash";

/// Digits below which a checksum says too little.
const FEWEST: usize = 8;

/// The first `digits` of a checksum.
pub fn short(hash: &str, digits: usize) -> String {
    hash.chars().take(digits).collect()
}

/// A checksum in lower case, if it is one: hexadecimal and not too short.
fn as_hash(text: &str) -> Option<String> {
    let hash = text.trim().to_ascii_lowercase();
    (hash.len() >= FEWEST && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hash)
}

/// The hash of an adapter's data: what its metadata states, as in A1111, or else that of its one file. None for folders of several.
pub(crate) async fn autov3(stated: Option<&str>, bundle: &Bundle) -> Result<Option<String>> {
    if let Some(hash) = stated.and_then(as_hash) {
        return Ok(Some(hash));
    }
    let mut weights = bundle.weights();
    // A lone file may end otherwise than in `.safetensors`.
    let only = match (weights.next(), weights.next()) {
        (Some((_, source)), None) => Some(source),
        (None, _) => bundle.first().map(|(_, source)| source).filter(|_| !bundle.is_folder()),
        _ => None,
    };
    match only {
        Some(source) => data_sha256(source.as_ref()).await.map(Some),
        None => Ok(None),
    }
}

impl Adapter {
    /// The checksum of its data, by which A1111 and model sites know it (AutoV3), all digits; none for folders of several files.
    ///
    /// # Errors
    /// A file that can no longer be read.
    pub async fn autov3(&self) -> Result<Option<String>> {
        autov3(self.metadata.get(STATED).map(String::as_str), self.bundle()).await
    }
}

/// What is known of a file from its header alone.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// Its keys are an adapter's.
    pub is_adapter: bool,
    /// The hash of the data that its metadata states.
    stated: Option<String>,
}

/// Reads the header of a lone file, or of a folder's first. Nothing is known of what cannot be read.
pub async fn glance(bundle: &Bundle) -> Glance {
    let Some((name, source)) = bundle.weights().next().or_else(|| bundle.first()) else { return Glance::default() };
    let Ok(index) = Index::read(source.as_ref(), name).await else { return Glance::default() };
    Glance {
        is_adapter: index.tensors.keys().any(|k| looks_like_adapter_key(k)),
        stated: index.metadata.get(STATED).and_then(|t| as_hash(t)),
    }
}

impl Glance {
    /// True when the header itself states a hash that begins so.
    pub fn states(&self, hash: &str) -> bool {
        as_hash(hash).is_some_and(|hash| self.stated.as_ref().is_some_and(|s| s.starts_with(&hash)))
    }
}

/// True when `hash` (8 or more digits) begins the checksum of these files or of their data. Reads all of them, once: checksums are remembered.
pub async fn is_known_as(bundle: &Bundle, hash: &str) -> bool {
    let Some(hash) = as_hash(hash) else { return false };
    if glance(bundle).await.states(&hash)
        || autov3(None, bundle).await.is_ok_and(|h| h.is_some_and(|h| h.starts_with(&hash)))
    {
        return true;
    }
    bundle_sha256(bundle).await.is_ok_and(|h| h.starts_with(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MemSource, ready};
    use std::sync::Arc;

    fn file(header: &str) -> Bundle {
        let start = (header.len() as u64).to_le_bytes();
        let bytes = [&start[..], header.as_bytes(), &[0; 8]].concat();
        Bundle::file("ink.safetensors", Arc::new(MemSource::new(bytes)))
    }

    /// Nothing here can fail.
    fn now<T>(work: impl Future<Output = T>) -> T {
        ready(async { Ok(work.await) }).unwrap()
    }

    const KEY: &str = r#""lora_unet_x.lora_up.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}"#;

    #[test]
    fn by_any_of_its_checksums() {
        let plain = file(&format!("{{{KEY}}}"));
        // sha256 of eight zero bytes.
        let data = "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc";
        assert_eq!(ready(autov3(None, &plain)).unwrap().as_deref(), Some(data));
        let whole = ready(bundle_sha256(&plain)).unwrap();
        for hash in [&data[..12], &data.to_uppercase()[..12], &whole[..10], &whole[..12]] {
            assert!(now(is_known_as(&plain, hash)), "{hash}");
        }
        for hash in ["", "af55", "0123456789", "not a hash", &whole[1..13]] {
            assert!(!now(is_known_as(&plain, hash)), "{hash}");
        }
        assert!(now(glance(&plain)).is_adapter);
    }

    #[test]
    fn what_the_header_states_goes_first() {
        let stated = format!("{{\"__metadata__\":{{\"sshs_model_hash\":\"{}\"}},{KEY}}}", "0123456789abcdef".repeat(4));
        let bundle = file(&stated);
        assert!(now(glance(&bundle)).states("0123456789ab") && now(is_known_as(&bundle, "0123456789ab")));
        let odd = file(&format!("{{\"__metadata__\":{{\"sshs_model_hash\":\"none\"}},{KEY}}}"));
        assert!(ready(autov3(Some("none"), &odd)).unwrap().unwrap().starts_with("af5570f5a181"));
    }
}
