//! DPM-Solver-2 in the form of Karras et al.: the midpoint method in log sigma.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_dpm_2`; diffusers' KDPM2DiscreteScheduler. Two evaluations a step.
pub struct Dpm2;

impl Solver for Dpm2 {
    fn info(&self) -> Info {
        Info {
            name: "dpm_2",
            label: "DPM2",
            citation: "Lu et al. 2022, arXiv 2206.00927; k-diffusion sample_dpm_2; diffusers KDPM2DiscreteScheduler",
            knobs: &[],
            aliases: &["k_dpm_2", "kdpm2discretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM2
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [denoised, trial] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            if next == 0.0 {
                b.combine(X, &[(denoised, 1.0)]);
            } else {
                let mid = (sigma * next).sqrt();
                b.combine(trial, &[(X, mid / sigma), (denoised, 1.0 - mid / sigma)]);
                b.denoise(trial, mid, job.model.timestep_at(mid), denoised);
                let slope = (next - sigma) / mid;
                b.combine(X, &[(X, 1.0), (trial, slope), (denoised, -slope)]);
            }
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
