//! Improved pseudo numerical methods with the coefficients of uneven steps.

use super::ipndm::{ORDER, run};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::Plan;
use crate::{Info, Result};

/// The variable-step variant of diff-sampler (Zhou et al.); ComfyUI's `sample_ipndm_v`.
pub struct IpndmV;

impl Solver for IpndmV {
    fn info(&self) -> Info {
        Info {
            name: "ipndm_v",
            label: "iPNDM v",
            citation: "Zhou et al. 2024, arXiv 2312.00094 (diff-sampler); ComfyUI sample_ipndm_v",
            knobs: &[ORDER],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        run(job, |i, order| {
            weights(&(0..order).map(|k| grid.sigmas[i + 1 - k] - grid.sigmas[i - k]).collect::<Vec<f64>>())
        })
    }
}

/// Weights of the slopes, newest first, for this step's length and those before it, newest first, as diff-sampler writes them.
fn weights(h: &[f64]) -> Vec<f64> {
    let order = h.len();
    if order == 1 {
        return vec![1.0];
    }
    let (now, one) = (h[0], h[1]);
    let mut c = vec![(2.0 + now / one) / 2.0, -(now / one) / 2.0];
    if order >= 3 {
        let two = h[2];
        let bend = (1.0 - now / (3.0 * (now + one)) * (now * (now + one)) / (one * (one + two))) / 2.0;
        c[0] += bend;
        c[1] -= (1.0 + one / two) * bend;
        c.push(bend * one / two);
        if order >= 4 {
            let three = h[3];
            let twist = ((1.0 - now / (3.0 * (now + one))) / 2.0
                + (1.0 - now / (2.0 * (now + one))) * now / (6.0 * (now + one + two)))
                * (now * (now + one) * (now + one + two))
                / (one * (one + two) * (one + two + three));
            let ratio = one * (one + two) / (two * (two + three));
            c[0] += twist;
            c[1] -= (1.0 + one / two + ratio) * twist;
            c[2] += (one / two + ratio * (1.0 + two / three)) * twist;
            c.push(-twist * ratio * one / two);
        }
    }
    c
}
