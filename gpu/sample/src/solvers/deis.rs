//! Diffusion exponential integrator sampler, multistep in log sigma.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result};

/// Zhang and Chen 2022 (log-rho AB); diffusers' DEISMultistepScheduler. Ends at the smallest training noise level.
pub struct Deis;

const ORDER: Knob = Knob::number("order", "Order", 1.0, 3.0, 2.0, "how many evaluations are used");

/// Integral of `t` -> product over `others` of (ln t - ln o) / (ln at - ln o), from `a` to `b`.
fn coefficient(a: f64, b: f64, at: f64, others: &[f64]) -> f64 {
    let primitive = |t: f64| {
        let l = t.ln();
        match others {
            [] => t,
            [c] => t * (l - 1.0 - c.ln()) / (at.ln() - c.ln()),
            [c, d, ..] => {
                let (c, d) = (c.ln(), d.ln());
                t * (l * l - 2.0 * l + 2.0 - (c + d) * (l - 1.0) + c * d) / ((at.ln() - c) * (at.ln() - d))
            }
        }
    };
    primitive(b) - primitive(a)
}

impl Solver for Deis {
    fn info(&self) -> Info {
        Info {
            name: "deis",
            label: "DEIS",
            citation: "Zhang and Chen 2022, arXiv 2204.13902; diffusers DEISMultistepScheduler",
            knobs: &[ORDER],
            aliases: &["deismultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules { ends_at_min: true, ..GridRules::DPM }
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let most = job.knobs.get(&ORDER) as usize;
        let mut b = Builder::new(job);
        let denoised = b.register();
        let mut past: Vec<Reg> = (0..most).map(|_| b.register()).collect();
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            past.rotate_right(1);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            b.combine(past[0], &[(X, 1.0 / sigma), (denoised, -1.0 / sigma)]);
            let mut order = most.min(i - grid.start + 1);
            if n < 15 {
                order = order.min(n - i);
            }
            // The result itself is left variance-preserving.
            let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
            let levels: Vec<f64> = (0..order).map(|k| grid.sigmas[i - k]).collect();
            let mut terms = vec![(X, scale)];
            for k in 0..order {
                let others: Vec<f64> = (0..order).filter(|j| *j != k).map(|j| levels[j]).collect();
                terms.push((past[k], scale * coefficient(sigma, next, levels[k], &others)));
            }
            b.combine(X, &terms);
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
