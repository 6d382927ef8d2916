//! Names of tensors: which ones a configuration implies, and how other programs' files spell them.
//!
//! Inside Admix a tensor has the name diffusers gives it with the component in front, e.g.
//! `vae.decoder.conv_in.weight`. Old spellings are brought to today's when a file is opened.

mod canonical;
mod expected;
mod infer;
pub mod ldm;
mod open_clip;

pub use canonical::{canonical_key, component_of};
pub use expected::{Shapes, text_tensors, unet_tensors, vae_tensors};
pub use infer::{Hints, ShapeOf, infer_text, infer_unet, infer_vae};
pub(crate) use open_clip::{
    VIT_H_LAYERS, layer_of as open_clip_layer_of, parts as open_clip_parts, stored_key as open_clip_key,
};

/// How the bytes of a canonical tensor come from the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The same bytes; the shape may differ by dimensions of one (1x1 convolution and matrix).
    Same,
    /// Rows `start..end` of the stored tensor's first dimension (fused q, k, v).
    Rows {
        /// First row.
        start: usize,
        /// One past the last row.
        end: usize,
    },
    /// The stored matrix, transposed.
    Transpose,
}

/// Drops trailing dimensions of one beyond the second: a 1x1 convolution as a matrix.
pub fn as_matrix(shape: &[usize]) -> &[usize] {
    match shape {
        [matrix @ .., 1, 1] if matrix.len() == 2 => matrix,
        [matrix @ .., 1] if matrix.len() == 2 => matrix,
        other => other,
    }
}
