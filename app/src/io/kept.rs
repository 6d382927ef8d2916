//! What was kept of earlier starts, brought back in the background: the history's pictures and, in the tab, dropped adapters.

use admix_engine::Picture;
use admix_engine::mix::Recipe;

use super::dropped::{Inbox, Incoming};
use super::store;

/// Where the history's pictures are kept.
pub const HISTORY: &str = "history";
/// Where files dropped into the tab are kept.
#[cfg(target_arch = "wasm32")]
pub const FILES: &str = "files";
/// The largest file dropped into the tab that is kept there: adapters, not checkpoints.
#[cfg(target_arch = "wasm32")]
pub const MOST_BYTES: f64 = 64.0 * 1024.0 * 1024.0;

/// A picture of the history.
pub struct Kept {
    /// Its number.
    pub id: u64,
    /// The picture.
    pub picture: Picture,
    /// What makes it again.
    pub recipe: Recipe,
    /// A1111's infotext.
    pub infotext: String,
}

/// The key of a history entry.
pub fn key(id: u64) -> String {
    format!("{HISTORY}/{id:08}.png")
}

/// The number of a history entry's key.
pub fn id(key: &str) -> Option<u64> {
    key.strip_prefix(HISTORY)?.strip_prefix('/')?.strip_suffix(".png")?.parse().ok()
}

/// Reads the pictures of `keys` and leaves them in the inbox, newest first.
pub fn load(keys: Vec<String>, inbox: &Inbox) {
    let inbox = inbox.clone();
    super::pick::spawn(async move {
        for key in keys.into_iter().rev() {
            let Some(id) = id(&key) else { continue };
            let png = store::read(&key).await.and_then(|png| png.ok_or_else(|| format!("{key} is gone")));
            let kept = match png {
                Ok(png) => decode(id, &png).await,
                Err(error) => Err(error),
            };
            match kept {
                Ok(kept) => inbox.put(Incoming::Kept(Box::new(kept))),
                Err(error) => log::warn!("history: {error}"),
            }
        }
    });
}

/// Keeps these no longer.
pub fn forget(keys: Vec<String>) {
    let work = async move {
        for key in keys {
            store::remove(&key).await?;
        }
        Ok(())
    };
    store::start(work, |error| log::warn!("history: {error}"));
}

/// A picture of ours: its recipe is taken as it is.
async fn decode(id: u64, png: &[u8]) -> Result<Kept, String> {
    let read = super::read_picture("history", png, &Recipe::new("builtin:mini"), &[]).await?;
    Ok(Kept { id, picture: read.picture, recipe: read.settings.recipe, infotext: read.infotext })
}

/// Keeps a file that was dropped into the tab, so that recipes that name it work after a reload.
#[cfg(target_arch = "wasm32")]
pub fn keep_file(file: &web_sys::File, inbox: &Inbox) {
    if file.size() > MOST_BYTES {
        return;
    }
    let (file, inbox) = (file.clone(), inbox.clone());
    let name = file.name();
    let work = async move { store::copy_in(&format!("{FILES}/{}", store::as_key(&file.name())), &file).await };
    store::start(work, move |error| {
        inbox.put(Incoming::Failed(format!("{name} works now but is gone after a reload: {error}")));
    });
}

/// Files dropped into the tab before, as they lie there.
#[cfg(target_arch = "wasm32")]
pub async fn files() -> Vec<web_sys::File> {
    let mut files = Vec::new();
    let keys = store::keys(FILES).await.unwrap_or_else(|error| {
        log::warn!("{error}");
        Vec::new()
    });
    for key in keys {
        match store::file(&key).await {
            Ok(found) => files.extend(found),
            Err(error) => log::warn!("{error}"),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_keys() {
        assert_eq!(id(&key(7)), Some(7));
        assert_eq!(id(&key(123_456_789_012)), Some(123_456_789_012));
        for other in ["history/x.png", "history/1.jpg", "files/00000001.png", "history"] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
