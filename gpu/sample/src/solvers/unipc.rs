//! UniPC: a multistep predictor and a corrector that reuses the next step's evaluation.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::math::{lagrange, solve};
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
            aliases: &["unipcmultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DPM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let bh1 = job.knobs.get(&VARIANT) > 0.0;
        run(job, &Options { order: job.knobs.get(&ORDER) as usize, bh1, corrector_from: 1, compensation: None })
    }
}

/// How a run of UniPC differs from another.
pub(super) struct Options<'a> {
    /// Order of the predictor.
    pub order: usize,
    /// B(h) = h instead of e^h - 1.
    pub bh1: bool,
    /// First step of the run, counted from 0, that corrects the one before.
    pub corrector_from: usize,
    /// Dynamic compensation: the ratio of each step of the run, and the order of the interpolation.
    pub compensation: Option<(&'a [f64], usize)>,
}

/// The plan of such a run.
pub(super) fn run(job: &Job<'_>, options: &Options<'_>) -> Result<Plan> {
    let (grid, most, bh1) = (job.grid, options.order, options.bh1);
    let n = grid.steps();
    let mut b = Builder::new(job);
    let last_x = b.register();
    // Evaluations, newest first; one more than the predictor's order, for the corrector.
    let held = (most + 1).max(options.compensation.map_or(0, |(_, order)| order + 1));
    let mut past: Vec<Reg> = (0..held).map(|_| b.register()).collect();
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
        let done = i - grid.start;
        past.rotate_right(1);
        b.denoise(X, sigma, grid.timesteps[i], past[0]);
        if let Some((shrink, r, w)) = corrector.take()
            && done >= options.corrector_from
        {
            let mut slopes: Vec<_> =
                w.corrector.iter().zip(&r).zip(&past[2..]).map(|((w, r), m)| (*w, *r, *m)).collect();
            slopes.push((w.corrector[w.corrector.len() - 1], 1.0, past[0]));
            b.combine(X, &update(last_x, shrink, past[1], w.factor, &slopes));
        }
        if let Some((ratios, order)) = options.compensation
            && done >= 2
        {
            compensate(&mut b, job, i, ratios.get(done).copied().unwrap_or(1.0), &past[..(order + 1).min(done + 1)]);
        }
        let order = most.min(n - i).min(done + 1);
        let shrink = next / sigma;
        // The result itself is left variance-preserving.
        let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
        if i + 1 < n {
            b.combine(last_x, &[(X, 1.0)]);
        }
        let mut terms = vec![(X, shrink), (past[0], 1.0 - shrink)];
        if next > 0.0 && next < sigma {
            let h = -shrink.ln();
            let r = ratios(i, h, order);
            let w = weights(h, &r, bh1)?;
            let slopes: Vec<_> = w.predictor.iter().zip(&r).zip(&past[1..]).map(|((w, r), m)| (*w, *r, *m)).collect();
            terms = update(X, shrink, past[0], w.factor, &slopes);
            corrector = Some((shrink, r, w));
        }
        terms.iter_mut().for_each(|(_, c)| *c *= scale);
        b.combine(X, &terms);
        b.end_step(next, past[0]);
    }
    Ok(b.finish(grid.init_scale_preserving(), grid))
}

/// Zhao et al. 2024, section 3.2: the newest evaluation becomes the value at `ratio` of the way from the timestep before to this one, on the
/// polynomial through the evaluations in `past`, newest first.
fn compensate(b: &mut Builder<'_>, job: &Job<'_>, i: usize, ratio: f64, past: &[Reg]) {
    if ratio == 1.0 {
        return;
    }
    let ts: Vec<f64> = (0..past.len()).map(|k| job.grid.timesteps[i - k]).collect();
    // Levels so close that their whole timesteps are equal span no polynomial.
    if ts.windows(2).any(|w| w[0] == w[1]) {
        return;
    }
    let at = ratio * (ts[0] - ts[1]) + ts[1];
    let weight = |k: usize| lagrange(&ts, k).iter().rev().fold(0.0, |v, c| v * at + c);
    let terms: Vec<_> = past.iter().enumerate().map(|(k, r)| (*r, weight(k))).collect();
    b.combine(past[0], &terms);
}
