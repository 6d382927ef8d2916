//! Noise levels evenly spaced in log sigma.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, KnobValues, Result};

/// k-diffusion's `get_sigmas_exponential`.
pub struct Exponential;

impl Schedule for Exponential {
    fn info(&self) -> Info {
        Info {
            name: "exponential",
            label: "Exponential",
            citation: "k-diffusion get_sigmas_exponential; diffusers use_exponential_sigmas",
            knobs: &[],
            aliases: &["exp"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let (max, min) = request.range();
        let logs = linspace(max.ln(), min.ln(), request.steps);
        Ok(request.from_sigmas(logs.into_iter().map(f64::exp).collect()))
    }
}
