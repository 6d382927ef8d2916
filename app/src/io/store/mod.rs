//! Things kept between starts, by key: pictures of the history, adapters dropped into the tab, what the studio learns about files.
//!
//! Natively a key is a path below the program's data folder; in the browser a path in the page's own file system (the Origin Private File
//! System, <https://fs.spec.whatwg.org/#origin-private-file-system>), which other pages and the person's other programs never see. A value
//! is written whole or not at all, and operations take their turns in the order they were asked for.
//!
//! ```text
//! store::write("history/00000007.png", &png).await?;
//! let png = store::read("history/00000007.png").await?;
//! ```

#[cfg(not(target_arch = "wasm32"))]
mod folder;
#[cfg(target_arch = "wasm32")]
mod opfs;

#[cfg(not(target_arch = "wasm32"))]
use folder as place;
#[cfg(not(target_arch = "wasm32"))]
pub use folder::root;
#[cfg(target_arch = "wasm32")]
use opfs as place;
#[cfg(target_arch = "wasm32")]
pub use opfs::{copy_in, create, file};

/// Names the folder in which everything is kept.
pub const APP_ID: &str = "admix";

/// Keeps `bytes` under `key`, in place of what was there. Errors: a key that is no plain path, no room, no permission.
pub async fn write(key: &str, bytes: &[u8]) -> Result<(), String> {
    place::write(&parts(key)?, bytes).await.map_err(|e| format!("cannot keep {key}: {e}"))
}

/// What is kept under `key`; none if there is nothing.
pub async fn read(key: &str) -> Result<Option<Vec<u8>>, String> {
    place::read(&parts(key)?).await.map_err(|e| format!("cannot read {key}: {e}"))
}

/// Keeps `key` no longer. Not an error where there is nothing.
pub async fn remove(key: &str) -> Result<(), String> {
    place::remove(&parts(key)?).await.map_err(|e| format!("cannot remove {key}: {e}"))
}

/// Every key directly below `folder`, sorted.
pub async fn keys(folder: &str) -> Result<Vec<String>, String> {
    let names = place::names(&parts(folder)?).await.map_err(|e| format!("cannot list {folder}: {e}"))?;
    let mut keys: Vec<String> = names.into_iter().map(|name| format!("{folder}/{name}")).collect();
    keys.sort();
    Ok(keys)
}

/// Does something with the store that nothing waits for: at once natively, in turn in the browser. An error goes to `failed`.
pub fn start(work: impl Future<Output = Result<(), String>> + 'static, failed: impl FnOnce(String) + 'static) {
    let work = async move {
        if let Err(error) = work.await {
            failed(error);
        }
    };
    #[cfg(not(target_arch = "wasm32"))]
    pollster::block_on(work);
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_futures::spawn_local(work);
}

/// The folders and the name of a key. Errors: empty parts, and those that would lead elsewhere.
fn parts(key: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = key.split('/').collect();
    let plain = |part: &&str| !part.is_empty() && !matches!(*part, "." | "..") && !part.contains(['\\', ':', '\0']);
    if parts.iter().all(plain) { Ok(parts) } else { Err(format!("`{key}` is no key to keep something under")) }
}

/// A name as part of a key: what a key cannot hold becomes an underscore.
pub fn as_key(name: &str) -> String {
    let safe: String = name.chars().map(|c| if "/\\:\0".contains(c) { '_' } else { c }).collect();
    if safe.is_empty() || safe.starts_with('.') { format!("_{safe}") } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_their_folder() {
        for key in ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/.", "c:/x", "a\\b", "a\0"] {
            assert!(parts(key).is_err(), "{key:?}");
        }
        assert_eq!(parts("history/1.png"), Ok(vec!["history", "1.png"]));
        for name in ["a/b", "..", "", ".x", "c:\\y", "ink é.safetensors"] {
            assert!(parts(&format!("files/{}", as_key(name))).is_ok(), "{name:?}");
        }
    }
}
