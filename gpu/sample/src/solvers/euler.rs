//! Euler steps along the probability-flow ODE, with optional churn.

use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::{Info, Knob, Result};

/// Karras et al. 2022, algorithm 2 without the second-order correction; diffusers' EulerDiscreteScheduler.
pub struct Euler;

const CHURN: Knob = Knob::number("s_churn", "Churn", 0.0, 100.0, 0.0, "noise added and removed again along the run");
const T_MIN: Knob = Knob::number("s_tmin", "Churn from sigma", 0.0, 1000.0, 0.0, "no churn at lower noise levels");
const T_MAX: Knob = Knob::number("s_tmax", "Churn to sigma", 0.0, 1e9, 1e9, "no churn at higher noise levels");
const NOISE: Knob = Knob::number("s_noise", "Churn noise", 0.0, 2.0, 1.0, "factor on the noise of churn");

impl Solver for Euler {
    fn info(&self) -> Info {
        Info {
            name: "euler",
            label: "Euler",
            citation: "Karras et al. 2022, arXiv 2206.00364, algorithm 2; diffusers EulerDiscreteScheduler",
            knobs: &[CHURN, T_MIN, T_MAX, NOISE],
            aliases: &["eulerdiscrete", "eulerdiscretescheduler", "k_euler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let (grid, k) = (job.grid, job.knobs);
        let mut b = Builder::new(job.model.prediction());
        let [denoised, noise] = b.registers();
        let churn = (k.get(&CHURN) / grid.steps() as f64).min(2f64.sqrt() - 1.0);
        for i in grid.start..grid.steps() {
            let (sigma, next) = (grid.sigmas[i], grid.sigmas[i + 1]);
            let gamma = if (k.get(&T_MIN)..=k.get(&T_MAX)).contains(&sigma) { churn } else { 0.0 };
            let hat = sigma * (1.0 + gamma);
            let mut t = grid.timesteps[i];
            if gamma > 0.0 {
                b.noise(noise);
                b.combine(X, &[(X, 1.0), (noise, k.get(&NOISE) * (hat * hat - sigma * sigma).sqrt())]);
                t = job.model.timestep_at(hat);
            }
            b.denoise(X, hat, t, denoised);
            // x + (x - denoised) / hat * (next - hat), written without the cancellation at large sigma.
            b.combine(X, &[(X, next / hat), (denoised, 1.0 - next / hat)]);
            b.end_step(next, denoised);
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
