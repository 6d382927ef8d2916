//! Every k-th training level from the noisiest, k not rounded.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::{Info, KnobValues, Result};

/// ComfyUI simple
pub struct Simple;

impl Schedule for Simple {
    fn info(&self) -> Info {
        Info { name: "simple", label: "Simple", citation: "ComfyUI simple", knobs: &[], aliases: &[] }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let total = request.model.train_steps();
        let stride = total as f64 / request.steps as f64;
        let at = |i: usize| (total - 1 - (i as f64 * stride) as usize) as f64;
        Ok(request.from_timesteps((0..request.steps).map(at).collect()))
    }
}
