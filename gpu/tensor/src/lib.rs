//! The GPU layer: device, limits and tiers, buffers, record-and-replay programs and the kernels of diffusion.
//!
//! This crate is the only place that names a wgpu buffer. Each kernel is one stem: `kernels/<op>.rs` (host side, CPU twin, test) and
//! `shaders/<op>.wgsl`. Activations are f32 matrices whose rows are pixels or tokens (NHWC) and whose row stride is a multiple of 4.

mod device;
mod error;
pub mod kernels;
mod recorder;
pub mod shader;

pub use device::*;
pub use error::*;
pub use recorder::*;
