//! Noise levels evenly spaced in sigma^(1/rho).

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, Knob, KnobValues, Result};

/// Karras et al. 2022, equation 5.
pub struct Karras;

const RHO: Knob = Knob::number("rho", "Rho", 1.0, 20.0, 7.0, "larger puts more steps at low noise");

impl Schedule for Karras {
    fn info(&self) -> Info {
        Info {
            name: "karras",
            label: "Karras",
            citation: "Karras et al. 2022, arXiv 2206.00364, eq. 5",
            knobs: &[RHO],
            aliases: &[],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let rho = knobs.get(&RHO);
        Ok(request.from_sigmas(levels(request.steps, request.range(), rho)))
    }
}

/// n levels from the largest to the smallest.
pub fn levels(n: usize, (max, min): (f64, f64), rho: f64) -> Vec<f64> {
    let (from, to) = (max.powf(1.0 / rho), min.powf(1.0 / rho));
    linspace(0.0, 1.0, n).into_iter().map(|r| (from + r * (to - from)).powf(rho)).collect()
}
