//! Euler steps along the probability-flow ODE, with optional churn.

use super::shared::{CHURN, CHURN_NOISE, T_MAX, T_MIN, churn};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Karras et al. 2022, algorithm 2 without the second-order correction; diffusers' EulerDiscreteScheduler.
pub struct Euler;

impl Solver for Euler {
    fn info(&self) -> Info {
        Info {
            name: "euler",
            label: "Euler",
            citation: "Karras et al. 2022, arXiv 2206.00364, algorithm 2; diffusers EulerDiscreteScheduler",
            knobs: KNOBS,
            aliases: &["eulerdiscrete", "eulerdiscretescheduler", "k_euler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        run(job, job.grid.init_scale_exploding())
    }
}

/// The knobs of churn.
pub(super) const KNOBS: &[Knob] = &[CHURN, T_MIN, T_MAX, CHURN_NOISE];

/// Euler steps from `init_scale` times the noise.
pub(super) fn run(job: &Job<'_>, init_scale: f64) -> Result<Plan> {
    let grid = job.grid;
    let mut b = Builder::new(job);
    let [denoised, noise] = b.registers();
    for i in grid.start..grid.steps() {
        let next = grid.sigmas[i + 1];
        let (sigma, timestep) = churn(&mut b, job, i, noise);
        b.denoise(X, sigma, timestep, denoised);
        // x + (x - denoised) / sigma * (next - sigma), written without the cancellation at large sigma.
        b.combine(X, &[(X, next / sigma), (denoised, 1.0 - next / sigma)]);
        b.end_step(next, denoised);
    }
    Ok(b.finish(init_scale, grid))
}
