//! DPM-Solver++ (2M) for the stochastic equation.

use super::shared::{ETA, NOISE};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Lu et al. 2022 with the noise of the reverse SDE; diffusers' DPMSolverMultistepScheduler (sde-dpmsolver++). eta 0 is DPM++ 2M.
pub struct Dpmpp2mSde;

const TYPE: Knob = Knob::choice("solver_type", "Update", &["midpoint", "heun"], "how the second-order term is written");

impl Solver for Dpmpp2mSde {
    fn info(&self) -> Info {
        Info {
            name: "dpmpp_2m_sde",
            label: "DPM++ 2M SDE",
            citation: "Lu et al. 2022, arXiv 2211.01095; diffusers DPMSolverMultistepScheduler (sde-dpmsolver++); k-diffusion sample_dpmpp_2m_sde",
            knobs: &[ETA, NOISE, TYPE],
            aliases: &["k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (grid, eta) = (job.grid, job.knobs.get(&ETA));
        let heun = job.knobs.get(&TYPE) > 0.0;
        let n = grid.steps();
        let mut b = Builder::new(job);
        let [mut now, mut before, noise] = b.registers();
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], now);
            // The result itself is left variance-preserving.
            let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
            let shrink = next / sigma;
            let h = -shrink.ln();
            // e^-(h + eta h)
            let keep = shrink.powf(1.0 + eta);
            let mut terms = vec![(X, scale * keep), (now, scale * (1.0 - keep))];
            let last = i + 1 == n && (next == 0.0 || n < 15);
            if i > grid.start && !last {
                let r = (grid.sigmas[i - 1] / sigma).ln() / h;
                let all = h * (1.0 + eta);
                let weight = if heun { 1.0 - (1.0 - keep) / all } else { 0.5 * (1.0 - keep) };
                terms.extend([(now, scale * weight / r), (before, -scale * weight / r)]);
            }
            let spread = next * (1.0 - shrink.powf(2.0 * eta)).max(0.0).sqrt() * job.knobs.get(&NOISE);
            if spread > 0.0 {
                b.noise(noise);
                terms.push((noise, scale * spread));
            }
            b.combine(X, &terms);
            b.end_step(next, now);
            std::mem::swap(&mut now, &mut before);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
