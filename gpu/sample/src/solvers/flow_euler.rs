//! Euler steps along a rectified flow.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Liu et al. 2022; diffusers' FlowMatchEulerDiscreteScheduler. Seen from x0 + sigma noise, a straight step in the share of noise is the same
/// as one in sigma, so on a flow model this is Euler; on others it is DDIM's trajectory.
pub struct FlowEuler;

const STOCHASTIC: Knob = Knob::choice(
    "stochastic",
    "Fresh noise",
    &["off", "on"],
    "on: every step goes to the clean latent and adds fresh noise",
);

impl Solver for FlowEuler {
    fn info(&self) -> Info {
        Info {
            name: "flow_euler",
            label: "Flow Euler",
            citation: "Liu et al. 2022, arXiv 2209.03003; diffusers FlowMatchEulerDiscreteScheduler",
            knobs: &[STOCHASTIC],
            aliases: &["flowmatcheulerdiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let stochastic = job.knobs.get(&STOCHASTIC) > 0.0;
        let mut b = Builder::new(job);
        let [denoised, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            if !stochastic || next == 0.0 {
                b.combine(X, &[(X, next / sigma), (denoised, 1.0 - next / sigma)]);
            } else {
                b.noise(noise);
                b.combine(X, &[(denoised, 1.0), (noise, next)]);
            }
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.first_sigma(), grid))
    }
}
