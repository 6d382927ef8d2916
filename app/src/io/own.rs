//! Where the program keeps what a person says of things that come with it.

use std::path::PathBuf;

/// The catalogue for changes to the cards of built-in adapters; none on a system without a data folder.
pub fn own_catalogue() -> Option<PathBuf> {
    super::store::root().ok().map(|folder| folder.join("catalogue.sqlite"))
}
