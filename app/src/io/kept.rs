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

/// An entry of the history.
pub struct Kept {
    /// Its number.
    pub id: u64,
    /// The pictures made at once.
    pub pictures: Vec<KeptPicture>,
    /// The first one, as lists show it.
    pub small: Picture,
}

/// A picture of the history.
pub struct KeptPicture {
    /// The picture.
    pub picture: Picture,
    /// What makes it again.
    pub recipe: Recipe,
    /// A1111's infotext.
    pub infotext: String,
}

/// The key of a history entry's picture. The first one's has no number of its own: older programs kept no other.
pub fn key(id: u64, part: usize) -> String {
    match part {
        0 => format!("{HISTORY}/{id:08}.png"),
        part => format!("{HISTORY}/{id:08}-{part}.png"),
    }
}

/// The numbers of a key: the entry's, and the picture's in it.
pub fn id(key: &str) -> Option<(u64, usize)> {
    let name = key.strip_prefix(HISTORY)?.strip_prefix('/')?.strip_suffix(".png")?;
    match name.split_once('-') {
        Some((id, part)) => Some((id.parse().ok()?, part.parse().ok().filter(|part| *part > 0)?)),
        None => Some((name.parse().ok()?, 0)),
    }
}

/// Reads entries, each with the keys of its pictures, and leaves them in the inbox in this order.
pub fn load(entries: Vec<(u64, Vec<String>)>, inbox: &Inbox) {
    let inbox = inbox.clone();
    super::pick::spawn(async move {
        for (id, keys) in entries {
            inbox.put(match read(id, &keys).await {
                Ok(kept) => Incoming::Kept(Box::new(kept)),
                Err(error) => {
                    log::warn!("history: {error}");
                    Incoming::Unkept { id, error }
                }
            });
        }
    });
}

/// Pictures of an entry that can be read. Errors: none of them can.
async fn read(id: u64, keys: &[String]) -> Result<Kept, String> {
    let (mut pictures, mut trouble) = (Vec::new(), None);
    for key in keys {
        let png = store::read(key).await.and_then(|png| png.ok_or_else(|| format!("{key} is gone")));
        match png {
            Ok(png) => match decode(&png).await {
                Ok(picture) => pictures.push(picture),
                Err(error) => trouble = Some(format!("{key}: {error}")),
            },
            Err(error) => trouble = Some(error),
        }
    }
    match (pictures.first(), trouble) {
        (None, trouble) => Err(trouble.unwrap_or_else(|| format!("nothing is kept of picture {id}"))),
        (Some(first), trouble) => {
            trouble.into_iter().for_each(|error| log::warn!("history: {error}"));
            Ok(Kept { id, small: small(&first.picture), pictures })
        }
    }
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

/// Longest edge of the small picture that stands for an entry in lists.
const SMALL: usize = 160;

/// A picture as lists show it.
pub fn small(picture: &Picture) -> Picture {
    let longest = picture.width.max(picture.height);
    if longest <= SMALL {
        return picture.clone();
    }
    let side = |n: usize| (n * SMALL / longest).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// A picture of ours: its recipe is taken as it is.
async fn decode(png: &[u8]) -> Result<KeptPicture, String> {
    let read = super::read_picture("history", png, &Recipe::new("builtin:mini"), &[]).await?;
    Ok(KeptPicture { picture: read.picture, recipe: read.settings.recipe, infotext: read.infotext })
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
        for (entry, part) in [(7, 0), (7, 3), (123_456_789_012, 0), (123_456_789_012, 11)] {
            assert_eq!(id(&key(entry, part)), Some((entry, part)));
        }
        assert_eq!(key(7, 0), "history/00000007.png", "as it always was");
        for other in
            ["history/x.png", "history/1.jpg", "files/00000001.png", "history", "history/1-0.png", "history/1-x.png"]
        {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
