//! DPM-Solver++ (SDE): a midpoint step with noise in both halves.

use super::shared::{ETA, NOISE, ancestral};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_dpmpp_sde` with r = 1/2; diffusers' DPMSolverSDEScheduler. Two evaluations a step.
///
/// The noise of the whole step contains that of its first half, as increments of one Brownian motion in sigma. The motion itself is drawn step by
/// step from the run's generator and not from a tree with a seed of its own, so a picture differs from k-diffusion's in its noise alone.
pub struct DpmppSde;

impl Solver for DpmppSde {
    fn info(&self) -> Info {
        Info {
            name: "dpmpp_sde",
            label: "DPM++ SDE",
            citation: "Lu et al. 2022, arXiv 2211.01095; k-diffusion sample_dpmpp_sde; diffusers DPMSolverSDEScheduler",
            knobs: &[ETA, NOISE],
            aliases: &["k_dpmpp_sde", "dpmpp_sde_gpu", "dpmsolversdescheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let (eta, strength) = (job.knobs.get(&ETA), job.knobs.get(&NOISE));
        let mut b = Builder::new(job);
        let [denoised, trial, early, late] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            if next == 0.0 {
                b.combine(X, &[(denoised, 1.0)]);
                b.end_step(next, denoised);
                continue;
            }
            let mid = (sigma * next).sqrt();
            let (down, up) = ancestral(sigma, mid, eta);
            let mut terms = vec![(X, down / sigma), (denoised, 1.0 - down / sigma)];
            if up * strength > 0.0 {
                b.noise(early);
                terms.push((early, up * strength));
            }
            b.combine(trial, &terms);
            b.denoise(trial, mid, job.model.timestep_at(mid), denoised);
            let (down, up) = ancestral(sigma, next, eta);
            let mut terms = vec![(X, down / sigma), (denoised, 1.0 - down / sigma)];
            if up * strength > 0.0 {
                b.noise(late);
                let share = |part: f64| (part / (sigma - next)).sqrt() * up * strength;
                terms.extend([(early, share(sigma - mid)), (late, share(mid - next))]);
            }
            b.combine(X, &terms);
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
