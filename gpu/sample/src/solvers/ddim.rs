//! Denoising diffusion implicit models.

use super::shared::preserving::{Descent, alpha, alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Song et al. 2020, equations 12 and 16; diffusers' DDIMScheduler.
pub struct Ddim;

const ETA: Knob = Knob::number("eta", "Eta", 0.0, 1.0, 0.0, "0 is deterministic, 1 adds as much noise as DDPM");

impl Solver for Ddim {
    fn info(&self) -> Info {
        Info {
            name: "ddim",
            label: "DDIM",
            citation: "Song et al. 2020, arXiv 2010.02502; diffusers DDIMScheduler",
            knobs: &[ETA],
            aliases: &["ddimscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DDIM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (model, grid) = (job.model, job.grid);
        let eta = job.knobs.get(&ETA);
        let n = grid.steps();
        let from = alpha_bars(model, grid);
        check_signal("ddim", model, grid, &from)?;
        let down = Descent::new(job, &from);
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..n {
            let (a, a_to) = (from[i], down.to(i));
            let sigma = level(a);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            // Variance-preserving: sqrt(a_to) x0 + sqrt(1 - a_to - s^2) eps + s noise, with eps = (x - x0) / sigma.
            let variance = if a < 1.0 { (1.0 - a_to) / (1.0 - a) * (1.0 - a / a_to) } else { 0.0 };
            let s = eta * variance.max(0.0).sqrt();
            let direction = (1.0 - a_to - s * s).max(0.0).sqrt() / sigma;
            // To the coordinates of the next step; the result itself is left variance-preserving.
            let scale = if i + 1 < n { 1.0 / alpha(from[i + 1]) } else { 1.0 };
            let mut terms = vec![(X, scale * direction), (denoised, scale * (a_to.sqrt() - direction))];
            if s > 0.0 {
                b.noise(noise);
                terms.push((noise, scale * s));
            }
            b.combine(X, &terms);
            b.end_step(level(if i + 1 < n { from[i + 1] } else { a_to }), denoised);
        }
        Ok(b.finish(init_scale(grid, &from), grid))
    }
}
