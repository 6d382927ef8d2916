//! The merge methods: one published algorithm a file, listed once here and nowhere else.

mod add_difference;
mod add_perpendicular;
mod arcee_fusion;
mod breadcrumbs;
mod breadcrumbs_ties;
mod clamp;
pub(crate) mod consensus;
mod cosine;
mod cosine_a;
mod cosine_b;
mod crossover;
mod dare_linear;
mod dare_ties;
mod della;
mod della_linear;
mod extract;
mod geometric;
mod geometric_median;
mod git_rebasin;
mod karcher;
mod lines;
mod model_stock;
mod multislerp;
mod nearswap;
mod nuslerp;
mod ram;
mod rank_truncate;
mod ranks;
mod rotate;
mod sce;
mod slerp;
mod smooth_add;
mod spherical;
mod sum_twice;
mod tensor_sum;
mod ties;
mod ties_paper;
mod ties_peft;
mod train_difference;
mod triple_sum;
mod uniform_soup;
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
    &sum_twice::SumTwice,
    &triple_sum::TripleSum,
    &uniform_soup::UniformSoup,
    &slerp::Slerp,
    &nuslerp::NuSlerp,
    &multislerp::MultiSlerp,
    &karcher::Karcher,
    &geometric_median::GeometricMedian,
    &model_stock::ModelStock,
    &ties::TIES,
    &ties_peft::TIES_PEFT,
    &ties_paper::TIES_PAPER,
    &dare_linear::DARE_LINEAR,
    &dare_ties::DARE_TIES,
    &della_linear::DELLA_LINEAR,
    &della::DELLA,
    &breadcrumbs::BREADCRUMBS,
    &breadcrumbs_ties::BREADCRUMBS_TIES,
    &sce::Sce,
    &arcee_fusion::ArceeFusion,
    &nearswap::NearSwap,
    &ram::Ram,
    &train_difference::TrainDifference,
    &add_perpendicular::AddPerpendicular,
    &cosine_a::COSINE_A,
    &cosine_b::COSINE_B,
    &extract::Extract,
    &tensor_sum::TensorSum,
    &geometric::Geometric,
    &clamp::Clamp,
    &smooth_add::SmoothAdd,
    &crossover::Crossover,
    &rank_truncate::RankTruncate,
    &rotate::Rotate,
    &git_rebasin::GitRebasin,
];

/// How many model tensors one pass may bind beside the base, the result and `others`.
pub(crate) fn room(gpu: &Gpu, others: usize) -> usize {
    let buffers = gpu.limits.max_storage_buffers_per_shader_stage as usize;
    buffers.saturating_sub(2 + others).clamp(1, MAX_MODELS - 1)
}
