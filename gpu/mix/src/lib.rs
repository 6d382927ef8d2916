//! From a recipe to effective weights: merge methods, adapter deltas, block weights, rounding and export.
//!
//! A recipe is a pure function from pristine tensors to effective tensors, computed in f32 on the device, tensor by tensor. The picture's
//! weights and the exported ones come from the same passes and are the same bits.

pub mod adapter_merge;
mod adapters;
pub mod bench;
pub mod beside;
pub mod blocks;
pub mod cache;
pub mod change;
mod error;
mod export;
#[cfg(not(target_arch = "wasm32"))]
mod export_delta;
pub mod flat;
pub mod import;
mod linalg;
pub mod low_rank;
pub mod method;
mod methods;
mod mixer;
mod orthogonal;
pub mod quantize;
mod random;
pub mod recipe;
mod select;
mod sums;
mod survey;
#[cfg(test)]
mod testing;
pub mod understand;

pub use cache::Cache;
pub use error::MixError;
pub use export::{ExportLayout, ExportProgress, ExportReport};
pub use method::{Knob, Method, method, methods};
pub use mixer::{AdapterReport, Effective, Mixer, ModelReport, SidePart};
pub use recipe::Recipe;
