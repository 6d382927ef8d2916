//! Heun's second-order method along the probability-flow ODE.

use super::shared::{CHURN, CHURN_NOISE, T_MAX, T_MIN, churn};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// Karras et al. 2022, algorithm 2; diffusers' HeunDiscreteScheduler. Two evaluations a step.
pub struct Heun;

impl Solver for Heun {
    fn info(&self) -> Info {
        Info {
            name: "heun",
            label: "Heun",
            citation: "Karras et al. 2022, arXiv 2206.00364, algorithm 2; diffusers HeunDiscreteScheduler",
            knobs: &[CHURN, T_MIN, T_MAX, CHURN_NOISE],
            aliases: &["k_heun", "heundiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [first, second, trial, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let next = grid.sigmas[i + 1];
            let (sigma, timestep) = churn(&mut b, job, i, noise);
            b.denoise(X, sigma, timestep, first);
            let euler = [(X, next / sigma), (first, 1.0 - next / sigma)];
            if next == 0.0 {
                b.combine(X, &euler);
            } else {
                b.combine(trial, &euler);
                let told = grid.timesteps.get(i + 1).copied().unwrap_or_else(|| job.model.timestep_at(next));
                b.denoise(trial, next, told, second);
                // x + (d1 + d2) / 2 * (next - sigma), with d1 = (x - first) / sigma and d2 = (trial - second) / next.
                let half = 0.5 * (next - sigma);
                let (at_start, at_end) = (half / sigma, half / next);
                b.combine(X, &[(X, 1.0 + at_start), (first, -at_start), (trial, at_end), (second, -at_end)]);
            }
            b.end_step(next, if next == 0.0 { first } else { second });
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
