//! The merge methods: one published algorithm a file, listed once here and nowhere else.

mod add_difference;
mod breadcrumbs;
mod breadcrumbs_ties;
mod consensus;
mod dare_linear;
mod dare_ties;
mod karcher;
mod model_stock;
mod multislerp;
mod nearswap;
mod nuslerp;
mod ram;
mod slerp;
mod spherical;
mod ties;
mod weighted_sum;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_tests;

pub(crate) use weighted_sum::linear;

use admix_tensor::Gpu;

use crate::flat::MAX_MODELS;
use crate::method::Method;

/// Every method there is.
pub(crate) static ALL: &[&dyn Method] = &[
    &weighted_sum::WeightedSum,
    &add_difference::AddDifference,
    &slerp::Slerp,
    &nuslerp::NuSlerp,
    &multislerp::MultiSlerp,
    &karcher::Karcher,
    &model_stock::ModelStock,
    &ties::Ties,
    &dare_linear::DareLinear,
    &dare_ties::DareTies,
    &breadcrumbs::Breadcrumbs,
    &breadcrumbs_ties::BreadcrumbsTies,
    &nearswap::NearSwap,
    &ram::Ram,
];

/// How many model tensors one pass may bind beside the base, the result and `others`.
pub(crate) fn room(gpu: &Gpu, others: usize) -> usize {
    let buffers = gpu.limits.max_storage_buffers_per_shader_stage as usize;
    buffers.saturating_sub(2 + others).clamp(1, MAX_MODELS - 1)
}
