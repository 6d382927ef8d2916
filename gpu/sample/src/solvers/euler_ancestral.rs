//! Euler steps with fresh noise after each.

use super::shared::{ETA, NOISE, add_noise, ancestral};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_euler_ancestral`; diffusers' EulerAncestralDiscreteScheduler.
pub struct EulerAncestral;

impl Solver for EulerAncestral {
    fn info(&self) -> Info {
        Info {
            name: "euler_ancestral",
            label: "Euler a",
            citation: "k-diffusion sample_euler_ancestral; diffusers EulerAncestralDiscreteScheduler",
            knobs: &[ETA, NOISE],
            aliases: &["euler ancestral", "euler_a", "k_euler_a", "eulerancestraldiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let (down, up) = ancestral(sigma, next, job.knobs.get(&ETA));
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            b.combine(X, &[(X, down / sigma), (denoised, 1.0 - down / sigma)]);
            add_noise(&mut b, noise, up * job.knobs.get(&NOISE));
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
