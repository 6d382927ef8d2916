//! Noise levels whose logarithm follows a power of the step.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, Knob, KnobValues, Result};

/// k-diffusion get_sigmas_polyexponential
pub struct Polyexponential;

const RHO: Knob =
    Knob::number("poly_rho", "Power", 0.1, 10.0, 1.0, "1 is exponential; larger puts more steps at low noise");

impl Schedule for Polyexponential {
    fn info(&self) -> Info {
        Info {
            name: "polyexponential",
            label: "Polyexponential",
            citation: "k-diffusion get_sigmas_polyexponential",
            knobs: &[RHO],
            aliases: &["poly_exponential"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let (max, min) = request.range();
        let rho = knobs.get(&RHO);
        let level = |r: f64| (r.powf(rho) * (max.ln() - min.ln()) + min.ln()).exp();
        Ok(request.from_sigmas(linspace(1.0, 0.0, request.steps).into_iter().map(level).collect()))
    }
}
