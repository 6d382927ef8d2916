//! Improved pseudo numerical methods: Adams-Bashforth in sigma with the coefficients of even steps.

use super::shared::History;
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Zhang and Chen 2022's name for PNDM without its Runge-Kutta start; ComfyUI's `sample_ipndm`.
pub struct Ipndm;

/// How many slopes are used; of both variants.
pub const ORDER: Knob = Knob::number("order", "Order", 1.0, 4.0, 4.0, "how many past slopes are used");

impl Solver for Ipndm {
    fn info(&self) -> Info {
        Info {
            name: "ipndm",
            label: "iPNDM",
            citation: "Liu et al. 2022, arXiv 2202.09778; Zhang and Chen 2022, arXiv 2204.13902; ComfyUI sample_ipndm",
            knobs: &[ORDER],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        run(job, |_, order| adams(order).to_vec())
    }
}

/// Steps along the weighted slopes: `weights` of step and number of slopes, newest first.
pub(super) fn run(job: &Job<'_>, weights: impl Fn(usize, usize) -> Vec<f64>) -> Result<Plan> {
    let grid = job.grid;
    let mut b = Builder::new(job);
    let mut slopes = History::new(&mut b, job.knobs.get(&ORDER) as usize);
    let denoised = b.register();
    for i in grid.start..grid.steps() {
        let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
        b.denoise(X, sigma, grid.timesteps[i], denoised);
        slopes.push(&mut b, sigma, denoised);
        if next == 0.0 {
            b.combine(X, &[(denoised, 1.0)]);
        } else {
            let mut terms = vec![(X, 1.0)];
            terms.extend(slopes.iter().zip(weights(i, slopes.len())).map(|(r, c)| (r, (next - sigma) * c)));
            b.combine(X, &terms);
        }
        b.end_step(next, denoised);
    }
    Ok(b.finish(grid.init_scale_exploding(), grid))
}

/// Adams-Bashforth weights of even steps, newest first, orders 1 to 4.
pub fn adams(order: usize) -> &'static [f64] {
    match order {
        0 | 1 => &[1.0],
        2 => &[1.5, -0.5],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    }
}
