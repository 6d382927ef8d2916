//! Noise schedules: how n noise levels are laid between the noisiest and the cleanest.

use crate::grid::{Grid, GridRequest};
use crate::{Info, KnobValues, Result};

mod ays;
mod beta;
mod ddim_uniform;
mod exponential;
mod gits;
pub(crate) mod karras;
mod kl_optimal;
mod laplace;
mod linear_quadratic;
mod normal;
mod polyexponential;
mod sgm_uniform;
mod simple;
mod turbo;

/// One way to lay out noise levels.
pub trait Schedule: Sync {
    /// Name, citation, settings.
    fn info(&self) -> Info;
    /// The levels and timesteps of a run.
    ///
    /// # Errors
    /// A setting that cannot be used with this model or number of steps.
    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid>;
}

/// Every schedule, the plain one first. To add one, write its file and name it here.
pub static ALL: &[&dyn Schedule] = &[
    &normal::Normal,
    &karras::Karras,
    &exponential::Exponential,
    &polyexponential::Polyexponential,
    &sgm_uniform::SgmUniform,
    &simple::Simple,
    &ddim_uniform::DdimUniform,
    &beta::Beta,
    &kl_optimal::KlOptimal,
    &linear_quadratic::LinearQuadratic,
    &laplace::Laplace,
    &ays::AlignYourSteps,
    &gits::Gits,
    &turbo::Turbo,
];
