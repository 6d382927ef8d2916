//! Bi-directional integration approximation: DDIM whose steps can be undone exactly.

use super::shared::preserving::{Descent, alpha_bars, check_signal, init_scale, level};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, Reg, X};
use crate::{Info, Knob, Result, SampleError};

/// Zhang et al. 2023, BDIA-DDIM.
pub struct Bdia;

/// How much of the step before is integrated again.
pub const GAMMA: Knob = Knob::number(
    "bdia_gamma",
    "Gamma",
    0.0,
    1.0,
    0.5,
    "0 is DDIM; 0.5 draws well, 1 swings at high guidance scales; inversion takes 1 unless another is set, since it divides by it in every step",
);

/// Binary digits after the point that an exact inversion keeps: 4e-6, for latents up to 64.
pub const GRAIN: i32 = 18;

/// A run that turns a clean latent into noise, and the run that turns it back.
///
/// Both use the same registers, which hold variance-preserving latents x / sqrt(1 + sigma^2). `encode` starts from the clean latent in register 0
/// (its `init_scale` is 0 and its `latent_scale` 1) and ends with the noisiest latent in register 0 and the one before it in register `second`;
/// `decode` starts from those two as they are, and its `result` is the clean latent again as long as the network is told the same.
///
/// With gamma 1 a step adds something to the latent two levels up that depends on the latent between them alone. What is added is rounded to
/// multiples of 2^-[`GRAIN`]: then the sums are exact in f32, subtracting gives the same bits back, the network sees the same bits on both ways, and
/// nothing is there that guidance could magnify (Maclaurin et al. 2015, arXiv 1502.03492, undo momentum likewise). The clean latent itself comes back rounded so.
/// With a smaller gamma, rounding errors are divided by gamma in every step and magnified by the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Inversion {
    /// Clean latent to noise.
    pub encode: Plan,
    /// Noise to clean latent.
    pub decode: Plan,
    /// The second latent of the pair between them.
    pub second: Reg,
}

/// Levels of a run, noisiest first, one more than steps, and factors that take x to variance-preserving coordinates.
struct Chain {
    sigmas: Vec<f64>,
    first: usize,
    gamma: f64,
}

impl Chain {
    fn new(job: &Job<'_>, gamma: f64) -> Result<Chain> {
        let bars = alpha_bars(job.model, job.grid);
        check_signal("bdia", job.model, job.grid, &bars)?;
        let mut sigmas: Vec<f64> = bars.iter().map(|a| level(*a)).collect();
        if !bars.is_empty() {
            sigmas.push(level(Descent::new(job, &bars).to(bars.len() - 1)));
        }
        Ok(Chain { sigmas, first: job.grid.start, gamma })
    }

    fn alpha(&self, i: usize) -> f64 {
        1.0 / self.sigmas[i].hypot(1.0)
    }

    /// DDIM's step from level `i` to level `j`: factors of x and of its clean estimate.
    fn ddim(&self, i: usize, j: usize) -> (f64, f64) {
        let ratio = self.sigmas[j] / self.sigmas[i];
        (ratio, 1.0 - ratio)
    }

    /// Down from level `i`, x having been at `before` one level up: x = gamma (before - DDIM back) + DDIM forth, in variance-preserving
    /// coordinates (the paper's equation 18).
    fn down(&self, i: usize, before: Reg, denoised: Reg) -> [(Reg, f64); 3] {
        let (forth, back) = (self.ddim(i, i + 1), self.ddim(i, i - 1));
        let weight = self.gamma * self.alpha(i - 1) / self.alpha(i + 1);
        [(before, weight), (X, forth.0 - weight * back.0), (denoised, forth.1 - weight * back.1)]
    }

    /// What a step at level `i` adds to gamma times the latent one level up, variance-preserving: factors of the latent and of its clean estimate.
    fn added(&self, i: usize) -> (f64, f64) {
        let factors = |j: usize| {
            let (x, d) = self.ddim(i, j);
            (self.alpha(j) * x / self.alpha(i), self.alpha(j) * d)
        };
        let (forth, back) = (factors(i + 1), factors(i - 1));
        (forth.0 - self.gamma * back.0, forth.1 - self.gamma * back.1)
    }

    /// Writes what a step at level `i` adds into `into`.
    fn add(&self, b: &mut Builder<'_>, job: &Job<'_>, i: usize, denoised: Reg, into: Reg) {
        let (x, d) = self.added(i);
        b.denoise_preserving(X, self.sigmas[i], job.grid.timesteps[i], denoised);
        b.combine(into, &[(X, x), (denoised, d)]);
        self.snap(b, into);
    }

    /// Rounds where that makes sums exact.
    fn snap(&self, b: &mut Builder<'_>, x: Reg) {
        if self.gamma == 1.0 {
            b.snap(x, GRAIN);
        }
    }

    /// Steps down.
    fn descend(&self, b: &mut Builder<'_>, job: &Job<'_>, [before, denoised, next]: [Reg; 3]) {
        let n = job.grid.steps();
        for i in self.first..n {
            b.denoise(X, self.sigmas[i], job.grid.timesteps[i], denoised);
            if i == self.first {
                let (x, d) = self.ddim(i, i + 1);
                b.combine(next, &[(X, x), (denoised, d)]);
            } else {
                b.combine(next, &self.down(i, before, denoised));
            }
            b.combine(before, &[(X, 1.0)]);
            // The result itself is left variance-preserving.
            b.combine(X, &[(next, if i + 1 == n { self.alpha(n) } else { 1.0 })]);
            b.end_step(self.sigmas[i + 1], denoised);
        }
    }
}

impl Solver for Bdia {
    fn info(&self) -> Info {
        Info {
            name: "bdia",
            label: "BDIA-DDIM",
            citation: "Zhang et al. 2023, arXiv 2307.10829; guoqiang-zhang-x/BDIA BDIADDIMSampler",
            knobs: &[GAMMA],
            aliases: &["bdia_ddim"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::DDIM
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let chain = Chain::new(job, job.knobs.get(&GAMMA))?;
        let mut b = Builder::new(job);
        let registers = b.registers();
        chain.descend(&mut b, job, registers);
        Ok(b.finish(init_scale(job.grid, &alpha_bars(job.model, job.grid)), job.grid))
    }
}

/// Both directions of a run.
///
/// # Errors
/// Fewer than two steps, a gamma of 0, or CFG++, which moves latents in a way of its own.
pub fn invert(job: &Job<'_>) -> Result<Inversion> {
    // The one gamma with which rounding can be undone.
    let gamma = if job.knobs.is_set(&GAMMA) { job.knobs.get(&GAMMA) } else { 1.0 };
    let chain = Chain::new(job, gamma)?;
    let (first, n, gamma) = (chain.first, job.grid.steps(), chain.gamma);
    if gamma <= 0.0 {
        return Err(SampleError::setting(GAMMA.name, "0 cannot be inverted; use a value up to 1, best 1"));
    }
    if n < first + 2 {
        return Err(SampleError::setting("steps", "inversion needs at least two steps"));
    }
    if job.knobs.get(&crate::guidance::CFG_PP) > 0.0 {
        return Err(SampleError::setting(crate::guidance::CFG_PP.name, "CFG++ cannot be inverted; use plain guidance"));
    }
    let mut b = Builder::new(job);
    let [second, denoised, next] = b.registers();
    chain.snap(&mut b, X);
    // The first step up has no past: DDIM, with the noise estimated as if it had been made. Whatever it gives, the way back starts from it.
    let share = (chain.sigmas[n - 1] - chain.sigmas[n]) / chain.sigmas[n - 1];
    b.combine(next, &[(X, chain.alpha(n - 1) / chain.alpha(n))]);
    b.denoise_preserving(next, chain.sigmas[n - 1], job.grid.timesteps[n - 1], denoised);
    b.combine(second, &[(X, 1.0)]);
    b.combine(X, &[(next, 1.0 + share), (denoised, -share * chain.alpha(n - 1))]);
    chain.snap(&mut b, X);
    b.end_step(chain.sigmas[n - 1], denoised);
    for i in (first + 1..n).rev() {
        chain.add(&mut b, job, i, denoised, next);
        b.combine(next, &[(second, 1.0 / gamma), (next, -1.0 / gamma)]);
        b.combine(second, &[(X, 1.0)]);
        b.combine(X, &[(next, 1.0)]);
        b.end_step(chain.sigmas[i - 1], denoised);
    }
    let mut encode = b.finish(0.0, job.grid);
    encode.latent_scale = 1.0;

    let mut b = Builder::new(job);
    let [before, denoised, next] = b.registers();
    b.combine(next, &[(before, 1.0)]);
    b.combine(before, &[(X, 1.0)]);
    b.combine(X, &[(next, 1.0)]);
    for i in first + 1..n {
        chain.add(&mut b, job, i, denoised, next);
        b.combine(next, &[(before, gamma), (next, 1.0)]);
        b.combine(before, &[(X, 1.0)]);
        b.combine(X, &[(next, 1.0)]);
        b.end_step(chain.sigmas[i + 1], denoised);
    }
    Ok(Inversion { encode, decode: b.finish(0.0, job.grid), second })
}
