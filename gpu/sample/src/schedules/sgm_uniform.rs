//! Evenly spaced timesteps from the noisiest, without the cleanest.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, KnobValues, Result};

/// Stability AI generative-models, discretizer; ComfyUI sgm_uniform
pub struct SgmUniform;

impl Schedule for SgmUniform {
    fn info(&self) -> Info {
        Info {
            name: "sgm_uniform",
            label: "SGM uniform",
            citation: "Stability AI generative-models, discretizer; ComfyUI sgm_uniform",
            knobs: &[],
            aliases: &["sgm uniform"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let model = request.model;
        let mut timesteps = linspace((model.train_steps() - 1) as f64, 0.0, request.steps + 1);
        timesteps.pop();
        Ok(request.from_sigmas(timesteps.into_iter().map(|t| model.sigma_at_log(t)).collect()))
    }
}
