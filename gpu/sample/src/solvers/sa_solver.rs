//! Stochastic Adams: a multistep predictor and corrector for the reverse equation with as much noise as one likes.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::math::{integrate_exp, lagrange};
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result};

/// Xue et al. 2023 in data prediction; diffusers' SASolverScheduler. Draws noise in every step, as diffusers does, used or not.
pub struct SaSolver;

const PREDICTOR: Knob =
    Knob::number("predictor_order", "Predictor order", 1.0, 4.0, 2.0, "evaluations that the predictor uses");
const CORRECTOR: Knob =
    Knob::number("corrector_order", "Corrector order", 1.0, 4.0, 2.0, "evaluations that the corrector uses");
const TAU: Knob = Knob::number("tau", "Tau", 0.0, 1.6, 1.0, "strength of the noise; 0 is deterministic");
const TAU_FROM: Knob = Knob::number("tau_start", "Noise from", 0.0, 1000.0, 200.0, "no noise at lower timesteps");
const TAU_TO: Knob = Knob::number("tau_end", "Noise to", 0.0, 1000.0, 800.0, "no noise at higher timesteps");

/// Weights of the evaluations at log-SNRs `points` (half, newest first) for a step that ends at `to` and is `h` long, with k = 1 + tau^2.
/// `simple` is the reference's change to order 2, the second weight's correction.
fn weights(points: &[f64], to: f64, h: f64, k: f64, simple: impl Fn(f64) -> f64) -> Vec<f64> {
    let shifted: Vec<f64> = points.iter().map(|p| p - to).collect();
    let integral = |i: usize| -> f64 {
        lagrange(&shifted, i).iter().enumerate().map(|(power, c)| c * integrate_exp(k, power, -h, 0.0)).sum()
    };
    let mut out: Vec<f64> = (0..points.len()).map(|i| k * integral(i)).collect();
    if let [first, second] = &mut out[..] {
        // What h^2 / 2 leaves over the exact integral of the linear part.
        let extra = k * simple((h * k - 1.0 + (-k * h).exp()) / (k * k));
        *first += extra;
        *second -= extra;
    }
    out
}

/// The step before, for the corrector.
struct Made {
    h: f64,
    tau: f64,
    order: usize,
}

impl Solver for SaSolver {
    fn info(&self) -> Info {
        Info {
            name: "sa_solver",
            label: "SA-Solver",
            citation: "Xue et al. 2023, arXiv 2309.05019; diffusers SASolverScheduler",
            knobs: &[PREDICTOR, CORRECTOR, TAU, TAU_FROM, TAU_TO],
            aliases: &["sasolverscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules { ends_at_min: true, ..GridRules::DPM }
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (grid, knobs) = (job.grid, job.knobs);
        let n = grid.steps();
        let (predictor, corrector) = (knobs.get(&PREDICTOR) as usize, knobs.get(&CORRECTOR) as usize);
        let range = knobs.get(&TAU_FROM)..=knobs.get(&TAU_TO);
        let mut b = Builder::new(job);
        let [last_x, noise] = b.registers();
        let mut past: Vec<Reg> = (0..predictor.max(corrector - 1) + 1).map(|_| b.register()).collect();
        let log_snr = |i: usize| -grid.sigmas[i].ln();
        let points = |i: usize, order: usize| -> Vec<f64> { (0..order).map(|k| log_snr(i - k)).collect() };
        let mut made: Option<Made> = None;
        for i in grid.start..n {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let done = i - grid.start;
            past.rotate_right(1);
            b.denoise(X, sigma, grid.timesteps[i], past[0]);
            let spread = |to: f64, h: f64, tau: f64| to * (-(-2.0 * tau * tau * h).exp_m1()).max(0.0).sqrt();
            if let Some(Made { h, tau, order }) = made.take() {
                let k = 1.0 + tau * tau;
                let w = weights(&points(i, order), log_snr(i), h, k, |rest| h / 2.0 - rest / h);
                let mut terms =
                    vec![(last_x, (-tau * tau * h).exp() * sigma / grid.sigmas[i - 1]), (noise, spread(sigma, h, tau))];
                terms.extend(past.iter().copied().zip(w));
                b.combine(X, &terms);
            }
            let tau = if range.contains(&grid.timesteps[i]) { knobs.get(&TAU) } else { 0.0 };
            // The result itself is left variance-preserving.
            let scale = if i + 1 == n { 1.0 / next.hypot(1.0) } else { 1.0 };
            b.noise(noise);
            b.combine(last_x, &[(X, 1.0)]);
            if next > 0.0 && next < sigma {
                let (h, k) = ((sigma / next).ln(), 1.0 + tau * tau);
                let order = predictor.min(n - i).min(done + 1);
                let w = weights(&points(i, order), log_snr(i + 1), h, k, |rest| {
                    (h * h / 2.0 - rest) / (log_snr(i) - log_snr(i - 1))
                });
                let mut terms =
                    vec![(X, scale * (-tau * tau * h).exp() * next / sigma), (noise, scale * spread(next, h, tau))];
                terms.extend(past.iter().copied().zip(w.into_iter().map(|w| scale * w)));
                b.combine(X, &terms);
                made = Some(Made { h, tau, order: corrector.min(n - i + 1).min(done + 2) });
            } else {
                b.combine(X, &[(X, scale * next / sigma), (past[0], scale * (1.0 - next / sigma))]);
            }
            b.end_step(next, past[0]);
        }
        Ok(b.finish(grid.init_scale_preserving(), grid))
    }
}
