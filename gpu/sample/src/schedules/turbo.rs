//! The levels of distilled turbo models: every tenth of the training steps from the noisiest.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::{Info, KnobValues, Result, SampleError};

/// The first n of ten even timesteps.
pub struct Turbo;

/// Levels a turbo model was distilled on.
const LEVELS: usize = 10;

impl Schedule for Turbo {
    fn info(&self) -> Info {
        Info {
            name: "turbo",
            label: "Turbo",
            citation: "Sauer et al. 2023, arXiv 2311.17042; ComfyUI SDTurboScheduler",
            knobs: &[],
            aliases: &["sd_turbo"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        if request.steps > LEVELS {
            let why = format!("{} is too many for the turbo schedule; use 1 to {LEVELS}, best 1 to 4", request.steps);
            return Err(SampleError::setting("steps", why));
        }
        let total = request.model.train_steps();
        let at = |i: usize| ((LEVELS - i) * (total / LEVELS)) as f64 - 1.0;
        Ok(request.from_timesteps((0..request.steps).map(at).collect()))
    }
}
