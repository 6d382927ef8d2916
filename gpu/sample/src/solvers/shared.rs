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
pub fn churn(b: &mut Builder<'_>, job: &Job<'_>, i: usize, noise: Reg) -> (f64, f64) {
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
pub fn add_noise(b: &mut Builder<'_>, noise: Reg, amount: f64) {
    if amount > 0.0 {
        b.noise(noise);
        b.combine(X, &[(X, 1.0), (noise, amount)]);
    }
}

/// Variance-preserving coordinates: alpha bar to noise level and back.
pub mod preserving {
    use crate::model::ModelSampling;
    use crate::solvers::Job;
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

    /// Where the steps of diffusers' DDIM and its relatives go to: T / n timesteps down, whatever the next timestep is. With linspace or trailing
    /// spacing the two can differ; the latent is then taken over unscaled in variance-preserving coordinates.
    #[derive(Debug)]
    pub struct Descent<'a> {
        model: &'a ModelSampling,
        grid: &'a Grid,
        bars: &'a [f64],
        stride: usize,
    }

    impl<'a> Descent<'a> {
        /// For steps that start at `bars`.
        pub fn new(job: &Job<'a>, bars: &'a [f64]) -> Self {
            let stride = job.model.train_steps() / job.grid.steps().max(1);
            Descent { model: job.model, grid: job.grid, bars, stride }
        }

        /// Alpha bar of the level that step `i` goes to.
        pub fn to(&self, i: usize) -> f64 {
            if !self.grid.native {
                return 1.0 / (1.0 + self.grid.sigmas[i + 1].powi(2));
            }
            match (self.grid.timesteps[i] as usize).checked_sub(self.stride) {
                Some(t) => self.model.alphas_cumprod()[t],
                None if self.model.config().set_alpha_to_one => 1.0,
                None => self.model.alphas_cumprod()[0],
            }
        }

        /// Alpha bar of a timestep; below 0 that of the end.
        pub fn bar_at(&self, t: f64) -> f64 {
            let table = self.model.alphas_cumprod();
            if t >= 0.0 {
                let at = t.min(table.len() as f64 - 1.0);
                if at.fract() == 0.0 { table[at as usize] } else { 1.0 / (1.0 + self.model.sigma_at(at).powi(2)) }
            } else if self.model.config().set_alpha_to_one {
                1.0
            } else {
                table[0]
            }
        }

        /// Factor that takes the end of step `i` to the coordinates of the next step; the result itself is left variance-preserving.
        pub fn rescale(&self, i: usize) -> f64 {
            let here = alpha(self.to(i));
            if i + 1 < self.bars.len() { here / alpha(self.bars[i + 1]) } else { here }
        }
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

/// The last slopes (x - denoised) / sigma, newest first.
#[derive(Debug)]
pub struct History {
    registers: Vec<Reg>,
    held: usize,
}

impl History {
    /// Room for `most` slopes.
    pub fn new(b: &mut Builder<'_>, most: usize) -> History {
        History { registers: (0..most.max(1)).map(|_| b.register()).collect(), held: 0 }
    }

    /// Adds the slope of x at `sigma`; the oldest is forgotten.
    pub fn push(&mut self, b: &mut Builder<'_>, sigma: f64, denoised: Reg) {
        self.registers.rotate_right(1);
        self.held = (self.held + 1).min(self.registers.len());
        b.combine(self.registers[0], &[(X, 1.0 / sigma), (denoised, -1.0 / sigma)]);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held
    }

    /// The `k`-th last.
    pub fn get(&self, k: usize) -> Reg {
        self.registers[k]
    }

    /// All, newest first.
    pub fn iter(&self) -> impl Iterator<Item = Reg> + '_ {
        self.registers[..self.held].iter().copied()
    }
}

/// The single-step DPM-Solver (Lu et al. 2022, arXiv 2206.00927, algorithms 1 and 2), as k-diffusion writes it.
pub mod dpm {
    use super::{Job, NOISE, add_noise, ancestral};
    use crate::plan::{Builder, Reg, X};

    /// Where a run between two levels ends: at the model's smallest noise level, as in A1111, since there is no step to 0. The schedule's last level
    /// above 0 can be far higher (0.24 with 20 trailing timesteps), and its noise would stay in the picture.
    pub fn end_of(job: &Job<'_>) -> f64 {
        match job.grid.sigmas.last() {
            Some(last) if *last > 0.0 => *last,
            _ => job.model.sigma_min(),
        }
    }

    /// Registers of the stages of one step.
    #[derive(Debug)]
    pub struct Stages {
        denoised: Reg,
        trial: Reg,
        eps: [Reg; 3],
        noise: Reg,
    }

    impl Stages {
        /// Takes its registers.
        pub fn new(b: &mut Builder<'_>) -> Stages {
            let [denoised, trial, noise] = b.registers();
            Stages { denoised, trial, eps: b.registers(), noise }
        }

        /// The noise in `x` at `sigma`, into slope register `k`.
        fn evaluate(&self, b: &mut Builder<'_>, job: &Job<'_>, x: Reg, sigma: f64, k: usize) {
            b.denoise(x, sigma, job.model.timestep_at(sigma), self.denoised);
            b.combine(self.eps[k], &[(x, 1.0 / sigma), (self.denoised, -1.0 / sigma)]);
        }

        /// One step of order 1 to 3 between two levels, no further than `end`; each evaluation counts as a step of the run.
        pub fn step(
            &mut self,
            b: &mut Builder<'_>,
            job: &Job<'_>,
            order: usize,
            (from, to): (f64, f64),
            end: f64,
            eta: f64,
        ) {
            let mut down = to;
            if eta > 0.0 {
                down = ancestral(from, to, eta).0.max(end);
            }
            let up = (to * to - down * down).max(0.0).sqrt();
            let h = (from / down).ln();
            let at = |r: f64| from * (-r * h).exp();
            let [e0, e1, e2] = self.eps;
            self.evaluate(b, job, X, from, 0);
            let first = down * h.exp_m1();
            match order {
                1 => b.combine(X, &[(X, 1.0), (e0, -first)]),
                2 => {
                    b.end_part(from, self.denoised);
                    let s1 = at(0.5);
                    b.combine(self.trial, &[(X, 1.0), (e0, -s1 * (0.5 * h).exp_m1())]);
                    self.evaluate(b, job, self.trial, s1, 1);
                    // With r1 = 1/2 the first slope drops out.
                    b.combine(X, &[(X, 1.0), (e1, -first)]);
                }
                _ => {
                    b.end_part(from, self.denoised);
                    let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
                    let (s1, s2) = (at(r1), at(r2));
                    b.combine(self.trial, &[(X, 1.0), (e0, -s1 * (r1 * h).exp_m1())]);
                    self.evaluate(b, job, self.trial, s1, 1);
                    b.end_part(from, self.denoised);
                    let bend = if h == 0.0 { 0.0 } else { s2 * (r2 / r1) * ((r2 * h).exp_m1() / (r2 * h) - 1.0) };
                    b.combine(self.trial, &[(X, 1.0), (e0, -s2 * (r2 * h).exp_m1() + bend), (e1, -bend)]);
                    self.evaluate(b, job, self.trial, s2, 2);
                    let bend = if h == 0.0 { 0.0 } else { down / r2 * (h.exp_m1() / h - 1.0) };
                    b.combine(X, &[(X, 1.0), (e0, bend - first), (e2, -bend)]);
                }
            }
            add_noise(b, self.noise, up * job.knobs.get(&NOISE));
            b.end_step(to, self.denoised);
        }
    }
}
