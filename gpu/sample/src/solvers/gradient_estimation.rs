//! Euler steps that lean on how the slope changed.

use super::shared::History;
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Permenter and Yuan 2023: the distance function's gradient estimated from two evaluations; ComfyUI's `sample_gradient_estimation`.
pub struct GradientEstimation;

const GAMMA: Knob = Knob::number("ge_gamma", "Gamma", 1.0, 5.0, 2.0, "1 is Euler; 2 is what the paper uses");

impl Solver for GradientEstimation {
    fn info(&self) -> Info {
        Info {
            name: "gradient_estimation",
            label: "Gradient estimation",
            citation: "Permenter and Yuan 2023, arXiv 2306.04848; ComfyUI sample_gradient_estimation",
            knobs: &[GAMMA],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (grid, gamma) = (job.grid, job.knobs.get(&GAMMA));
        let mut b = Builder::new(job);
        let mut slopes = History::new(&mut b, 2);
        let denoised = b.register();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            slopes.push(&mut b, sigma, denoised);
            let step = next - sigma;
            if next == 0.0 {
                b.combine(X, &[(denoised, 1.0)]);
            } else if slopes.len() == 1 {
                b.combine(X, &[(X, 1.0), (slopes.get(0), step)]);
            } else {
                b.combine(X, &[(X, 1.0), (slopes.get(0), step * gamma), (slopes.get(1), step * (1.0 - gamma))]);
            }
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
