//! How files come in and go out: dialogs, dropped files, downloads, the built-in catalogue, and what pictures carry with them.

#[cfg(target_arch = "wasm32")]
pub mod assets;
pub mod catalogue;
pub mod dropped;
pub mod pick;
mod restore;

pub use restore::{Restored, restore};
