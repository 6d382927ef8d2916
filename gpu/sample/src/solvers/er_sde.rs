//! Extended reverse-time SDE solver.

use super::shared::NOISE;
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Cui et al. 2023, ER-SDE-Solver-3 with the noise scale of its fifth family; ComfyUI's `sample_er_sde`.
pub struct ErSde;

const STAGES: Knob = Knob::number("max_stage", "Stages", 1.0, 3.0, 3.0, "order of the solver");

/// Points of the sums that stand for integrals, as in the reference.
const POINTS: usize = 200;

/// The noise scale phi.
fn scale(sigma: f64) -> f64 {
    sigma * (sigma.powf(0.3).exp() + 10.0)
}

impl Solver for ErSde {
    fn info(&self) -> Info {
        Info {
            name: "er_sde",
            label: "ER-SDE",
            citation: "Cui et al. 2023, arXiv 2309.06169; ComfyUI sample_er_sde",
            knobs: &[STAGES, NOISE],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let most = job.knobs.get(&STAGES) as usize;
        let mut b = Builder::new(job);
        let [d0, d1, d2, noise] = b.registers();
        let mut past = [d0, d1, d2];
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let [now, one, two] = past;
            b.denoise(X, sigma, grid.timesteps[i], now);
            if next == 0.0 {
                b.combine(X, &[(now, 1.0)]);
            } else {
                let ratio = scale(next) / scale(sigma);
                let mut terms = vec![(X, ratio), (now, 1.0 - ratio)];
                let stages = most.min(i - grid.start + 1);
                if stages >= 2 {
                    let step = next - sigma;
                    let part = -step / POINTS as f64;
                    let points = (0..POINTS).map(|k| next + k as f64 * part);
                    let sum: f64 = points.clone().map(|p| 1.0 / scale(p)).sum::<f64>() * part;
                    let before = grid.sigmas[i - 1];
                    // The first difference, (now - one) / (sigma - before), and what it is worth.
                    let mut first = (step + sum * scale(next)) / (sigma - before);
                    if stages >= 3 {
                        let sum: f64 = points.map(|p| (p - sigma) / scale(p)).sum::<f64>() * part;
                        let earlier = grid.sigmas[i - 2];
                        let second = (step * step / 2.0 + sum * scale(next)) / ((sigma - earlier) / 2.0);
                        first += second / (sigma - before);
                        let old = second / (before - earlier);
                        terms.extend([(one, -old), (two, old)]);
                    }
                    terms.extend([(now, first), (one, -first)]);
                }
                let spread = (next * next - (sigma * ratio).powi(2)).max(0.0).sqrt() * job.knobs.get(&NOISE);
                if spread > 0.0 {
                    b.noise(noise);
                    terms.push((noise, spread));
                }
                b.combine(X, &terms);
            }
            b.end_step(next, now);
            past = [two, now, one];
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
