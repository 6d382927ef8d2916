//! DPM-Solver++ of orders 1 to 3 with the levels and the preconditioning of EDM.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result};

/// Lu et al. 2022 over Karras's levels; diffusers' EDMDPMSolverMultistepScheduler (dpmsolver++ and sde-dpmsolver++).
pub struct EdmDpm;

const ORDER: Knob =
    Knob::number("order", "Order", 1.0, 3.0, 2.0, "how many evaluations are used; with noise at most 2");
const TYPE: Knob = Knob::choice("solver_type", "Update", &["midpoint", "heun"], "how the second-order term is written");
const EQUATION: Knob = Knob::choice("equation", "Equation", &["ode", "sde"], "sde adds fresh noise in each step");

impl Solver for EdmDpm {
    fn info(&self) -> Info {
        Info {
            name: "edm_dpm",
            label: "EDM DPM++",
            citation: "Karras et al. 2022, arXiv 2206.00364; Lu et al. 2022, arXiv 2211.01095; diffusers EDMDPMSolverMultistepScheduler",
            knobs: &[ORDER, TYPE, EQUATION],
            aliases: &["edm_dpmpp_2m", "edmdpmsolvermultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EDM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let noisy = job.knobs.get(&EQUATION) > 0.0;
        let heun = job.knobs.get(&TYPE) > 0.0;
        let most = (job.knobs.get(&ORDER) as usize).min(if noisy { 2 } else { 3 });
        let mut b = Builder::new(job);
        let noise = b.register();
        let mut past: Vec<Reg> = (0..3).map(|_| b.register()).collect();
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            past.rotate_right(1);
            b.denoise(X, sigma, grid.timesteps[i], past[0]);
            let mut order = most.min(i - grid.start + 1);
            if i + 1 == n && (next == 0.0 || n < 15) {
                order = 1;
            } else if i + 2 == n && n < 15 {
                order = order.min(2);
            }
            let h = (sigma / next).ln();
            // 1 for the ODE, 2 for the SDE with all its noise.
            let kind = if noisy { 2.0 } else { 1.0 };
            let keep = (next / sigma).powf(kind);
            let mut terms = vec![(X, keep), (past[0], 1.0 - keep)];
            let ago = |k: usize| (grid.sigmas[i - k] / grid.sigmas[i - k + 1]).ln() / h;
            if order == 2 {
                let all = kind * h;
                let weight = if heun { 1.0 - (1.0 - keep) / all } else { 0.5 * (1.0 - keep) } / ago(1);
                terms.extend([(past[0], weight), (past[1], -weight)]);
            } else if order == 3 {
                let (r0, r1) = (ago(1), ago(2));
                let first = 1.0 - (1.0 - keep) / h;
                let second = (keep - 1.0 + h) / (h * h) - 0.5;
                // first (s0 + (s0 - s1) r0 / (r0 + r1)) - second (s0 - s1) / (r0 + r1), with s0 = (m0 - m1) / r0 and s1 = (m1 - m2) / r1.
                let bend = (first * r0 - second) / (r0 + r1);
                let (w0, w1) = ((first + bend) / r0, -bend / r1);
                terms.extend([(past[0], w0), (past[1], w1 - w0), (past[2], -w1)]);
            }
            if noisy {
                b.noise(noise);
                terms.push((noise, next * (1.0 - (next / sigma).powi(2)).max(0.0).sqrt()));
            }
            b.combine(X, &terms);
            b.end_step(next, past[0]);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
