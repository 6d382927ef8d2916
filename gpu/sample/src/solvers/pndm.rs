//! Pseudo numerical methods: DDIM's step fed with a linear multistep estimate of the noise.

use super::ipndm::adams;
use super::shared::preserving::{Descent, alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result, SampleError};

/// Liu et al. 2022; diffusers' PNDMScheduler. The second step is done again with a trapezoid (skip_prk_steps), or the first three are
/// Runge-Kutta steps of four evaluations.
pub struct Pndm;

const WARMUP: Knob = Knob::choice(
    "warmup",
    "Warm-up",
    &["plms", "prk"],
    "how the first steps are made: plms takes one evaluation more, prk nine",
);

/// Runge-Kutta steps before the multistep ones.
const PRK_STEPS: usize = 3;

impl Solver for Pndm {
    fn info(&self) -> Info {
        Info {
            name: "pndm",
            label: "PNDM",
            citation: "Liu et al. 2022, arXiv 2202.09778; diffusers PNDMScheduler",
            knobs: &[WARMUP],
            aliases: &["plms", "k_plms", "pndmscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DDIM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (model, grid) = (job.model, job.grid);
        let n = grid.steps();
        let bars = alpha_bars(model, grid);
        check_signal("pndm", model, grid, &bars)?;
        let down = Descent::new(job, &bars);
        let runge = job.knobs.get(&WARMUP) > 0.0;
        if runge && n - grid.start.min(n) <= PRK_STEPS {
            return Err(SampleError::setting("warmup", format!("prk needs more than {PRK_STEPS} steps")));
        }
        let mut b = Builder::new(job);
        let [denoised, trial, other] = b.registers();
        let mut slopes: Vec<Reg> = (0..4).map(|_| b.register()).collect();
        let slope = |b: &mut Builder<'_>, into: Reg, x: Reg, sigma: f64| {
            b.combine(into, &[(x, 1.0 / sigma), (denoised, -1.0 / sigma)])
        };
        for i in grid.start..n {
            let done = i - grid.start;
            let (sigma, to) = (level(bars[i]), level(down.to(i)));
            slopes.rotate_right(1);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            slope(&mut b, slopes[0], X, sigma);
            let mut terms = vec![(X, 1.0)];
            if runge && done < PRK_STEPS {
                // Four slopes: here, twice halfway and at the next timestep, each from the same x.
                let half = (model.train_steps() / n / 2) as f64;
                let ends = |t: f64| level(down.bar_at(t));
                let mid_at = grid.timesteps.get(i + 1).map_or(0.0, |t| t + half);
                let end_at = grid.timesteps.get(i + 1).copied().unwrap_or(0.0);
                let mid = ends(grid.timesteps[i] - half);
                b.combine(trial, &[(X, 1.0), (slopes[0], mid - sigma)]);
                b.denoise(trial, ends(mid_at), mid_at, denoised);
                slope(&mut b, other, trial, ends(mid_at));
                let mean = b.register();
                b.combine(mean, &[(slopes[0], 1.0 / 6.0), (other, 1.0 / 3.0)]);
                b.combine(trial, &[(X, 1.0), (other, ends(mid_at) - sigma)]);
                b.denoise(trial, ends(mid_at), mid_at, denoised);
                slope(&mut b, other, trial, ends(mid_at));
                b.combine(mean, &[(mean, 1.0), (other, 1.0 / 3.0)]);
                b.combine(trial, &[(X, 1.0), (other, ends(mid_at - half) - sigma)]);
                b.denoise(trial, ends(end_at), end_at, denoised);
                slope(&mut b, other, trial, ends(end_at));
                let step = ends(end_at) - sigma;
                b.combine(X, &[(X, 1.0), (mean, step), (other, step / 6.0)]);
                b.end_step(ends(end_at), denoised);
                continue;
            }
            if !runge && done == 0 && i + 1 < n {
                // The trapezoid of the slopes at both ends; the multistep history then begins with the second evaluation at the next level.
                b.combine(trial, &[(X, 1.0), (slopes[0], to - sigma)]);
                let next = level(bars[i + 1]);
                b.denoise(trial, next, grid.timesteps[i + 1], denoised);
                slope(&mut b, other, trial, next);
                terms.extend([(slopes[0], 0.5 * (to - sigma)), (other, 0.5 * (to - sigma))]);
            } else {
                let order = if runge { 4 } else { (done + 1).min(4) };
                terms.extend(slopes.iter().zip(adams(order)).map(|(r, c)| (*r, c * (to - sigma))));
            }
            let scale = down.rescale(i);
            terms.iter_mut().for_each(|(_, c)| *c *= scale);
            b.combine(X, &terms);
            b.end_step(if i + 1 < n { level(bars[i + 1]) } else { to }, denoised);
        }
        Ok(b.finish(init_scale(grid, &bars), grid))
    }
}
