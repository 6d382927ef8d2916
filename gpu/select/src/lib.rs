//! Stylus (Luo et al. 2024, arXiv 2404.18928): the adapters that suit a prompt are found, weighed and composed, on the person's own
//! machine, without a server and without a language model.
//!
//! ```text
//! files -> refine -> Card -> Library (bm25 + lean) -> retrieve -> compose (topics, fit, reject, assign) -> Suggestion -> masks
//! ```
//! No GPU, no threads of its own, and it builds for the web. `docs/stylus.md` says where this differs from the published code.

pub mod admitted;
pub mod bm25;
pub mod card;
pub mod catalogue;
pub mod compose;
mod compounds;
pub mod describe;
pub mod error;
pub mod evidence;
pub mod fit;
#[cfg(not(target_arch = "wasm32"))]
pub mod folders;
pub mod home;
#[cfg(not(target_arch = "wasm32"))]
pub mod indexer;
pub mod intake;
pub mod interference;
pub mod judge;
pub mod keep;
mod languages;
pub mod lean;
pub mod library;
pub mod loose;
pub mod masks;
pub mod place;
pub mod refine;
pub mod shelf;
mod spelling;
#[cfg(not(target_arch = "wasm32"))]
pub mod sqlite;
pub mod stated;
pub mod suggestion;
pub mod text;
pub mod topics;
pub mod triggers;
pub mod words;

#[cfg(test)]
mod testing;

pub use card::{Card, Edits, Entry, Kind};
pub use compose::{Settings, Suggestion, compose};
pub use error::{Error, Result};
pub use home::Home;
pub use library::{Filter, Library, Mode, Target};
pub use place::Place;
pub use shelf::Shelf;
pub use words::Words;
