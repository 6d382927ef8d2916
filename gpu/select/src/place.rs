//! Where an adapter's files are: a path, or bytes that somebody handed over (dropped into a browser tab, lying beside the page).

use crate::intake;
use admix_files::{Bundle, Result, SharedSource};
#[cfg(not(target_arch = "wasm32"))]
use std::path::PathBuf;

/// peft's name for the tensors in a folder.
const IN_FOLDER: &str = "adapter_model.safetensors";

/// The files of one adapter.
#[derive(Clone)]
pub enum Place {
    /// A file, or peft's folder.
    #[cfg(not(target_arch = "wasm32"))]
    Path(PathBuf),
    /// Files without a path.
    Held(Bundle),
}

impl Place {
    /// The files.
    ///
    /// # Errors
    /// Paths that are not there, and pickles by their name.
    pub fn bundle(&self) -> Result<Bundle> {
        match self {
            #[cfg(not(target_arch = "wasm32"))]
            Place::Path(path) => Bundle::open(path),
            Place::Held(bundle) => Ok(bundle.clone()),
        }
    }

    /// The sha256 of the tensors; none when `go_on`, which is asked after every megabyte, says no.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub async fn key(&self, go_on: &dyn Fn() -> bool) -> Result<Option<String>> {
        let bundle = self.bundle()?;
        match tensors(&bundle) {
            Some((name, source)) => intake::tensors_sha256(source.as_ref(), name, go_on).await,
            None => Ok(None),
        }
    }
}

/// The file that holds the tensors.
pub fn tensors(bundle: &Bundle) -> Option<(&str, &SharedSource)> {
    if bundle.is_folder() { bundle.get(IN_FOLDER).map(|source| (IN_FOLDER, source)) } else { bundle.first() }
}
