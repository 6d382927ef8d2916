//! Small even steps at the start, then growing ones.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::{Info, Knob, KnobValues, Result};

/// Genmo Mochi 1 (linear_quadratic_schedule); Polyak et al. 2024 (Movie Gen), arXiv 2410.13720
pub struct LinearQuadratic;

const THRESHOLD: Knob = Knob::number(
    "threshold",
    "Threshold",
    0.001,
    0.5,
    0.025,
    "share of the range that the first half of the steps covers",
);

impl Schedule for LinearQuadratic {
    fn info(&self) -> Info {
        Info {
            name: "linear_quadratic",
            label: "Linear quadratic",
            citation: "Genmo Mochi 1 (linear_quadratic_schedule); Polyak et al. 2024 (Movie Gen), arXiv 2410.13720",
            knobs: &[THRESHOLD],
            aliases: &["linear quadratic"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let (n, threshold) = (request.steps as f64, knobs.get(&THRESHOLD));
        let linear = (request.steps / 2) as f64;
        // The quadratic goes on with the line's slope and meets 1 at step n.
        let slope = if linear > 0.0 { threshold / linear } else { 0.0 };
        let bend = (1.0 - threshold - slope * (n - linear)) / (n - linear).powi(2);
        let done = |i: usize| {
            let i = i as f64;
            if i < linear {
                slope * i
            } else {
                threshold * linear.min(1.0) + slope * (i - linear) + bend * (i - linear).powi(2)
            }
        };
        let max = request.model.sigma_max();
        Ok(request.from_sigmas((0..request.steps).map(|i| max * (1.0 - done(i))).collect()))
    }
}
