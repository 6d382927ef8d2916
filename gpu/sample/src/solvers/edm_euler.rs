//! Euler steps with the levels and the preconditioning of EDM.

use super::{Job, Solver, euler};
use crate::grid::GridRules;
use crate::plan::Plan;
use crate::{Info, Result};

/// Karras et al. 2022 as diffusers' EDMEulerScheduler: Euler over Karras's levels from noise of spread sqrt(sigma^2 + 1).
pub struct EdmEuler;

impl Solver for EdmEuler {
    fn info(&self) -> Info {
        Info {
            name: "edm_euler",
            label: "EDM Euler",
            citation: "Karras et al. 2022, arXiv 2206.00364; diffusers EDMEulerScheduler",
            knobs: euler::KNOBS,
            aliases: &["edmeulerscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EDM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        euler::run(job, job.grid.init_scale_preserving())
    }
}
