//! DPM-Solver++, second order, multistep.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// Lu et al. 2022, DPM-Solver++(2M); diffusers' DPMSolverMultistepScheduler with midpoint updates.
pub struct Dpmpp2m;

impl Solver for Dpmpp2m {
    fn info(&self) -> Info {
        Info {
            name: "dpmpp_2m",
            label: "DPM++ 2M",
            citation: "Lu et al. 2022, arXiv 2211.01095; diffusers DPMSolverMultistepScheduler",
            knobs: &[],
            aliases: &["dpm++ 2m", "dpmpp2m", "k_dpmpp_2m", "dpmsolvermultistep", "dpmsolvermultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let mut b = Builder::new(job);
        let [mut now, mut before] = b.registers();
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], now);
            // e^-h with h the growth of log SNR / 2.
            let shrink = next / sigma;
            // First order at the start, and at the end where that is at zero noise or the steps are few.
            let last = i + 1 == n && (next == 0.0 || n < 15);
            // The result itself is left variance-preserving.
            let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
            if i == grid.start || last {
                b.combine(X, &[(X, scale * shrink), (now, scale * (1.0 - shrink))]);
            } else {
                let h = -shrink.ln();
                let r = (grid.sigmas[i - 1] / sigma).ln() / h;
                let slope = (1.0 - shrink) / (2.0 * r);
                // With CFG++ the slope goes from the last unconditional estimate to the guided one (ComfyUI's `dpmpp_2m_cfg_pp`).
                let newest = b.guided(now);
                let terms = [(X, shrink), (now, 1.0 - shrink), (newest, slope), (before, -slope)];
                b.combine(X, &terms.map(|(r, c)| (r, scale * c)));
            }
            b.end_step(next, now);
            std::mem::swap(&mut now, &mut before);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
