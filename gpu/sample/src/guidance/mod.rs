//! Guidance: what the network is asked in one evaluation, and how its answers become one estimate.
//!
//! A technique sees numbers, never a latent. It adds branches (what the network is asked) and operations on their results to a [`Guide`], which
//! the engine carries out on the device and [`cpu`] on the host. Techniques combine; [`ALL`] is the order in which they act:
//!
//! 1. what stands for the unconditional result: residual CFG, Perp-Neg, CFG-Zero*, TCFG;
//! 2. how far to go from it towards the conditional one: APG or dynamic thresholding, else plain CFG, with its interval and curve;
//! 3. what is added beside: PAG, SEG, SAG, SLG;
//! 4. rescale;
//! 5. what changes in the solver (CFG++) and inside the network (FreeU, skip tuning).
//!
//! Unless a file says otherwise a technique works on the network's own prediction, as diffusers' guiders do.

mod apg;
mod cfg;
mod cfg_pp;
mod cfg_zero;
pub mod cpu;
mod dynamic_thresholding;
mod freeu;
mod pag;
mod perp_neg;
mod place;
mod rescale;
mod residual;
mod sag;
mod seg;
mod skip_tuning;
mod slg;
mod tcfg;

pub use cfg::BATCH;
pub use cfg_pp::CFG_PP;
pub use place::{Place, Side};

use crate::{Info, KnobValues, Result, SampleError, Scaling};

/// One way to guide.
pub trait Guidance: Sync {
    /// Name, citation, settings.
    fn info(&self) -> Info;
    /// Adds what it does in one evaluation; nothing where its knobs leave it off.
    ///
    /// # Errors
    /// Settings that do not go together.
    fn apply(&self, step: &mut Step<'_>) -> Result<()>;
}

/// Every way to guide, in the order in which they act. To add one, write its file and name it here.
pub static ALL: &[&dyn Guidance] = &[
    &residual::Residual,
    &perp_neg::PerpNeg,
    &cfg_zero::CfgZero,
    &tcfg::Tcfg,
    &apg::Apg,
    &dynamic_thresholding::DynamicThresholding,
    &cfg::Cfg,
    &pag::Pag,
    &seg::Seg,
    &sag::Sag,
    &slg::Slg,
    &rescale::Rescale,
    &cfg_pp::CfgPp,
    &freeu::FreeU,
    &skip_tuning::SkipTuning,
];

/// A latent-shaped value of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// x, before the network's scaling.
    Latent,
    /// The network's answer to a branch, by its number in [`Guide::branches`].
    Branch(usize),
    /// Made by an operation of this evaluation.
    Temp(usize),
    /// Made by an operation, and still there in the next evaluation of the run.
    Kept(usize),
}

/// A sum of values.
pub type Linear = Vec<(Value, f64)>;

/// How self-attention is changed in some blocks.
#[derive(Clone, Debug, PartialEq)]
pub enum Perturbation {
    /// Every token sees itself alone (PAG).
    Identity(Vec<Place>),
    /// Queries blurred over the picture by a Gaussian of that many cells; none: the same query everywhere (SEG).
    Blurred(Vec<Place>, Option<f64>),
    /// Transformer blocks left out (SLG).
    Skipped(Vec<Place>),
}

/// One question to the network.
#[derive(Clone, Debug, PartialEq)]
pub enum Branch {
    /// The negative prompt.
    Uncond,
    /// The prompt.
    Cond,
    /// The empty prompt.
    Empty,
    /// The prompt, with attention changed.
    Perturbed(Perturbation),
    /// The given branch's prompt, its own estimate blurred where its middle block's self-attention looks (SAG): x + mask (blur(clean) - clean), with
    /// clean = `skip` x + `output` of branch `of`.
    Degraded {
        /// Whose estimate and attention: a number in [`Guide::branches`].
        of: usize,
        /// Standard deviation of the blur in cells; its kernel is 9 wide.
        sigma: f64,
    },
}

/// One operation on values; all sums and norms are over one sample of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum GuideOp {
    /// `dst` = sum.
    Combine {
        /// Receives it.
        dst: Value,
        /// What is added up; may contain `dst`.
        terms: Linear,
    },
    /// `dst` = `keep` a + `along` (a . b / b . b) b: what is parallel to b, what is orthogonal, or a mix.
    Project {
        /// Receives it.
        dst: Value,
        /// What is taken apart.
        a: Value,
        /// The direction.
        b: Value,
        /// Factor of a.
        keep: f64,
        /// Factor of its part along b.
        along: f64,
        /// Added to b . b.
        eps: f64,
    },
    /// `dst` = b projected on the first right singular vector of the rows [a, b].
    Dominant {
        /// Receives it.
        dst: Value,
        /// One row.
        a: Value,
        /// The other, which is projected.
        b: Value,
    },
    /// `x` shrunk to the norm `radius` where it is longer.
    Shorten {
        /// Changed in place.
        x: Value,
        /// Longest norm allowed.
        radius: f64,
    },
    /// `x` *= phi std(like) / std(x) + 1 - phi.
    Rescale {
        /// Changed in place.
        x: Value,
        /// Whose spread it gets.
        like: Value,
        /// How much.
        phi: f64,
    },
    /// Every channel of `x`, less its mean, brought from its own scale to that of `like`, then the mean added again: by standard deviations, or
    /// clamped at `percentile` of its magnitudes and scaled to the largest magnitude of `like`.
    Threshold {
        /// Changed in place.
        x: Value,
        /// The estimate at a scale that does no harm.
        like: Value,
        /// Quantile of the magnitudes; none: standard deviations.
        percentile: Option<f64>,
    },
}

/// What changes inside the network, in all branches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inside {
    /// FreeU: factors b1, b2 of half the backbone's channels and s1, s2 of the skips' lowest frequencies, at the two deepest up blocks.
    pub freeu: Option<[f64; 4]>,
    /// Skip tuning: factors of the skips, deepest and shallowest; even steps between.
    pub skips: Option<[f64; 2]>,
}

/// What one evaluation asks and makes of the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Guide {
    /// Questions, in order.
    pub branches: Vec<Branch>,
    /// Operations, in order.
    pub ops: Vec<GuideOp>,
    /// The guided estimate of the clean latent.
    pub clean: Linear,
    /// That of the unconditional branch.
    pub uncond: Linear,
    /// Number of temporary values.
    pub temps: usize,
    /// Changes inside the network.
    pub inside: Inside,
}

/// Facts about one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Settings.
    pub knobs: &'a KnobValues,
    /// Guidance scale.
    pub cfg: f64,
    /// Guidance rescale.
    pub rescale: f64,
    /// Step of the run, and how many it has.
    pub step: usize,
    /// Steps of the run.
    pub steps: usize,
    /// First evaluation of the run.
    pub first: bool,
    /// What the network is told.
    pub timestep: f64,
    /// How its output is read.
    pub scaling: Scaling,
}

/// A guide in the making.
#[derive(Debug)]
pub struct Step<'a> {
    ask: Ask<'a>,
    /// Scale in force: 1 leaves the unconditional branch out.
    scale: f64,
    branches: Vec<Branch>,
    ops: Vec<GuideOp>,
    temps: usize,
    cond: Linear,
    uncond: Option<Linear>,
    guided: Option<Linear>,
    inside: Inside,
}

/// Sum of linear sums.
fn sum(parts: &[(&[(Value, f64)], f64)]) -> Linear {
    let mut out: Linear = Vec::new();
    for (part, factor) in parts {
        for (value, c) in part.iter() {
            match out.iter_mut().find(|(v, _)| v == value) {
                Some((_, total)) => *total += c * factor,
                None => out.push((*value, c * factor)),
            }
        }
    }
    out.retain(|(_, c)| *c != 0.0);
    out
}

impl<'a> Step<'a> {
    fn new(ask: Ask<'a>) -> Result<Step<'a>> {
        let mut step = Step {
            scale: cfg::scale(&ask)?,
            ask,
            branches: Vec::new(),
            ops: Vec::new(),
            temps: 0,
            cond: Vec::new(),
            uncond: None,
            guided: None,
            inside: Inside::default(),
        };
        // With guidance the unconditional branch comes first, as everywhere.
        if step.is_guided() && !residual::stands_in(&step.ask) {
            let uncond = step.branch(Branch::Uncond);
            step.uncond = Some(vec![(uncond, 1.0)]);
        }
        let cond = step.branch(Branch::Cond);
        step.cond = vec![(cond, 1.0)];
        Ok(step)
    }

    /// Whether guidance is in force in this evaluation.
    fn is_guided(&self) -> bool {
        self.scale != 1.0
    }

    /// Asks one more question, or finds it asked.
    fn branch(&mut self, branch: Branch) -> Value {
        let at = self.branches.iter().position(|b| *b == branch).unwrap_or_else(|| {
            self.branches.push(branch);
            self.branches.len() - 1
        });
        Value::Branch(at)
    }

    fn temp(&mut self) -> Value {
        self.temps += 1;
        Value::Temp(self.temps - 1)
    }

    /// A value that holds a sum.
    fn hold(&mut self, terms: &Linear) -> Value {
        if let [(value, c)] = terms[..]
            && c == 1.0
            && !matches!(value, Value::Temp(_))
        {
            return value;
        }
        let dst = self.temp();
        self.ops.push(GuideOp::Combine { dst, terms: terms.clone() });
        dst
    }

    /// A copy of a sum that may be changed.
    fn own(&mut self, terms: &Linear) -> Value {
        let dst = self.temp();
        self.ops.push(GuideOp::Combine { dst, terms: terms.clone() });
        dst
    }

    /// The clean estimate that a prediction means.
    fn clean(&self, prediction: &Linear) -> Linear {
        sum(&[(&[(Value::Latent, 1.0)], self.ask.scaling.skip), (prediction, self.ask.scaling.output)])
    }

    /// The prediction that would mean a clean estimate.
    fn prediction(&self, clean: &Linear) -> Linear {
        let s = self.ask.scaling;
        sum(&[(clean, 1.0 / s.output), (&[(Value::Latent, 1.0)], -s.skip / s.output)])
    }

    /// The unconditional prediction; the conditional one where nothing is guided.
    fn unconditional(&self) -> Linear {
        self.uncond.clone().unwrap_or_else(|| self.cond.clone())
    }

    /// Adds to the guided prediction.
    fn add(&mut self, what: &Linear, factor: f64) {
        let so_far = self.guided.take().unwrap_or_else(|| self.cond.clone());
        self.guided = Some(sum(&[(&so_far, 1.0), (what, factor)]));
    }

    /// Adds scale (cond - other branch).
    fn push_away(&mut self, branch: Branch, scale: f64) {
        let other = self.branch(branch);
        let difference = sum(&[(&self.cond, 1.0), (&[(other, 1.0)], -1.0)]);
        self.add(&difference, scale);
    }

    /// Whether a part of the run from `start` to `stop`, as shares of its steps, holds this step (diffusers' guiders).
    fn is_within(&self, start: f64, stop: f64) -> bool {
        within(&self.ask, start, stop)
    }

    fn finish(self) -> Guide {
        let guided = self.guided.clone().unwrap_or_else(|| self.cond.clone());
        let (clean, uncond) = (self.clean(&guided), self.clean(&self.unconditional()));
        Guide { branches: self.branches, ops: self.ops, clean, uncond, temps: self.temps, inside: self.inside }
    }
}

fn within(ask: &Ask<'_>, start: f64, stop: f64) -> bool {
    let at = |share: f64| (share * ask.steps as f64) as usize;
    (at(start)..at(stop)).contains(&ask.step)
}

/// What one evaluation asks and makes of the answers.
///
/// # Errors
/// Settings that do not go together.
pub fn guide(ask: &Ask<'_>) -> Result<Guide> {
    let mut step = Step::new(*ask)?;
    for technique in ALL {
        technique.apply(&mut step)?;
    }
    Ok(step.finish())
}

/// Whether these settings ever ask more than [unconditional, conditional] or change the network, so that composed prompts cannot be had with them.
pub fn is_plain(knobs: &KnobValues) -> bool {
    let on = |k: &crate::Knob| knobs.get(k) > 0.0;
    ![&pag::SCALE, &seg::SCALE, &sag::SCALE, &slg::SCALE, &perp_neg::SCALE].into_iter().any(on)
}

/// Whether the empty prompt is needed beside the negative one.
pub fn wants_empty(knobs: &KnobValues) -> bool {
    knobs.get(&perp_neg::SCALE) > 0.0
}

/// Refuses two techniques that take each other's place.
fn alone(step: &Step<'_>, name: &'static str) -> Result<()> {
    match step.guided {
        None => Ok(()),
        Some(_) => Err(SampleError::setting(
            name,
            "takes the place of another guidance that is on (apg, dynamic thresholding, perp_neg); choose one",
        )),
    }
}
