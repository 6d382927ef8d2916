//! Heun++: each step looks up to two levels ahead and weighs the slopes by their noise level.

use super::shared::{CHURN, CHURN_NOISE, T_MAX, T_MIN, churn};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Result};

/// Carzit's sampler for the A1111 web UI; ComfyUI's `sample_heunpp2`. Three evaluations a step. It is of first order: the later slopes weigh
/// sigma / (3 sigma_max), which goes to 0 with the noise and leaves Euler.
pub struct HeunPp2;

impl Solver for HeunPp2 {
    fn info(&self) -> Info {
        Info {
            name: "heunpp2",
            label: "Heun++ 2",
            citation: "Carzit, sd-webui-samplers-scheduler; ComfyUI sample_heunpp2",
            knobs: &[CHURN, T_MIN, T_MAX, CHURN_NOISE],
            aliases: &["heun++2", "heunpp"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let mut b = Builder::new(job);
        let [denoised, trial, noise, d1, d2, d3] = b.registers();
        let top = grid.sigmas[grid.start.min(n)];
        let slope = |b: &mut Builder<'_>, into: Reg, x: Reg, sigma: f64| {
            b.combine(into, &[(x, 1.0 / sigma), (denoised, -1.0 / sigma)])
        };
        for i in grid.start..n {
            let next = grid.sigmas[i + 1];
            let (sigma, timestep) = churn(&mut b, job, i, noise);
            let step = next - sigma;
            b.denoise(X, sigma, timestep, denoised);
            if i + 1 == n {
                b.combine(X, &[(X, next / sigma), (denoised, 1.0 - next / sigma)]);
                b.end_step(next, denoised);
                continue;
            }
            slope(&mut b, d1, X, sigma);
            b.combine(trial, &[(X, 1.0), (d1, step)]);
            b.denoise(trial, next, grid.timesteps[i + 1], denoised);
            slope(&mut b, d2, trial, next);
            if i + 2 == n {
                let late = next / (2.0 * top);
                b.combine(X, &[(X, 1.0), (d1, step * (1.0 - late)), (d2, step * late)]);
            } else {
                let after = grid.sigmas[i + 2];
                b.combine(trial, &[(trial, 1.0), (d2, after - next)]);
                b.denoise(trial, after, grid.timesteps[i + 2], denoised);
                slope(&mut b, d3, trial, after);
                let (w2, w3) = (next / (3.0 * top), after / (3.0 * top));
                b.combine(X, &[(X, 1.0), (d1, step * (1.0 - w2 - w3)), (d2, step * w2), (d3, step * w3)]);
            }
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
