//! What several solvers have in common: churn, ancestral steps, and the knobs of both.

use super::Job;
use crate::Knob;
use crate::plan::{Builder, Reg, X};

/// Churn: how much noise is added and removed again along the run.
pub const CHURN: Knob =
    Knob::number("s_churn", "Churn", 0.0, 100.0, 0.0, "noise added and removed again along the run");
/// Lower end of churn.
pub const T_MIN: Knob = Knob::number("s_tmin", "Churn from sigma", 0.0, 1000.0, 0.0, "no churn at lower noise levels");
/// Upper end of churn.
pub const T_MAX: Knob = Knob::number("s_tmax", "Churn to sigma", 0.0, 1e9, 1e9, "no churn at higher noise levels");
/// Strength of the churned noise.
pub const CHURN_NOISE: Knob = Knob::number("s_noise", "Churn noise", 0.0, 2.0, 1.0, "factor on the noise of churn");
/// Share of ancestral noise.
pub const ETA: Knob = Knob::number("eta", "Eta", 0.0, 1.0, 1.0, "share of fresh noise in each step; 0 adds none");
/// Strength of ancestral noise.
pub const NOISE: Knob = Knob::number("s_noise", "Noise", 0.0, 2.0, 1.0, "factor on the fresh noise of each step");

/// Raises x to a higher noise level before step `i` if the knobs ask for it (Karras et al. 2022, algorithm 2, lines 4 to 6). Gives the noise level
/// and the timestep to denoise at.
pub fn churn(b: &mut Builder, job: &Job<'_>, i: usize, noise: Reg) -> (f64, f64) {
    let (grid, k) = (job.grid, job.knobs);
    let sigma = grid.sigmas[i];
    let within = (k.get(&T_MIN)..=k.get(&T_MAX)).contains(&sigma);
    let gamma = if within { (k.get(&CHURN) / grid.steps() as f64).min(2f64.sqrt() - 1.0) } else { 0.0 };
    if gamma <= 0.0 {
        return (sigma, grid.timesteps[i]);
    }
    let raised = sigma * (1.0 + gamma);
    b.noise(noise);
    b.combine(X, &[(X, 1.0), (noise, k.get(&CHURN_NOISE) * (raised * raised - sigma * sigma).sqrt())]);
    (raised, job.model.timestep_at(raised))
}

/// An ancestral step: where to go without noise, and how much noise to add (k-diffusion's `get_ancestral_step`).
pub fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = (eta * (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt()).min(to);
    ((to * to - up * up).max(0.0).sqrt(), up)
}

/// Adds `amount` of fresh noise to x; nothing, and no draw, if that is 0.
pub fn add_noise(b: &mut Builder, noise: Reg, amount: f64) {
    if amount > 0.0 {
        b.noise(noise);
        b.combine(X, &[(X, 1.0), (noise, amount)]);
    }
}

/// Variance-preserving coordinates: alpha bar to noise level and back.
pub mod preserving {
    use crate::model::ModelSampling;
    use crate::{Grid, Prediction, Result, SampleError};

    /// Stands for the infinite noise level of zero signal: what it leaves of the signal, one millionth, is below what f32 keeps of a sum.
    const NO_SIGNAL: f64 = 1e6;

    /// Noise level of an alpha bar.
    pub fn level(alpha_bar: f64) -> f64 {
        if alpha_bar > 0.0 { ((1.0 - alpha_bar) / alpha_bar).sqrt().min(NO_SIGNAL) } else { NO_SIGNAL }
    }

    /// Square root of alpha bar, never 0.
    pub fn alpha(alpha_bar: f64) -> f64 {
        1.0 / level(alpha_bar).hypot(1.0)
    }

    /// Alpha bar of each step: exactly that of the timestep where the grid is made of timesteps.
    pub fn alpha_bars(model: &ModelSampling, grid: &Grid) -> Vec<f64> {
        let table = model.alphas_cumprod();
        let of = |i: usize| {
            if grid.from_timesteps {
                table[(grid.timesteps[i] as usize).min(table.len() - 1)]
            } else {
                1.0 / (1.0 + grid.sigmas[i].powi(2))
            }
        };
        (0..grid.steps()).map(of).collect()
    }

    /// Refuses to predict noise where there is nothing else.
    pub fn check_signal(name: &str, model: &ModelSampling, grid: &Grid, bars: &[f64]) -> Result<()> {
        let blind = bars.get(grid.start).is_some_and(|a| *a <= 0.0) && model.prediction() == Prediction::Epsilon;
        if blind {
            let why = "this model's first level has no signal, where noise prediction says nothing; use spacing leading or another sampler";
            return Err(SampleError::setting(name, why));
        }
        Ok(())
    }

    /// Factor on the initial noise: 1 in variance-preserving coordinates, or sigma on top of a latent.
    pub fn init_scale(grid: &Grid, bars: &[f64]) -> f64 {
        let first = bars.get(grid.start).map_or(0.0, |a| level(*a));
        if grid.from_latent || first == 0.0 { first } else { first.hypot(1.0) }
    }
}
