//! Latent consistency models: jump to the clean latent, add noise, jump again.

use super::shared::preserving::{alpha, alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result, SampleError};

/// Luo et al. 2023; diffusers' LCMScheduler. For networks and adapters distilled this way, 1 to 8 steps.
pub struct Lcm;

/// Timesteps used in distillation.
const DISTILLED: usize = 50;
/// Spread of clean latents and scale of timesteps in the boundary condition.
const SIGMA_DATA: f64 = 0.5;
const TIMESTEP_SCALING: f64 = 10.0;

impl Solver for Lcm {
    fn info(&self) -> Info {
        Info {
            name: "lcm",
            label: "LCM",
            citation: "Luo et al. 2023, arXiv 2310.04378; diffusers LCMScheduler",
            knobs: &[],
            aliases: &["lcmscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules { distilled: Some(DISTILLED), ..GridRules::DDIM }
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        if n > DISTILLED {
            return Err(SampleError::setting(
                "steps",
                format!("{n} is too many for lcm; use 1 to {DISTILLED}, best 4 to 8"),
            ));
        }
        let bars = alpha_bars(job.model, grid);
        check_signal("lcm", job.model, grid, &bars)?;
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..n {
            let (a, t) = (bars[i], grid.timesteps[i] * TIMESTEP_SCALING);
            let sigma = level(a);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            let wide = t * t + SIGMA_DATA * SIGMA_DATA;
            // The latent is x * alpha in the paper's coordinates.
            let (skip, out) = (SIGMA_DATA * SIGMA_DATA / wide * alpha(a), t / wide.sqrt());
            if i + 1 < n {
                let next = level(bars[i + 1]);
                b.noise(noise);
                b.combine(X, &[(X, skip), (denoised, out), (noise, next)]);
                b.end_step(next, denoised);
            } else {
                b.combine(X, &[(X, skip), (denoised, out)]);
                b.end_step(0.0, denoised);
            }
        }
        Ok(b.finish(init_scale(grid, &bars), grid))
    }
}
