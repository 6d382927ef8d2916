//! DPM-Solver of order 2 or 3 whose steps are as long as their error allows.
//!
//! Each step is made twice, once with one order less, and the distance of the two decides how long it may be. That number is the only thing a
//! sampler reads back from the device: one f32 a step, asynchronously, since the next noise levels (and the network's time embedding of them)
//! follow from it. The latents stay where they are.

use super::shared::dpm::end_of;
use super::shared::{NOISE, add_noise, ancestral};
use super::{Adaptive, Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Op, Plan, Reg, X};
use crate::{Info, Knob, KnobValues, ModelSampling, Result, SampleError};

/// Lu et al. 2022, DPM-Solver-12 and -23; k-diffusion's `sample_dpm_adaptive`. Of the schedule only the highest level counts, and steps count for nothing but
/// the progress shown and what is timed by steps (guidance, prompts): the run is divided evenly in log sigma.
pub struct DpmAdaptive;

const ORDER: Knob = Knob::whole("order", "Order", 2.0, 3.0, 3.0, "evaluations in each step");
const RTOL: Knob =
    Knob::number("rtol", "Relative tolerance", 0.0, 10.0, 0.05, "error allowed, as a share of the latent");
const ATOL: Knob = Knob::number("atol", "Absolute tolerance", 1e-5, 10.0, 0.0078, "error allowed in any case");
const FIRST: Knob = Knob::number("h_init", "First step", 1e-4, 10.0, 0.05, "length of the first step in log sigma");
const P: Knob = Knob::number("pcoeff", "PID: P", -1.0, 1.0, 0.0, "proportional part of the step's control");
const I: Knob = Knob::number("icoeff", "PID: I", 0.1, 2.0, 1.0, "integral part of the step's control");
const D: Knob = Knob::number("dcoeff", "PID: D", -1.0, 1.0, 0.0, "derivative part of the step's control");
const SAFETY: Knob = Knob::number(
    "accept_safety",
    "Safety",
    0.0,
    1.0,
    0.81,
    "a step is taken if the next may be this many times as long",
);
const ETA: Knob = Knob::number("eta", "Eta", 0.0, 1.0, 0.0, "share of fresh noise in each step; 0 adds none");

/// Shortest step in log sigma: the whole range is about 6.
const SHORTEST: f64 = 1e-7;

/// The length of steps by the errors of the last three (Söderlind 2003, as k-diffusion's `PIDStepSizeController` writes it).
#[derive(Clone, Debug)]
struct Pid {
    h: f64,
    powers: [f64; 3],
    safety: f64,
    /// Inverse errors, the newest first; empty before the first step.
    past: Option<[f64; 3]>,
}

impl Pid {
    fn new(knobs: &KnobValues) -> Pid {
        let order = if knobs.get(&ETA) > 0.0 { 1.5 } else { knobs.get(&ORDER) };
        let (p, i, d) = (knobs.get(&P), knobs.get(&I), knobs.get(&D));
        let powers = [(p + i + d) / order, -(p + 2.0 * d) / order, d / order];
        Pid { h: knobs.get(&FIRST), powers, safety: knobs.get(&SAFETY), past: None }
    }

    /// Whether a step with this error is taken; the next one's length follows.
    fn accepts(&mut self, error: f64) -> bool {
        let inverse = 1.0 / (error + 1e-8);
        let past = self.past.get_or_insert([inverse; 3]);
        past[0] = inverse;
        let factor: f64 = past.iter().zip(self.powers).map(|(e, b)| e.powf(b)).product();
        let factor = 1.0 + (factor - 1.0).atan();
        let accepted = factor >= self.safety;
        if accepted {
            *past = [past[0], past[0], past[1]];
        }
        self.h *= factor;
        accepted
    }
}

/// (e^h - 1) / h - 1.
fn bent(h: f64) -> f64 {
    if h == 0.0 { 0.0 } else { h.exp_m1() / h - 1.0 }
}

/// Registers of a run.
#[derive(Clone, Copy, Debug)]
struct Registers {
    denoised: Reg,
    trial: Reg,
    slopes: [Reg; 3],
    low: Reg,
    high: Reg,
    before: Reg,
    noise: Reg,
}

/// What two levels have between them.
#[derive(Debug)]
struct Steps {
    b: Builder<'static>,
    r: Registers,
    model: ModelSampling,
    order: usize,
    tolerance: (f64, f64),
    eta: f64,
    noise: f64,
    /// -ln sigma at both ends of the run.
    ends: (f64, f64),
    /// Steps that the run counts as.
    count: usize,
}

impl Steps {
    fn new(job: &Job<'_>) -> Steps {
        let grid = job.grid;
        let mut b = Builder::new(job).owned();
        let [denoised, trial, low, high, before, noise] = b.registers();
        let slopes = b.registers();
        let k = job.knobs;
        Steps {
            b,
            r: Registers { denoised, trial, slopes, low, high, before, noise },
            model: job.model.clone(),
            order: k.get(&ORDER) as usize,
            tolerance: (k.get(&ATOL), k.get(&RTOL)),
            eta: k.get(&ETA),
            noise: k.get(&NOISE),
            ends: (-grid.first_sigma().ln(), -end_of(job).ln()),
            count: grid.steps() - grid.start.min(grid.steps()),
        }
    }

    /// The step of the run that a level belongs to.
    fn number(&self, t: f64) -> usize {
        let share = (t - self.ends.0) / (self.ends.1 - self.ends.0);
        ((share * self.count as f64 + 1e-9) as usize).min(self.count - 1)
    }

    /// The noise in `x` at a level, into slope `k`.
    fn evaluate(&mut self, x: Reg, sigma: f64, k: usize) {
        let (denoised, slope) = (self.r.denoised, self.r.slopes[k]);
        self.b.denoise(x, sigma, self.model.timestep_at(sigma), denoised);
        self.b.combine(slope, &[(x, 1.0 / sigma), (denoised, -1.0 / sigma)]);
    }

    /// Where a step to `to` goes without noise, and how much noise follows.
    fn parts(&self, from: f64, to: f64) -> (f64, f64) {
        if self.eta <= 0.0 {
            return (to, 0.0);
        }
        let end = (-self.ends.1).exp();
        let down = ancestral(from, to, self.eta).0.max(end);
        (down, (to * to - down * down).max(0.0).sqrt())
    }

    /// Both estimates of a step between two levels, x staying where it is. `known`: the slope at its start is.
    fn attempt(&mut self, from: f64, to: f64, known: bool) {
        let Registers { trial, slopes: [e0, e1, e2], low, high, .. } = self.r;
        let down = self.parts(from, to).0;
        let h = (from / down).ln();
        let at = |r: f64| from * (-r * h).exp();
        if !known {
            self.evaluate(X, from, 0);
        }
        let whole = down * h.exp_m1();
        if self.order == 2 {
            let s = at(0.5);
            self.b.combine(trial, &[(X, 1.0), (e0, -s * (0.5 * h).exp_m1())]);
            self.evaluate(trial, s, 1);
            self.b.combine(low, &[(X, 1.0), (e0, -whole)]);
            self.b.combine(high, &[(X, 1.0), (e1, -whole)]);
            return;
        }
        let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
        let (s1, s2) = (at(r1), at(r2));
        self.b.combine(trial, &[(X, 1.0), (e0, -s1 * (r1 * h).exp_m1())]);
        self.evaluate(trial, s1, 1);
        let bend = whole / (2.0 * r1);
        self.b.combine(low, &[(X, 1.0), (e0, bend - whole), (e1, -bend)]);
        let bend = s2 * (r2 / r1) * bent(r2 * h);
        self.b.combine(trial, &[(X, 1.0), (e0, bend - s2 * (r2 * h).exp_m1()), (e1, -bend)]);
        self.evaluate(trial, s2, 2);
        let bend = down / r2 * bent(h);
        self.b.combine(high, &[(X, 1.0), (e0, bend - whole), (e2, -bend)]);
    }

    /// Takes the step that was attempted.
    fn accept(&mut self, from: f64, to: f64) {
        let Registers { low, high, before, noise, denoised, .. } = self.r;
        let up = self.parts(from, to).1;
        self.b.combine(before, &[(low, 1.0)]);
        self.b.combine(X, &[(high, 1.0)]);
        add_noise(&mut self.b, noise, up * self.noise);
        self.b.end_step(to, denoised);
    }
}

/// A run in progress.
struct Run {
    steps: Steps,
    pid: Pid,
    /// -ln sigma reached.
    at: f64,
    /// Where the step in question would go; none between two steps.
    to: Option<f64>,
    begun: bool,
}

impl Adaptive for Run {
    fn next(&mut self, error: Option<f64>) -> Result<Option<Vec<Op>>> {
        let level = |t: f64| (-t).exp();
        let again = match (self.to.take(), error) {
            (Some(to), Some(error)) => {
                if !error.is_finite() {
                    let why =
                        "the latents are not finite: a weight or a merge is out of range, or the CFG scale is too high";
                    return Err(SampleError::setting("dpm_adaptive", why));
                }
                if self.pid.accepts(error) {
                    self.steps.accept(level(self.at), level(to));
                    self.at = to;
                    return Ok(Some(self.steps.b.take()));
                }
                if self.pid.h < SHORTEST {
                    let why = "no step is short enough for these tolerances; raise rtol or atol";
                    return Err(SampleError::setting("dpm_adaptive", why));
                }
                true
            }
            _ => false,
        };
        let end = self.steps.ends.1;
        // k-diffusion's end of the run.
        if self.at >= end - 1e-5 {
            return Ok(None);
        }
        let to = (self.at + self.pid.h).min(end);
        let Registers { low, high, before, .. } = self.steps.r;
        if !self.begun {
            self.steps.b.combine(before, &[(X, 1.0)]);
            self.begun = true;
        }
        let (number, (atol, rtol)) = (self.steps.number(self.at), self.steps.tolerance);
        self.steps.b.at_step(number);
        self.steps.attempt(level(self.at), level(to), again);
        self.steps.b.error([low, high, before], atol, rtol);
        self.to = Some(to);
        Ok(Some(self.steps.b.take()))
    }
}

impl Solver for DpmAdaptive {
    fn info(&self) -> Info {
        Info {
            name: "dpm_adaptive",
            label: "DPM adaptive",
            citation: "Lu et al. 2022, arXiv 2206.00927; k-diffusion sample_dpm_adaptive",
            knobs: &[RTOL, ATOL, ORDER, FIRST, P, I, D, SAFETY, ETA, NOISE],
            aliases: &["k_dpm_ad", "k_dpm_adaptive"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    /// The same solver at even steps in log sigma, nothing measured.
    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let mut steps = Steps::new(job);
        let (n, (first, last)) = (steps.count, steps.ends);
        for k in 0..n {
            let at = |k: usize| (-(first + (last - first) * k as f64 / n as f64)).exp();
            steps.attempt(at(k), at(k + 1), false);
            steps.accept(at(k), at(k + 1));
        }
        Ok(steps.b.finish(job.grid.init_scale_exploding(), job.grid))
    }

    fn adaptive(&self, job: &Job<'_>) -> Option<Box<dyn Adaptive>> {
        let steps = Steps::new(job);
        let at = steps.ends.0;
        let nothing = steps.count == 0;
        (!nothing)
            .then(|| Box::new(Run { steps, pid: Pid::new(job.knobs), at, to: None, begun: false }) as Box<dyn Adaptive>)
    }
}
