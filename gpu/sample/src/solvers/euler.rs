//! Euler steps along the probability-flow ODE, with optional churn.

use super::shared::{CHURN, CHURN_NOISE, T_MAX, T_MIN, churn};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// Karras et al. 2022, algorithm 2 without the second-order correction; diffusers' EulerDiscreteScheduler.
pub struct Euler;

impl Solver for Euler {
    fn info(&self) -> Info {
        Info {
            name: "euler",
            label: "Euler",
            citation: "Karras et al. 2022, arXiv 2206.00364, algorithm 2; diffusers EulerDiscreteScheduler",
            knobs: &[CHURN, T_MIN, T_MAX, CHURN_NOISE],
            aliases: &["eulerdiscrete", "eulerdiscretescheduler", "k_euler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job.model.prediction());
        let [denoised, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let next = grid.sigmas[i + 1];
            let (sigma, timestep) = churn(&mut b, job, i, noise);
            b.denoise(X, sigma, timestep, denoised);
            // x + (x - denoised) / sigma * (next - sigma), written without the cancellation at large sigma.
            b.combine(X, &[(X, next / sigma), (denoised, 1.0 - next / sigma)]);
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
