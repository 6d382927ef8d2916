//! The noise levels of one run.

use crate::math::linspace;
use crate::{ModelSampling, Prediction, Result, SampleError, Spacing};

/// What a solver's home scheduler does differently from others when it lays out timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridRules {
    /// Spacing when neither the model nor the person says.
    pub spacing: Spacing,
    /// Lay out n + 1 points and leave the cleanest out (DPM-Solver's family).
    pub extra_point: bool,
    /// Laid-out timesteps are whole numbers (DDIM, DPM-Solver).
    pub whole: bool,
    /// Timesteps found for given sigmas are whole numbers (DPM-Solver, DPM2).
    pub whole_from_sigmas: bool,
    /// Schedules defined between two sigmas use the whole training range instead of the first and last of the laid-out timesteps.
    pub full_range: bool,
    /// The run ends at the smallest noise level instead of 0 (DEIS).
    pub ends_at_min: bool,
    /// Normal means Karras's levels between the model's largest and smallest sigma (EDM).
    pub edm: bool,
    /// The network was distilled on this many evenly spaced timesteps, and normal means every k-th of them (LCM).
    pub distilled: Option<usize>,
}

impl GridRules {
    /// diffusers' Euler and its relatives: fractional timesteps, range from the timesteps themselves.
    pub const EULER: GridRules = GridRules {
        spacing: Spacing::Linspace,
        extra_point: false,
        whole: false,
        whole_from_sigmas: false,
        full_range: false,
        ends_at_min: false,
        edm: false,
        distilled: None,
    };
    /// diffusers' DDIM and DDPM.
    pub const DDIM: GridRules = GridRules { spacing: Spacing::Leading, whole: true, ..GridRules::EULER };
    /// diffusers' multistep DPM-Solver, UniPC and DEIS.
    pub const DPM: GridRules =
        GridRules { extra_point: true, whole: true, whole_from_sigmas: true, full_range: true, ..GridRules::EULER };
    /// diffusers' EDM schedulers.
    pub const EDM: GridRules = GridRules { full_range: true, edm: true, ..GridRules::EULER };
    /// diffusers' DPM2 (KDPM2).
    pub const DPM2: GridRules = GridRules { whole_from_sigmas: true, ..GridRules::EULER };
}

/// What a schedule is asked for.
#[derive(Clone, Copy, Debug)]
pub struct GridRequest<'a> {
    /// The network's levels.
    pub model: &'a ModelSampling,
    /// Steps n, at least 1.
    pub steps: usize,
    /// The solver's conventions.
    pub rules: GridRules,
    /// Spacing after the knob, the model and the solver had their say.
    pub spacing: Spacing,
}

impl GridRequest<'_> {
    /// The timesteps of the spacing, noisiest first, n of them.
    ///
    /// One step always starts at the noisiest level: taken by the letter, linspace and leading would denoise once at timestep 0 or 1 and
    /// return the noise.
    pub fn spaced_timesteps(&self) -> Vec<f64> {
        let (n, total) = (self.steps, self.model.train_steps());
        let top = (total - 1) as f64;
        let extra = usize::from(self.rules.extra_point);
        if let Some(all) = self.rules.distilled {
            return distilled_timesteps(total, all, n);
        }
        if n == 1 {
            return vec![top];
        }
        let mut ts: Vec<f64> = match self.spacing {
            // A flow run ends at the smallest shifted share of noise, wherever the solver would end another (diffusers' FlowMatchEuler).
            Spacing::Linspace if self.model.prediction() == Prediction::Flow => {
                let low = self.model.sigma_min();
                linspace(low / (1.0 + low) * total as f64 - 1.0, top, n)
            }
            Spacing::Linspace => linspace(0.0, top, n + extra),
            Spacing::Leading => {
                let ratio = total / (n + extra);
                let offset = self.model.config().steps_offset;
                (0..n + extra).map(|i| (i * ratio + offset) as f64).collect()
            }
            Spacing::Trailing => {
                // numpy.arange(T, 0, -T/n): start + i * step, rounded half to even.
                let step = total as f64 / n as f64;
                let at = |i: usize| (total as f64 - i as f64 * step).round_ties_even() - 1.0;
                (0..n).rev().map(at).collect()
            }
        };
        if self.spacing == Spacing::Linspace {
            // f32 where diffusers keeps fractions, whole numbers elsewhere.
            let round = |t: f64| if self.rules.whole { t.round_ties_even() } else { f64::from(t as f32) };
            ts = ts.into_iter().map(round).collect();
        }
        ts.reverse();
        ts.truncate(n);
        ts.into_iter().map(|t| t.clamp(0.0, top)).collect()
    }

    /// Largest and smallest noise level for schedules that are defined between two.
    pub fn range(&self) -> (f64, f64) {
        if self.rules.full_range || self.steps == 1 {
            return (self.model.sigma_max(), self.model.sigma_min());
        }
        let ts = self.spaced_timesteps();
        let at = |t: Option<&f64>| self.model.sigma_at(t.copied().unwrap_or(0.0));
        (at(ts.first()), at(ts.last()))
    }

    /// A grid from n falling noise levels.
    pub fn from_sigmas(&self, sigmas: Vec<f64>) -> Grid {
        let round = |t: f64| if self.rules.whole_from_sigmas { t.round_ties_even() } else { t };
        let timesteps = sigmas.iter().map(|s| round(self.model.timestep_at(*s))).collect();
        self.grid(sigmas, timesteps, false)
    }

    /// A grid from n falling timesteps.
    pub fn from_timesteps(&self, timesteps: Vec<f64>) -> Grid {
        let sigmas = timesteps.iter().map(|t| self.model.sigma_at(*t)).collect();
        self.grid(sigmas, timesteps, true)
    }

    fn grid(&self, mut sigmas: Vec<f64>, timesteps: Vec<f64>, from_timesteps: bool) -> Grid {
        sigmas.push(match sigmas.last() {
            // diffusers' DEIS repeats the last of given sigmas.
            Some(last) if self.rules.ends_at_min && !from_timesteps => *last,
            _ if self.rules.ends_at_min || self.model.config().final_sigma_min => self.model.sigma_min(),
            _ => 0.0,
        });
        Grid { sigmas, timesteps, from_timesteps, native: false, spacing: self.spacing, start: 0, from_latent: false }
    }
}

/// Every k-th of the `all` timesteps that a network was distilled on, noisiest first.
fn distilled_timesteps(total: usize, all: usize, n: usize) -> Vec<f64> {
    let all = all.min(total);
    let stride = total / all;
    let at = |i: usize| ((all - i * all / n) * stride) as f64 - 1.0;
    (0..n).map(at).collect()
}

/// Noise levels and timesteps of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// n + 1 falling noise levels; the last, usually 0, is where the run ends.
    pub sigmas: Vec<f64>,
    /// The n timesteps the network is told.
    pub timesteps: Vec<f64>,
    /// The sigmas were read off the timesteps (and not the other way round).
    pub from_timesteps: bool,
    /// The sampler's home scheduler laid it out (schedule normal).
    pub native: bool,
    /// Spacing it was laid out with.
    pub spacing: Spacing,
    /// First step to run; more than 0 in picture to picture.
    pub start: usize,
    /// x starts as a clean latent plus noise.
    pub from_latent: bool,
}

impl Grid {
    /// Number of steps n, `start` not subtracted.
    pub fn steps(&self) -> usize {
        self.timesteps.len()
    }

    /// For a picture to start from: runs the last min(floor(n * strength), n) steps.
    pub fn start_from_latent(&mut self, strength: f64) {
        let n = self.steps();
        let run = ((n as f64 * strength) as usize).min(n);
        self.start = n - run;
        self.from_latent = true;
    }

    /// Keeps the steps from `start` on, and of them those before `end`; where steps at the end are left out the last one goes to 0 all the same
    /// (ComfyUI's KSamplerAdvanced without leftover noise).
    ///
    /// # Errors
    /// No step left.
    pub fn cut(&mut self, start: usize, end: usize) -> Result<()> {
        if start >= end.min(self.steps()) {
            let why = format!("{start} leaves nothing to do before step {}", end.min(self.steps()));
            return Err(SampleError::setting("start_step", why));
        }
        if end < self.steps() {
            self.timesteps.truncate(end);
            self.sigmas.truncate(end + 1);
            self.sigmas[end] = 0.0;
            self.native = false;
        }
        self.start = self.start.max(start);
        Ok(())
    }

    /// Noise level of the first step that runs; 0 if none does.
    pub fn first_sigma(&self) -> f64 {
        if self.start < self.steps() { self.sigmas[self.start] } else { 0.0 }
    }

    /// Factor on the initial noise as diffusers' Euler has it: sigma, but sqrt(sigma^2 + 1) when the spacing is leading and x starts as noise alone.
    pub fn init_scale_exploding(&self) -> f64 {
        let sigma = self.first_sigma();
        if self.spacing == Spacing::Leading && !self.from_latent { sigma.hypot(1.0) } else { sigma }
    }

    /// Factor on the initial noise where the scheduler starts from unit variance: sqrt(sigma^2 + 1), but sigma when there is a latent to add to.
    pub fn init_scale_preserving(&self) -> f64 {
        let sigma = self.first_sigma();
        if self.from_latent || sigma == 0.0 { sigma } else { sigma.hypot(1.0) }
    }
}
