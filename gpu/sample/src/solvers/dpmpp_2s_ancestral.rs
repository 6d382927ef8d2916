//! DPM-Solver++ (2S), single-step, with fresh noise after each step.

use super::shared::{ETA, NOISE, add_noise, ancestral};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Result};

/// k-diffusion's `sample_dpmpp_2s_ancestral`. Two evaluations a step.
pub struct Dpmpp2sAncestral;

impl Solver for Dpmpp2sAncestral {
    fn info(&self) -> Info {
        Info {
            name: "dpmpp_2s_ancestral",
            label: "DPM++ 2S a",
            citation: "Lu et al. 2022, arXiv 2211.01095; k-diffusion sample_dpmpp_2s_ancestral",
            knobs: &[ETA, NOISE],
            aliases: &["dpm++ 2s ancestral", "k_dpmpp_2s_a"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [denoised, trial, noise] = b.registers();
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let (down, up) = ancestral(sigma, next, job.knobs.get(&ETA));
            b.denoise(X, sigma, grid.timesteps[i], denoised);
            // ComfyUI's `dpmpp_2s_ancestral_cfg_pp` moves x first and then follows the guided estimates.
            b.push_now();
            let estimate = b.guided(denoised);
            if down == 0.0 {
                b.combine(X, &[(estimate, 1.0)]);
            } else {
                let mid = (sigma * down).sqrt();
                b.combine(trial, &[(X, mid / sigma), (estimate, 1.0 - mid / sigma)]);
                b.denoise(trial, mid, job.model.timestep_at(mid), denoised);
                b.combine(X, &[(X, down / sigma), (estimate, 1.0 - down / sigma)]);
            }
            add_noise(&mut b, noise, up * job.knobs.get(&NOISE));
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
