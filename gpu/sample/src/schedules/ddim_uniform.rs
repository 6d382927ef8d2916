//! Every k-th training level from the second cleanest upwards. Gives a step more where the training steps do not divide evenly.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::{Info, KnobValues, Result};

/// Song et al. 2020, arXiv 2010.02502; ComfyUI ddim_uniform
pub struct DdimUniform;

impl Schedule for DdimUniform {
    fn info(&self) -> Info {
        Info {
            name: "ddim_uniform",
            label: "DDIM uniform",
            citation: "Song et al. 2020, arXiv 2010.02502; ComfyUI ddim_uniform",
            knobs: &[],
            aliases: &["ddim uniform", "ddim"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let total = request.model.train_steps();
        let stride = (total / request.steps).max(1);
        let mut timesteps: Vec<f64> = (1..total).step_by(stride).map(|t| t as f64).collect();
        timesteps.reverse();
        Ok(request.from_timesteps(timesteps))
    }
}
