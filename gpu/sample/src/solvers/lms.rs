//! Linear multistep (Adams-Bashforth in sigma).

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::math::integrate;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result};

/// k-diffusion's `sample_lms`; diffusers' LMSDiscreteScheduler.
pub struct Lms;

const ORDER: Knob = Knob::number("order", "Order", 1.0, 4.0, 4.0, "how many past slopes are used");

impl Solver for Lms {
    fn info(&self) -> Info {
        Info {
            name: "lms",
            label: "LMS",
            citation: "k-diffusion sample_lms; diffusers LMSDiscreteScheduler",
            knobs: &[ORDER],
            aliases: &["k_lms", "lmsdiscretescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let order = job.knobs.get(&ORDER) as usize;
        let mut b = Builder::new(job);
        let denoised = b.register();
        let slopes: Vec<Reg> = (0..order).map(|_| b.register()).collect();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            b.combine(slopes[i % order], &[(X, 1.0 / sigma), (denoised, -1.0 / sigma)]);
            let used = order.min(i - grid.start + 1);
            let mut terms = vec![(X, 1.0)];
            for j in 0..used {
                // The integral of the Lagrange polynomial that is 1 at the j-th last level and 0 at the others used.
                let basis = |tau: f64| {
                    let others = (0..used).filter(|k| *k != j);
                    others.map(|k| (tau - grid.sigmas[i - k]) / (grid.sigmas[i - j] - grid.sigmas[i - k])).product()
                };
                terms.push((slopes[(i - j) % order], integrate(sigma, next, basis)));
            }
            b.combine(X, &terms);
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
