//! The midpoint method in log sigma, with fresh noise after each step.

use super::shared::{ETA, NOISE, add_noise, ancestral};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_dpm_2_ancestral`; diffusers' KDPM2AncestralDiscreteScheduler. Two evaluations a step.
pub struct Dpm2Ancestral;

impl Solver for Dpm2Ancestral {
    fn info(&self) -> Info {
        Info {
            name: "dpm_2_ancestral",
            label: "DPM2 a",
            citation: "k-diffusion sample_dpm_2_ancestral; diffusers KDPM2AncestralDiscreteScheduler",
            knobs: &[ETA, NOISE],
            aliases: &["dpm2 ancestral", "k_dpm_2_a", "kdpm2ancestraldiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM2
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [denoised, trial, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let (down, up) = ancestral(sigma, next, job.knobs.get(&ETA));
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            if down == 0.0 {
                b.combine(X, &[(denoised, 1.0)]);
            } else {
                let mid = (sigma * down).sqrt();
                b.combine(trial, &[(X, mid / sigma), (denoised, 1.0 - mid / sigma)]);
                b.denoise(trial, mid, job.model.timestep_at(mid), denoised);
                let slope = (down - sigma) / mid;
                b.combine(X, &[(X, 1.0), (trial, slope), (denoised, -slope)]);
            }
            add_noise(&mut b, noise, up * job.knobs.get(&NOISE));
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
