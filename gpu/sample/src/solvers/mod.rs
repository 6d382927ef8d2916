//! Solvers: from noise levels to a plan.

use crate::grid::{Grid, GridRules};
use crate::plan::Plan;
use crate::{Info, KnobValues, ModelSampling, Result};

mod ddim;
mod dpmpp_2m;
mod euler;

/// What a solver is asked to plan.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The network's levels.
    pub model: &'a ModelSampling,
    /// The run's levels.
    pub grid: &'a Grid,
    /// Settings.
    pub knobs: &'a KnobValues,
}

/// One way to go from noise to picture.
pub trait Solver: Sync {
    /// Name, citation, settings.
    fn info(&self) -> Info;
    /// How its home scheduler lays out timesteps.
    fn rules(&self) -> GridRules;
    /// The operations of a run.
    ///
    /// # Errors
    /// A setting that cannot be used with this model or these levels.
    fn plan(&self, job: &Job<'_>) -> Result<Plan>;
}

/// Every solver. To add one, write its file and name it here.
pub static ALL: &[&dyn Solver] = &[&euler::Euler, &ddim::Ddim, &dpmpp_2m::Dpmpp2m];
