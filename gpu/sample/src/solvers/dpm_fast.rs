//! DPM-Solver of orders 3, 2 and 1 over even steps in log sigma, spending exactly n evaluations.

use super::shared::dpm::{Stages, end_of};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan};
use crate::{Info, Knob, Result};

/// Lu et al. 2022, DPM-Solver-fast; k-diffusion's `sample_dpm_fast`. Of the schedule only the highest level counts; steps are evaluations.
pub struct DpmFast;

const ETA: Knob = Knob::number("eta", "Eta", 0.0, 1.0, 0.0, "share of fresh noise in each step; 0 adds none");

impl Solver for DpmFast {
    fn info(&self) -> Info {
        Info {
            name: "dpm_fast",
            label: "DPM fast",
            citation: "Lu et al. 2022, arXiv 2206.00927; k-diffusion sample_dpm_fast",
            knobs: &[ETA, super::shared::NOISE],
            aliases: &["k_dpm_fast"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let mut stages = Stages::new(&mut b);
        let evaluations = grid.steps() - grid.start.min(grid.steps());
        if evaluations > 0 {
            let (from, to) = (grid.first_sigma(), end_of(job));
            let m = evaluations / 3 + 1;
            let mut orders = vec![3; m];
            match evaluations % 3 {
                0 => {
                    orders.truncate(m - 2);
                    orders.extend([2, 1]);
                }
                rest => orders[m - 1] = rest,
            }
            let at =
                |k: usize| if k == m { to } else { (from.ln() + (to.ln() - from.ln()) * k as f64 / m as f64).exp() };
            for (k, order) in orders.into_iter().enumerate() {
                stages.step(&mut b, job, order, (at(k), at(k + 1)), to, job.knobs.get(&ETA));
            }
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
