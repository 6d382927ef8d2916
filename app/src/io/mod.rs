//! How files come in and go out: dialogs, dropped files, downloads, the built-in catalogue, what is kept between starts, and what pictures carry with them.

#[cfg(target_arch = "wasm32")]
pub mod assets;
pub mod catalogue;
pub mod dropped;
pub mod kept;
pub mod link;
pub mod pick;
mod place;
mod restore;
pub mod store;

pub use place::Place;
pub use restore::{Restored, restore};
