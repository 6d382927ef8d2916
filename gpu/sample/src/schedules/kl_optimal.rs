//! Noise levels evenly spaced in the arctangent of sigma.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::linspace;
use crate::{Info, KnobValues, Result};

/// Sabour et al. 2024 (Align Your Steps), arXiv 2404.14507, theorem 3.1
pub struct KlOptimal;

impl Schedule for KlOptimal {
    fn info(&self) -> Info {
        Info {
            name: "kl_optimal",
            label: "KL optimal",
            citation: "Sabour et al. 2024 (Align Your Steps), arXiv 2404.14507, theorem 3.1",
            knobs: &[],
            aliases: &["kl optimal"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let (max, min) = (request.model.sigma_max().atan(), request.model.sigma_min().atan());
        let level = |r: f64| (r * min + (1.0 - r) * max).tan();
        Ok(request.from_sigmas(linspace(0.0, 1.0, request.steps).into_iter().map(level).collect()))
    }
}
