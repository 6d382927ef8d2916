//! What lies on disk: the safetensors format, diffusers folders and single-file checkpoints, their key names and
//! configurations, and adapter files.
//!
//! Nothing here knows a GPU or an async runtime, and nothing trusts a byte it reads. Bytes come through
//! [`source::ByteSource`]; a [`checkpoint::Checkpoint`] names every tensor the way diffusers does, with the component in
//! front (`unet.down_blocks.0.resnets.0.conv1.weight`), whatever the file calls it.

// The U-Net's configuration is one long `json!` object.
#![recursion_limit = "256"]

pub mod adapter;
#[cfg(not(target_arch = "wasm32"))]
pub mod builtin;
pub mod bundle;
pub mod checkpoint;
pub mod config;
pub mod dtype;
pub mod error;
pub mod hash;
pub mod inspect;
pub mod known_as;
pub mod layout;
pub mod safetensors;
pub mod source;

pub use bundle::Bundle;
pub use checkpoint::Checkpoint;
pub use dtype::DType;
pub use error::{Error, Result};
pub use source::{ByteSource, MemSource, SharedSource};
#[cfg(not(target_arch = "wasm32"))]
pub use source::{FileSource, ready};
