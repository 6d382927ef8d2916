//! The adapters that the studio proposes from, read wherever this platform has them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use admix_engine::select::Error;
use admix_engine::suggest::Adviser;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod opfs;
#[cfg(target_arch = "wasm32")]
mod web;

#[cfg(not(target_arch = "wasm32"))]
use native as platform;
#[cfg(not(target_arch = "wasm32"))]
pub use native::own_catalogue;
#[cfg(target_arch = "wasm32")]
use web as platform;

/// Where adapters come from beside those that are built in, and what they shall fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// The model, as recipes name it.
    pub base: String,
    /// The person's folders; a tab has none.
    pub folders: Vec<PathBuf>,
    /// Adapters that came one by one, as recipes name them.
    pub files: Arc<Vec<String>>,
}

/// What hears how many files of how many are done.
pub type Heard<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Reads the cards of all adapters of these places; `stop` ends it early, with what was done kept.
///
/// # Errors
/// A model that cannot be opened, damaged catalogues, [`Error::Cancelled`].
pub async fn open(places: &Places, progress: Heard<'_>, stop: &AtomicBool) -> Result<Adviser, Error> {
    platform::open(places, progress, stop).await
}
