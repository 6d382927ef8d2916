//! Heun's method along a rectified flow.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// Esser et al. 2024; diffusers' FlowMatchHeunDiscreteScheduler. Two evaluations a step. The slopes are averaged over the share of noise
/// t = sigma / (1 + sigma), not over sigma.
pub struct FlowHeun;

impl Solver for FlowHeun {
    fn info(&self) -> Info {
        Info {
            name: "flow_heun",
            label: "Flow Heun",
            citation: "Esser et al. 2024, arXiv 2403.03206; diffusers FlowMatchHeunDiscreteScheduler",
            knobs: &[],
            aliases: &["flowmatchheundiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [first, second, trial] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], first);
            let euler = [(X, next / sigma), (first, 1.0 - next / sigma)];
            if next == 0.0 {
                b.combine(X, &euler);
                b.end_step(next, first);
                continue;
            }
            b.combine(trial, &euler);
            b.denoise(
                trial,
                next,
                grid.timesteps.get(i + 1).copied().unwrap_or_else(|| job.model.timestep_at(next)),
                second,
            );
            // In the flow's own coordinates y = (1 - t) x the velocity is (y - clean) / t = (x - clean) / sigma - clean.
            let (t, u) = (sigma / (1.0 + sigma), next / (1.0 + next));
            let half = 0.5 * (u - t);
            let scale = 1.0 / (1.0 - u);
            let terms = [
                (X, scale * ((1.0 - t) + half * (1.0 - t) / t)),
                (first, -scale * half / t),
                (trial, scale * half * (1.0 - u) / u),
                (second, -scale * half / u),
            ];
            b.combine(X, &terms);
            b.end_step(next, second);
        }
        Ok(b.finish(grid.first_sigma(), grid))
    }
}
