//! Refined exponential solver, second order, multistep.

use super::shared::{NOISE, add_noise, ancestral};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Zhang et al. 2023; ComfyUI's `res_multistep`, with eta 1 its `res_multistep_ancestral`.
pub struct ResMultistep;

const ETA: Knob = Knob::number("eta", "Eta", 0.0, 1.0, 0.0, "share of fresh noise in each step; 0 adds none");

impl Solver for ResMultistep {
    fn info(&self) -> Info {
        Info {
            name: "res_multistep",
            label: "RES multistep",
            citation: "Zhang et al. 2023, arXiv 2308.02157; ComfyUI sample_res_multistep",
            knobs: &[ETA, NOISE],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [mut now, mut before, noise] = b.registers();
        // Where the step before went without its noise.
        let mut reached: Option<f64> = None;
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let (down, up) = ancestral(sigma, next, job.knobs.get(&ETA));
            b.denoise(X, sigma, grid.timesteps[i], now);
            match reached {
                Some(old) if down > 0.0 => {
                    let h = (sigma / down).ln();
                    let c2 = (old / grid.sigmas[i - 1]).ln() / h;
                    let phi1 = (-h).exp_m1() / -h;
                    let phi2 = (phi1 - 1.0) / -h;
                    // Equal levels leave nothing to do (the reference turns the NaN into 0).
                    let late = if c2 == 0.0 || !c2.is_finite() || h == 0.0 { 0.0 } else { phi2 / c2 };
                    // ComfyUI's `res_multistep_cfg_pp`.
                    b.push_now();
                    b.combine(X, &[(X, (-h).exp()), (now, h * (phi1 - late)), (before, h * late)]);
                }
                _ => b.combine(X, &[(X, down / sigma), (now, 1.0 - down / sigma)]),
            }
            add_noise(&mut b, noise, up * job.knobs.get(&NOISE));
            b.end_step(next, now);
            reached = Some(down);
            std::mem::swap(&mut now, &mut before);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
