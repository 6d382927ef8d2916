//! SHA-256 of model files, streamed, and remembered for as long as the file does not change.

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::source::ByteSource;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Hashed without a pause. A browser tab has one thread for this and for drawing, and hashes a megabyte in about 10 ms.
const PIECE: u64 = if cfg!(target_arch = "wasm32") { 1 << 20 } else { 4 << 20 };

static KNOWN: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

/// SHA-256 of a whole file as lower-case hexadecimal: the hash by which models are known.
pub async fn file_sha256(source: &dyn ByteSource) -> Result<String> {
    remembered(source, 0).await
}

/// SHA-256 of what follows a safetensors header, as lower-case hexadecimal: it stays when the metadata changes. kohya's `sshs_model_hash`, which A1111 and
/// model sites know adapters by (AutoV3).
///
/// # Errors
/// A file that ends before its header does.
pub async fn data_sha256(source: &dyn ByteSource) -> Result<String> {
    let length = source.read(0..8).await?;
    let length = length.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    match length.checked_add(8).filter(|at| *at <= source.len()) {
        Some(at) => remembered(source, at).await,
        None => Err(Error::Usage("a file that ends within its header has no data to hash".into())),
    }
}

/// SHA-256 from byte `from` on.
async fn remembered(source: &dyn ByteSource, from: u64) -> Result<String> {
    let identity = source.identity().map(|id| format!("{from} {id}"));
    if let Some(id) = &identity
        && let Some(hash) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(id)
    {
        return Ok(hash.clone());
    }
    let hash = hex(&digest(source, from).await?);
    if let Some(id) = identity {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(id, hash.clone());
    }
    Ok(hash)
}

async fn digest(source: &dyn ByteSource, from: u64) -> Result<Vec<u8>> {
    // A browser that refuses (a page without https) leaves it to us.
    if from == 0
        && let Some(work) = source.sha256()
        && let Ok(digest) = work.await
        && digest.len() == 32
    {
        return Ok(digest);
    }
    let mut hasher = Sha256::new();
    let mut at = from;
    while at < source.len() {
        let end = (at + PIECE).min(source.len());
        hasher.update(source.read(at..end).await?);
        at = end;
    }
    Ok(hasher.finalize().to_vec())
}

/// SHA-256 of a bundle: the file's own, or for a folder that of the lines `path:sha256\n` of its `.safetensors` files,
/// sorted by path.
pub async fn bundle_sha256(bundle: &Bundle) -> Result<String> {
    if !bundle.is_folder()
        && let Some((_, source)) = bundle.first()
    {
        return file_sha256(source.as_ref()).await;
    }
    let mut hasher = Sha256::new();
    for (name, source) in bundle.weights() {
        hasher.update(format!("{name}:{}\n", file_sha256(source.as_ref()).await?));
    }
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of bytes in memory, as lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FileSource, MemSource, SharedSource, ready};
    use std::sync::Arc;

    #[test]
    fn the_empty_file_and_abc() {
        let of = |b: &[u8]| ready(file_sha256(&MemSource::new(b))).unwrap();
        assert_eq!(of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(of(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn data_is_what_follows_the_header() {
        let file = |header: &str, data: &[u8]| {
            let start = (header.len() as u64).to_le_bytes();
            MemSource::new([&start[..], header.as_bytes(), data].concat())
        };
        let of = |source: MemSource| ready(data_sha256(&source));
        // Whatever the header says; sha256 of "abc" and of nothing.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(file("{}", b"abc")).unwrap(), abc);
        assert_eq!(of(file("{\"__metadata__\":{}}", b"abc")).unwrap(), abc);
        assert!(of(file("{}", b"")).unwrap().starts_with("e3b0c442"));
        assert!(of(MemSource::new(&b"short"[..])).is_err());
        assert!(of(MemSource::new(&u64::MAX.to_le_bytes()[..])).is_err());
    }

    #[test]
    fn a_folder_hashes_its_sorted_weights() {
        let part = |n: &str, b: &[u8]| (n.to_owned(), Arc::new(MemSource::new(b)) as SharedSource);
        let a =
            Bundle::folder("x", [part("b/y.safetensors", b"abc"), part("a.safetensors", b""), part("c.json", b"1")]);
        let b = Bundle::folder("z", [part("a.safetensors", b""), part("b/y.safetensors", b"abc")]);
        let lines = "a.safetensors:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
            b/y.safetensors:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        let expected = hex(&Sha256::digest(lines));
        assert_eq!(ready(bundle_sha256(&a)).unwrap(), expected);
        assert_eq!(ready(bundle_sha256(&b)).unwrap(), expected);
    }

    #[test]
    fn a_changed_file_is_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let hash = || ready(file_sha256(&FileSource::open(&path).unwrap())).unwrap();
        std::fs::write(&path, b"abc").unwrap();
        let first = hash();
        assert_eq!(hash(), first);
        std::fs::write(&path, b"abcd").unwrap();
        assert_ne!(hash(), first);
    }
}
