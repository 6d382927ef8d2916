//! What a solver produces: a list of operations on latents.

use std::borrow::Cow;

use crate::solvers::Job;
use crate::{Grid, ModelSampling, Prediction};

/// A latent-shaped register on the device. 0 is x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub usize);

/// The register of x.
pub const X: Reg = Reg(0);

/// How the network is used at one noise level: denoised = `skip` * x + `output` * network(`input` * x, timestep).
///
/// (Karras et al. 2022, arXiv 2206.00364, table 1: c_in, c_skip, c_out.) With classifier-free guidance the network's output is the guided one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// c_in
    pub input: f64,
    /// c_skip
    pub skip: f64,
    /// c_out
    pub output: f64,
}

impl Scaling {
    /// A network seen from x = x0 + sigma * noise; those that predict noise, velocity or sample are variance-preserving.
    pub fn of(prediction: Prediction, sigma: f64) -> Self {
        let root = (sigma * sigma + 1.0).sqrt();
        let data = Prediction::SIGMA_DATA;
        let (skip, output) = match prediction {
            Prediction::Edm => {
                let wide = sigma.hypot(data);
                return Scaling { input: 1.0 / wide, skip: (data / wide).powi(2), output: sigma * data / wide };
            }
            Prediction::Flow => {
                let clean = 1.0 / (1.0 + sigma);
                return Scaling { input: clean, skip: clean, output: -sigma * clean };
            }
            Prediction::Epsilon => (1.0, -sigma),
            Prediction::V => (1.0 / (root * root), -sigma / root),
            Prediction::Sample => (0.0, 1.0),
        };
        Scaling { input: 1.0 / root, skip, output }
    }
}

/// One operation; they run in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Estimate the clean latent from `x` at noise level `sigma`, with guidance, into `out` (another register than `x`).
    Denoise {
        /// Noisy latent.
        x: Reg,
        /// Its noise level.
        sigma: f64,
        /// What the network is told; whole or fractional.
        timestep: f64,
        /// How the network's input and output are scaled.
        scaling: Scaling,
        /// Receives the guided estimate.
        out: Reg,
        /// Receives the estimate of the unconditional half, if a solver wants it (CFG++).
        uncond_out: Option<Reg>,
        /// Step this evaluation belongs to, counted from 0 in this run.
        step: usize,
    },
    /// `dst` = sum of coefficient times register; `dst` may be one of the terms. No terms: zero.
    Combine {
        /// Receives the sum.
        dst: Reg,
        /// Registers and their coefficients.
        terms: Vec<(Reg, f64)>,
    },
    /// `dst` = fresh unit Gaussian noise, draw number `index` (0 is the initial noise, so the first here is 1).
    Noise {
        /// Receives the noise.
        dst: Reg,
        /// Number of the draw.
        index: usize,
    },
    /// `x` = the nearest multiple of 2^-`bits`. Sums and differences of such numbers are exact in f32 below 2^(24 - `bits`), so they can be undone.
    Snap {
        /// What is rounded.
        x: Reg,
        /// Binary digits after the point.
        bits: i32,
    },
    /// Measures how far two estimates of a step lie apart: the root mean square of (low - high) / max(atol, rtol max(|low|, |before|)) over the whole
    /// batch. Only in the steps of an [`Adaptive`](crate::Adaptive) run, last of what it asks for.
    Error {
        /// The less exact estimate.
        low: Reg,
        /// The more exact one.
        high: Reg,
        /// The last less exact estimate that was accepted.
        before: Reg,
        /// Absolute tolerance.
        atol: f64,
        /// Relative tolerance.
        rtol: f64,
    },
    /// The end of a step: `x` is the latent at noise level `sigma`, `denoised` the last clean estimate, for previews.
    StepEnd {
        /// Step, counted from 0 in this run.
        step: usize,
        /// The latent.
        x: Reg,
        /// Noise level it is at.
        sigma: f64,
        /// The clean estimate of this step.
        denoised: Option<Reg>,
    },
}

/// A whole run.
///
/// Before the first operation x = `init_scale` * noise + `latent_scale` * the clean latent to start from, if there is one (picture to picture).
/// After the last operation `result` holds the final latent. Every operation lies within a step: the last one is a [`Op::StepEnd`]. A run
/// without steps (strength 0) has no operations and gives back the clean latent.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The operations.
    pub ops: Vec<Op>,
    /// How many registers they use, x among them.
    pub registers: usize,
    /// Factor on the unit-variance initial noise.
    pub init_scale: f64,
    /// Factor on the clean latent: 1 in picture to picture, else 0.
    pub latent_scale: f64,
    /// Where the final latent is.
    pub result: Reg,
    /// How many steps it runs.
    pub steps: usize,
    /// Draws of noise beyond the initial one.
    pub noises: usize,
}

impl Plan {
    /// Timesteps the network is asked for, in order of first use, each once.
    pub fn timesteps(&self) -> Vec<f64> {
        let mut all: Vec<f64> = Vec::new();
        for op in &self.ops {
            if let Op::Denoise { timestep, .. } = op
                && !all.contains(timestep)
            {
                all.push(*timestep);
            }
        }
        all
    }

    /// How often the network runs.
    pub fn evaluations(&self) -> usize {
        self.ops.iter().filter(|op| matches!(op, Op::Denoise { .. })).count()
    }
}

/// Writes a plan.
#[derive(Debug)]
pub struct Builder<'a> {
    model: Cow<'a, ModelSampling>,
    ops: Vec<Op>,
    registers: usize,
    noises: usize,
    steps: usize,
    /// CFG++: the solver follows the unconditional estimate and each step ends with the guidance of its first evaluation.
    pushed: Option<Pushed>,
}

/// Registers of CFG++: the guided estimate, and guided minus unconditional at the step's first evaluation.
#[derive(Debug)]
struct Pushed {
    guided: Reg,
    push: Reg,
    seen: bool,
    /// This step has had its guidance already.
    done: bool,
}

impl<'a> Builder<'a> {
    /// An empty plan; x exists already.
    pub fn new(job: &Job<'a>) -> Self {
        let mut new = Builder {
            model: Cow::Borrowed(job.model),
            ops: Vec::new(),
            registers: 1,
            noises: 0,
            steps: 0,
            pushed: None,
        };
        if job.knobs.get(&crate::guidance::CFG_PP) > 0.0 {
            let [guided, push] = new.registers();
            new.pushed = Some(Pushed { guided, push, seen: false, done: false });
        }
        new
    }

    /// The same, for longer than the job lives.
    pub fn owned(self) -> Builder<'static> {
        Builder { model: Cow::Owned(self.model.into_owned()), ..self }
    }

    /// One more register.
    pub fn register(&mut self) -> Reg {
        self.registers += 1;
        Reg(self.registers - 1)
    }

    /// `N` more registers.
    pub fn registers<const N: usize>(&mut self) -> [Reg; N] {
        std::array::from_fn(|_| self.register())
    }

    /// `out` = clean estimate of `x`.
    pub fn denoise(&mut self, x: Reg, sigma: f64, timestep: f64, out: Reg) {
        let (scaling, step) = (Scaling::of(self.model.prediction(), sigma), self.steps);
        let timestep = self.model.told(sigma, timestep);
        let Some(pushed) = &mut self.pushed else {
            self.ops.push(Op::Denoise { x, sigma, timestep, scaling, out, uncond_out: None, step });
            return;
        };
        let (guided, push, first) = (pushed.guided, pushed.push, !pushed.seen);
        pushed.seen = true;
        self.ops.push(Op::Denoise { x, sigma, timestep, scaling, out: guided, uncond_out: Some(out), step });
        if first {
            self.combine(push, &[(guided, 1.0), (out, -1.0)]);
        }
    }

    /// `out` = clean estimate of the latent whose variance-preserving form x / sqrt(1 + sigma^2) is in `x`.
    pub fn denoise_preserving(&mut self, x: Reg, sigma: f64, timestep: f64, out: Reg) {
        let at = self.ops.len();
        self.denoise(x, sigma, timestep, out);
        if let Some(Op::Denoise { scaling, .. }) = self.ops.get_mut(at) {
            let root = sigma.hypot(1.0);
            (scaling.input, scaling.skip) = (scaling.input * root, scaling.skip * root);
        }
    }

    /// What `denoised` would be without CFG++: the guided estimate of the last evaluation.
    pub fn guided(&self, denoised: Reg) -> Reg {
        self.pushed.as_ref().map_or(denoised, |p| p.guided)
    }

    /// CFG++: this step's guidance moves x now instead of at the step's end.
    pub fn push_now(&mut self) {
        if let Some(pushed) = &mut self.pushed {
            pushed.done = true;
            let push = pushed.push;
            self.combine(X, &[(X, 1.0), (push, 1.0)]);
        }
    }

    /// `dst` = sum of the terms; the same register twice is added up, zero coefficients are left out.
    pub fn combine(&mut self, dst: Reg, terms: &[(Reg, f64)]) {
        let mut sum: Vec<(Reg, f64)> = Vec::with_capacity(terms.len());
        for &(reg, c) in terms {
            match sum.iter_mut().find(|(r, _)| *r == reg) {
                Some((_, total)) => *total += c,
                None => sum.push((reg, c)),
            }
        }
        sum.retain(|(_, c)| *c != 0.0);
        if sum != [(dst, 1.0)] {
            self.ops.push(Op::Combine { dst, terms: sum });
        }
    }

    /// `dst` = the next draw of noise.
    pub fn noise(&mut self, dst: Reg) {
        self.noises += 1;
        self.ops.push(Op::Noise { dst, index: self.noises });
    }

    /// Rounds to multiples of 2^-`bits`.
    pub fn snap(&mut self, x: Reg, bits: i32) {
        self.ops.push(Op::Snap { x, bits });
    }

    /// Measures a step: [`Op::Error`].
    pub fn error(&mut self, [low, high, before]: [Reg; 3], atol: f64, rtol: f64) {
        self.ops.push(Op::Error { low, high, before, atol, rtol });
    }

    /// What was written since the last call, for a run that goes on from what these operations give.
    pub fn take(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.ops)
    }

    /// What follows belongs to this step of the run.
    pub fn at_step(&mut self, step: usize) {
        self.steps = step;
    }

    /// Ends a step with x at noise level `sigma`.
    pub fn end_step(&mut self, sigma: f64, denoised: Reg) {
        let mut denoised = denoised;
        if let Some(pushed) = &mut self.pushed {
            let (push, done) = (pushed.push, pushed.done);
            (pushed.seen, pushed.done) = (false, false);
            denoised = pushed.guided;
            if !done {
                self.combine(X, &[(X, 1.0), (push, 1.0)]);
            }
        }
        self.ops.push(Op::StepEnd { step: self.steps, x: X, sigma, denoised: Some(denoised) });
        self.steps += 1;
    }

    /// Ends a step in which x did not move: an evaluation of a step that takes several.
    pub fn end_part(&mut self, sigma: f64, denoised: Reg) {
        let denoised = self.pushed.as_ref().map_or(denoised, |p| p.guided);
        self.ops.push(Op::StepEnd { step: self.steps, x: X, sigma, denoised: Some(denoised) });
        self.steps += 1;
    }

    /// The plan of a run over `grid` that starts with `init_scale` times the noise.
    pub fn finish(self, init_scale: f64, grid: &Grid) -> Plan {
        let Builder { ops, registers, noises, steps, .. } = self;
        let latent_scale = if grid.from_latent { 1.0 } else { 0.0 };
        Plan { ops, registers, init_scale, latent_scale, result: X, steps, noises }
    }
}
