//! DPM-Solver++ (3M) for the stochastic equation.

use super::shared::{ETA, NOISE};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_dpmpp_3m_sde`, with independent noise in each step.
pub struct Dpmpp3mSde;

impl Solver for Dpmpp3mSde {
    fn info(&self) -> Info {
        Info {
            name: "dpmpp_3m_sde",
            label: "DPM++ 3M SDE",
            citation: "Lu et al. 2022, arXiv 2211.01095; k-diffusion sample_dpmpp_3m_sde",
            knobs: &[ETA, NOISE],
            aliases: &["k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (grid, eta) = (job.grid, job.knobs.get(&ETA));
        let mut b = Builder::new(job);
        let [d0, d1, d2, noise] = b.registers();
        let mut past = [d0, d1, d2];
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let [now, one, two] = past;
            b.denoise(X, sigma, grid.timesteps[i], now);
            if next == 0.0 {
                b.combine(X, &[(now, 1.0)]);
            } else {
                let h = (sigma / next).ln();
                let all = h * (1.0 + eta);
                let keep = (-all).exp();
                let mut terms = vec![(X, keep), (now, 1.0 - keep)];
                let phi_2 = (-all).exp_m1() / all + 1.0;
                let phi_3 = phi_2 / all - 0.5;
                let ago = |k: usize| (grid.sigmas[i - k] / grid.sigmas[i - k + 1]).ln() / h;
                match i - grid.start {
                    0 => {}
                    1 => terms.extend([(now, phi_2 / ago(1)), (one, -phi_2 / ago(1))]),
                    _ => {
                        let (r0, r1) = (ago(1), ago(2));
                        // phi_2 (s0 + (s0 - s1) r0 / (r0 + r1)) - phi_3 (s0 - s1) / (r0 + r1), with the slopes s0 = (now - one) / r0
                        // and s1 = (one - two) / r1.
                        let bend = (phi_2 * r0 - phi_3) / (r0 + r1);
                        let (w0, w1) = ((phi_2 + bend) / r0, -bend / r1);
                        terms.extend([(now, w0), (one, w1 - w0), (two, -w1)]);
                    }
                }
                let spread = next * (-(-2.0 * h * eta).exp_m1()).max(0.0).sqrt() * job.knobs.get(&NOISE);
                if spread > 0.0 {
                    b.noise(noise);
                    terms.push((noise, spread));
                }
                b.combine(X, &terms);
            }
            b.end_step(next, now);
            past = [two, now, one];
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
