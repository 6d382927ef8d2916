//! UniPC: a multistep predictor and a corrector that reuses the next step's evaluation.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::math::solve;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result, SampleError};

/// Zhao et al. 2023 in data prediction; diffusers' UniPCMultistepScheduler.
pub struct UniPc;

const ORDER: Knob = Knob::number("order", "Order", 1.0, 3.0, 2.0, "order of the predictor; the corrector has one more");
const VARIANT: Knob = Knob::choice("variant", "B(h)", &["bh2", "bh1"], "bh2: e^h - 1, bh1: h");

/// Weights of the slopes D_k = (m_k - m_0) / r_k and, as the last, of the newest evaluation.
struct Weights {
    predictor: Vec<f64>,
    corrector: Vec<f64>,
    /// B(h)
    factor: f64,
}

/// For half log-SNR growing by `h`, with earlier evaluations at `ratios` (negative, in units of h).
fn weights(h: f64, ratios: &[f64], bh1: bool) -> Result<Weights> {
    let order = ratios.len() + 1;
    let hh = -h;
    let factor = if bh1 { hh } else { hh.exp_m1() };
    let (mut phi, mut factorial) = (hh.exp_m1() / hh - 1.0, 1.0);
    let mut right = Vec::new();
    for i in 1..=order {
        right.push(phi * factorial / factor);
        factorial *= (i + 1) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    let points: Vec<f64> = ratios.iter().copied().chain([1.0]).collect();
    let row = |i: usize, n: usize| points[..n].iter().map(|r| r.powi(i as i32)).collect::<Vec<f64>>();
    let singular = || SampleError::setting("schedule", "two noise levels are equal; unipc needs them to differ");
    let system = |n: usize| solve((0..n).map(|i| row(i, n)).collect(), right[..n].to_vec()).ok_or_else(singular);
    // The orders that the paper writes out are one half exactly.
    let predictor = if order == 2 { vec![0.5] } else { system(order - 1)? };
    let corrector = if order == 1 { vec![0.5] } else { system(order)? };
    Ok(Weights { predictor, corrector, factor })
}

impl Solver for UniPc {
    fn info(&self) -> Info {
        Info {
            name: "unipc",
            label: "UniPC",
            citation: "Zhao et al. 2023, arXiv 2302.04867; diffusers UniPCMultistepScheduler",
            knobs: &[ORDER, VARIANT],
            aliases: &["uni_pc", "uni_pc_bh2", "unipcmultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let n = grid.steps();
        let most = job.knobs.get(&ORDER) as usize;
        let bh1 = job.knobs.get(&VARIANT) > 0.0;
        let mut b = Builder::new(job.model.prediction());
        let last_x = b.register();
        // Evaluations, newest first; one more than the predictor's order, for the corrector.
        let mut past: Vec<Reg> = (0..most + 1).map(|_| b.register()).collect();
        // Adds up: shrink * from + (1 - shrink) * m0 - B(h) * (sum of weights * slopes).
        let update = |from: Reg, shrink: f64, m0: Reg, factor: f64, slopes: &[(f64, f64, Reg)]| {
            let mut terms = vec![(from, shrink), (m0, 1.0 - shrink)];
            for (weight, r, m) in slopes {
                let c = -factor * weight / r;
                terms.extend([(*m, c), (m0, -c)]);
            }
            terms
        };
        let ratios = |i: usize, h: f64, order: usize| -> Vec<f64> {
            (1..order).map(|k| (grid.sigmas[i] / grid.sigmas[i - k]).ln() / h).collect()
        };
        let mut corrector: Option<(f64, Vec<f64>, Weights)> = None;
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            past.rotate_right(1);
            b.denoise(X, sigma, grid.timesteps[i], past[0]);
            if let Some((shrink, r, w)) = corrector.take() {
                let mut slopes: Vec<_> =
                    w.corrector.iter().zip(&r).zip(&past[2..]).map(|((w, r), m)| (*w, *r, *m)).collect();
                slopes.push((w.corrector[w.corrector.len() - 1], 1.0, past[0]));
                b.combine(X, &update(last_x, shrink, past[1], w.factor, &slopes));
            }
            let order = most.min(n - i).min(i - grid.start + 1);
            let shrink = next / sigma;
            // The result itself is left variance-preserving.
            let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
            if i + 1 < n {
                b.combine(last_x, &[(X, 1.0)]);
            }
            let mut terms = vec![(X, shrink), (past[0], 1.0 - shrink)];
            if next > 0.0 {
                let h = -shrink.ln();
                let r = ratios(i, h, order);
                let w = weights(h, &r, bh1)?;
                let slopes: Vec<_> =
                    w.predictor.iter().zip(&r).zip(&past[1..]).map(|((w, r), m)| (*w, *r, *m)).collect();
                terms = update(X, shrink, past[0], w.factor, &slopes);
                corrector = Some((shrink, r, w));
            }
            terms.iter_mut().for_each(|(_, c)| *c *= scale);
            b.combine(X, &terms);
            b.end_step(next, past[0]);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
