//! Noise levels at the quantiles of a Laplace distribution of log sigma.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, Knob, KnobValues, Result};

/// Hang et al. 2024: most steps near one noise level, ever fewer away from it.
pub struct Laplace;

const MU: Knob =
    Knob::number("laplace_mu", "Centre", -10.0, 10.0, 0.0, "natural logarithm of the noise level that gets most steps");
const BETA: Knob = Knob::number("laplace_beta", "Width", 0.01, 10.0, 0.5, "larger spreads the steps wider");

impl Schedule for Laplace {
    fn info(&self) -> Info {
        Info {
            name: "laplace",
            label: "Laplace",
            citation: "Hang et al. 2024, arXiv 2407.03297; ComfyUI LaplaceScheduler",
            knobs: &[MU, BETA],
            aliases: &[],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let (max, min) = (request.model.sigma_max(), request.model.sigma_min());
        // The reference keeps the logarithm finite at both ends by this much.
        let level = |x: f64| {
            let tail = (1.0 - 2.0 * (0.5 - x).abs() + 1e-5).ln();
            let side = if x < 0.5 { 1.0 } else { -1.0 };
            let side = if x == 0.5 { 0.0 } else { side };
            (knobs.get(&MU) - knobs.get(&BETA) * side * tail).exp().clamp(min, max)
        };
        let mut sigmas: Vec<f64> = linspace(0.0, 1.0, request.steps).into_iter().map(level).collect();
        // Tails beyond the model's range fall together; one step is enough there.
        sigmas.dedup();
        Ok(request.from_sigmas(sigmas))
    }
}
