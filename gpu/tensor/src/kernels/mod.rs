//! The kernels of diffusion, one stem each: host side and CPU twin here, WGSL in `shaders/` under the same name. Every operation is a method of
//! [`Recorder`](crate::Recorder); the tests run each kernel in both tiers against its twin at awkward sizes.

pub mod activation;
pub mod adapter_bank;
pub mod attention;
pub mod attention_mass;
pub mod blend;
pub mod blur;
pub mod column_factors;
pub mod combine;
pub mod concat;
pub mod elementwise;
pub mod embed;
pub mod freeu;
pub mod gemm;
pub mod group_norm;
pub mod layer_norm;
pub mod pack;
pub mod picture;
pub mod project;
pub mod rescale;
pub mod snap;
pub mod softmax;
pub mod step_error;
pub mod strips;
pub mod threshold;
pub mod transpose;

pub use activation::Activation;
pub use gemm::{Epilogue, Picture, Weight};
pub use pack::{Pack, Source};

/// Splits `threads` into a two-dimensional grid of 64-lane workgroups that respects the 65,535 limit: (groups, groups per row).
pub(crate) fn grid64(threads: usize) -> ([u32; 3], u32) {
    let (groups, row) = grid(threads.div_ceil(64));
    (groups, row)
}

/// Splits `count` workgroups into a two-dimensional grid: (groups, groups per row).
pub(crate) fn grid(count: usize) -> ([u32; 3], u32) {
    let count = count.max(1);
    let row = count.min(32_768);
    ([row as u32, count.div_ceil(row) as u32, 1], row as u32)
}

#[cfg(test)]
pub(crate) mod testing;
