//! Evenly spaced timesteps.

use super::{Schedule, karras};
use crate::grid::{Grid, GridRequest};
use crate::{BetaSchedule, Info, KnobValues, Result};

/// The training timesteps, evenly spaced, as the sampler's own scheduler in diffusers lays them out.
pub struct Normal;

impl Schedule for Normal {
    fn info(&self) -> Info {
        Info {
            name: "normal",
            label: "Normal",
            citation: "Ho et al. 2020, arXiv 2006.11239; spacing: Lin et al. 2023, arXiv 2305.08891, table 2",
            knobs: &[],
            aliases: &["uniform", "discrete", "default"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        if request.rules.edm || matches!(request.model.config().betas, BetaSchedule::Continuous { .. }) {
            let ends = (request.model.sigma_max(), request.model.sigma_min());
            return Ok(request.from_sigmas(karras::levels(request.steps, ends, 7.0)));
        }
        Ok(Grid { native: true, ..request.from_timesteps(request.spaced_timesteps()) })
    }
}
