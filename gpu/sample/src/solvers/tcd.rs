//! Trajectory consistency distillation: jumps on a trajectory of one's choice, with noise between them.

use super::shared::preserving::{alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result, SampleError};

/// Zheng et al. 2024; diffusers' TCDScheduler. For models distilled to it.
pub struct Tcd;

const GAMMA: Knob = Knob::number(
    "eta",
    "Gamma",
    0.0,
    1.0,
    0.3,
    "0 is deterministic, 1 jumps to the clean latent and adds all noise again",
);

/// Steps that the network was distilled on.
const DISTILLED: usize = 50;

impl Solver for Tcd {
    fn info(&self) -> Info {
        Info {
            name: "tcd",
            label: "TCD",
            citation: "Zheng et al. 2024, arXiv 2402.19159; diffusers TCDScheduler",
            knobs: &[GAMMA],
            aliases: &["tcdscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules { distilled: Some(DISTILLED), ..GridRules::DDIM }
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (model, grid, gamma) = (job.model, job.grid, job.knobs.get(&GAMMA));
        let n = grid.steps();
        if n > DISTILLED {
            return Err(SampleError::setting(
                "steps",
                format!("{n} is too many for tcd; use 1 to {DISTILLED}, best 4 to 8"),
            ));
        }
        let bars = alpha_bars(model, grid);
        check_signal("tcd", model, grid, &bars)?;
        let table = model.alphas_cumprod();
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..n {
            let sigma = level(bars[i]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            let last = i + 1 == n;
            // Where the jump lands, s; then noise up to the next level.
            let next_timestep = if last { 0.0 } else { grid.timesteps[i + 1] };
            let landing = table[((1.0 - gamma) * next_timestep).floor() as usize];
            let (next, landed) = (if last { landing } else { bars[i + 1] }, level(landing));
            let ratio = landed / sigma;
            let mut terms = vec![(X, ratio), (denoised, 1.0 - ratio)];
            let spread = (level(next).powi(2) - landed * landed).max(0.0).sqrt();
            if !last && gamma > 0.0 && spread > 0.0 {
                b.noise(noise);
                terms.push((noise, spread));
            }
            // The result itself is left variance-preserving.
            let scale = if last { landing.sqrt() } else { 1.0 };
            terms.iter_mut().for_each(|(_, c)| *c *= scale);
            b.combine(X, &terms);
            b.end_step(level(next), denoised);
        }
        Ok(b.finish(init_scale(grid, &bars), grid))
    }
}
