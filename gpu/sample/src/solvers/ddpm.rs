//! Denoising diffusion probabilistic models: the ancestral sampler of the original paper.

use super::shared::preserving::{alpha, alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// Ho et al. 2020, equations 6 and 7, with the posterior's variance; diffusers' DDPMScheduler (fixed_small).
pub struct Ddpm;

impl Solver for Ddpm {
    fn info(&self) -> Info {
        Info {
            name: "ddpm",
            label: "DDPM",
            citation: "Ho et al. 2020, arXiv 2006.11239, eq. 6 and 7; diffusers DDPMScheduler",
            knobs: &[],
            aliases: &["ddpmscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DDIM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let bars = alpha_bars(job.model, grid);
        check_signal("ddpm", job.model, grid, &bars)?;
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..n {
            let a = bars[i];
            let a_to = bars.get(i + 1).copied().unwrap_or(1.0);
            b.denoise(X, level(a), grid.timesteps[i], denoised);
            let (step, rest) = (a / a_to, 1.0 - a);
            let clean = a_to.sqrt() * (1.0 - step) / rest;
            // The latent is x * alpha in the paper's coordinates.
            let keep = step.sqrt() * (1.0 - a_to) / rest * alpha(a);
            let spread = ((1.0 - a_to) / rest * (1.0 - step)).max(0.0).sqrt();
            let scale = 1.0 / alpha(a_to);
            let mut terms = vec![(X, scale * keep), (denoised, scale * clean)];
            if spread > 0.0 {
                b.noise(noise);
                terms.push((noise, scale * spread));
            }
            b.combine(X, &terms);
            b.end_step(level(a_to), denoised);
        }
        Ok(b.finish(init_scale(grid, &bars), grid))
    }
}
