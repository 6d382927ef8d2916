//! Noise levels at the quantiles of a beta distribution.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::{beta_quantile, linspace};
use crate::{Info, Knob, KnobValues, Result};

/// Lee et al. 2024: dense at both ends, sparse in the middle.
pub struct Beta;

const ALPHA: Knob = Knob::number("beta_alpha", "Alpha", 0.1, 5.0, 0.6, "smaller puts more steps at high noise");
const BETA: Knob = Knob::number("beta_beta", "Beta", 0.1, 5.0, 0.6, "smaller puts more steps at low noise");

impl Schedule for Beta {
    fn info(&self) -> Info {
        Info {
            name: "beta",
            label: "Beta",
            citation: "Lee et al. 2024, arXiv 2407.12173; diffusers use_beta_sigmas",
            knobs: &[ALPHA, BETA],
            aliases: &[],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let (max, min) = request.range();
        let quantile = |p: f64| min + (max - min) * beta_quantile(1.0 - p, knobs.get(&ALPHA), knobs.get(&BETA));
        Ok(request.from_sigmas(linspace(0.0, 1.0, request.steps).into_iter().map(quantile).collect()))
    }
}
