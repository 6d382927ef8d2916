//! The networks of Stable Diffusion: text encoder, U-Net and autoencoder, recorded as programs of our own kernels.
//!
//! A model is its configuration turned into layers (see [`store`]) and, per picture size, a recorded program. Weights arrive later, slot by
//! slot, and can be replaced at any time.

mod error;
pub mod preview;
pub mod prompt;
pub mod store;
pub mod text;
pub mod tokenizer;
pub mod unet;
pub mod vae;

pub use error::ModelError;
