//! Carries guidance out on the device: which passes of the U-Net an evaluation needs, and what becomes of their results.

use std::cell::Cell;
use std::sync::Arc;

use admix_model::ModelError;
use admix_model::unet::{Attention, Conditioning, Place, Side, Tweaks, UNet, UNetPass};
use admix_sample::guidance::{self, Ask, Branch, Guide, GuideOp, Linear, Perturbation, Value};
use admix_sample::{Op, Plan, Scaling};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::kernels::attention::Operand;
use admix_tensor::kernels::combine::Term;
use admix_tensor::kernels::project::Projection;
use admix_tensor::{Gpu, Recorder, Tensor, TensorError};

use crate::EngineError;
use crate::settings::Settings;

/// Cells that the blur of self-attention guidance reaches each way: a kernel of nine.
const SAG_REACH: usize = 4;

/// The guidance of every evaluation of a run, in order, and what lives from one to the next.
pub(crate) struct Guides {
    all: Vec<Guide>,
    next: Cell<usize>,
    /// Nothing of a run that is followed has been guided yet.
    is_new: bool,
    kept: Vec<Tensor>,
    temps: Vec<Tensor>,
    /// Results of branches that run by themselves.
    results: Vec<Tensor>,
}

/// Branches of the batch before the conditional one.
pub(crate) fn negatives(settings: &Settings, cfg: f64) -> usize {
    match cfg != 1.0 {
        true if guidance::wants_empty(&settings.knobs) => 2,
        guided => usize::from(guided),
    }
}

/// Guidance of the evaluations among operations of a run of `steps`. `is_new`: nothing came before them.
fn guides(settings: &Settings, cfg: f64, ops: &[Op], steps: usize, is_new: bool) -> Result<Vec<Guide>, EngineError> {
    let mut all = Vec::new();
    for op in ops {
        let Op::Denoise { step, timestep, scaling, .. } = op else { continue };
        let ask = Ask {
            knobs: &settings.knobs,
            cfg,
            rescale: settings.cfg_rescale,
            step: *step,
            steps,
            first: is_new && all.is_empty(),
            timestep: *timestep,
            scaling: *scaling,
        };
        all.push(guidance::guide(&ask)?);
    }
    Ok(all)
}

impl Guides {
    /// Guidance of a plan. Errors: settings that do not go together.
    pub fn new(
        gpu: &Gpu,
        settings: &Settings,
        cfg: f64,
        plan: &Plan,
        size: Size,
        channels: usize,
    ) -> Result<Guides, EngineError> {
        let all = guides(settings, cfg, &plan.ops, plan.steps, true)?;
        let latent = |what: &str| -> Result<Tensor, EngineError> {
            let tensor = Tensor::empty(gpu, what, size.pixels(), channels)?;
            tensor.write(gpu, &vec![0.0; size.pixels() * channels]);
            Ok(tensor)
        };
        let many = |what: &str, n: usize| (0..n).map(|_| latent(what)).collect::<Result<Vec<_>, _>>();
        let most = |f: &dyn Fn(&Guide) -> usize| all.iter().map(f).max().unwrap_or(0);
        let results = many("branch", most(&|g| g.branches.len()))?;
        let (kept, temps) = (many("kept", 2)?, many("guidance", most(&|g| g.temps))?);
        Ok(Guides { all, next: Cell::new(0), is_new: true, kept, temps, results })
    }

    /// Guidance of operations that became known during the run; what was guided before is forgotten, what it left for later is not.
    pub fn follow(&mut self, settings: &Settings, cfg: f64, ops: &[Op], plan: &Plan) -> Result<(), EngineError> {
        self.all = guides(settings, cfg, ops, plan.steps, self.is_new)?;
        self.is_new &= self.all.is_empty();
        self.next.set(0);
        Ok(())
    }

    fn any(&self, f: impl Fn(&Branch) -> bool) -> bool {
        self.all.iter().flat_map(|g| &g.branches).any(f)
    }
}

/// A pass over one branch, and what it reads.
struct Single {
    pass: UNetPass,
    part: Conditioning,
}

/// The recorded passes of a run.
pub(crate) struct Passes {
    /// All branches at once; none where they run one after the other.
    joint: Option<UNetPass>,
    /// One branch by itself.
    single: Option<Single>,
    perturbed: Vec<(Perturbation, Single)>,
    /// Branches before the conditional one.
    negatives: usize,
}

fn places(of: &[guidance::Place]) -> Vec<Place> {
    let side = |s: guidance::Side| match s {
        guidance::Side::Down => Side::Down,
        guidance::Side::Mid => Side::Mid,
        guidance::Side::Up => Side::Up,
    };
    of.iter().map(|p| Place { side: side(p.side), level: p.level, index: p.index }).collect()
}

fn attention(perturbation: &Perturbation) -> (Attention, Vec<Place>) {
    match perturbation {
        Perturbation::Identity(at) => (Attention::Identity, places(at)),
        Perturbation::Blurred(at, sigma) => (Attention::Blurred(*sigma), places(at)),
        Perturbation::Skipped(at) => (Attention::Skipped, places(at)),
    }
}

impl Passes {
    /// How the branches run; none where there is only one.
    pub fn batching(&self) -> Option<Batching> {
        let how = if self.joint.is_some() { Batching::Together } else { Batching::OneByOne };
        (self.negatives > 0).then_some(how)
    }
}

/// How the branches of guidance (negative prompt, prompt) run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// All in one batch.
    Together,
    /// One after the other, in half the memory.
    OneByOne,
}

/// What is recorded.
pub(crate) struct Recording<'a> {
    pub gpu: &'a Arc<Gpu>,
    pub unet: &'a UNet,
    /// What the whole batch reads.
    pub live: &'a Conditioning,
    /// Latents of one branch.
    pub size: Size,
    /// Samples of all branches, and branches before the conditional one.
    pub samples: usize,
    pub negatives: usize,
    /// The device has no room for all branches at once.
    pub one_by_one: bool,
    /// What the U-Net reads after the latents, NHWC, for every sample.
    pub extra: Option<&'a [f32]>,
    pub settings: &'a Settings,
}

impl Recording<'_> {
    /// Records every pass that the guides ask for. `fold`: makes two branches of the many of composed prompts.
    pub fn passes(
        &self,
        guides: &Guides,
        fold: Option<&dyn Fn(UNetPass) -> Result<UNetPass, EngineError>>,
    ) -> Result<Passes, EngineError> {
        let inside = guides.all.first().map(|g| g.inside.clone()).unwrap_or_default();
        let plain = Tweaks {
            freeu: inside.freeu,
            skips: inside.skips,
            tap: guides.any(|b| matches!(b, Branch::Degraded { .. })),
            attention: None,
        };
        let all = Size { n: self.samples, ..self.size };
        let batch = self.settings.knobs.get(&guidance::BATCH) as usize;
        let several = self.negatives > 0;
        let may_part = several && fold.is_none();
        let joint = match batch {
            2 if may_part => None,
            0 if may_part && self.one_by_one => None,
            _ => match self.unet.record_with(self.gpu, all, self.live, &plain) {
                Ok(pass) => Some(pass),
                // What the device cannot hold at once it may hold in parts.
                Err(ModelError::Tensor(TensorError::TooLarge { .. })) if batch == 0 && may_part => None,
                Err(error) => return Err(error.into()),
            },
        };
        let joint = match joint {
            Some(pass) => {
                if let (Some(target), Some(data)) = (&pass.extra, self.extra) {
                    target.write(self.gpu, data);
                }
                Some(match fold {
                    Some(fold) => fold(pass)?,
                    None => pass,
                })
            }
            None => None,
        };
        if let (Some(_), false) = (fold, guidance::is_plain(&self.settings.knobs)) {
            let why =
                "PAG, SEG, SAG, SLG and Perp-Neg do not go together with AND in the prompt or with a pix2pix model";
            return Err(EngineError::Input(why.into()));
        }
        let lonely = several && guides.all.iter().any(|g| g.branches.first() == Some(&Branch::Cond));
        let degraded = guides.any(|b| matches!(b, Branch::Degraded { .. }));
        let single = match joint.is_none() || (lonely && fold.is_none()) || degraded {
            true => Some(self.single(&plain)?),
            false => None,
        };
        let mut perturbed: Vec<(Perturbation, Single)> = Vec::new();
        for branch in guides.all.iter().flat_map(|g| &g.branches) {
            let Branch::Perturbed(how) = branch else { continue };
            if perturbed.iter().all(|(known, _)| known != how) {
                let (how_inside, at) = attention(how);
                self.unet.check_places(&at)?;
                let tweaks = Tweaks { attention: Some((how_inside, at)), tap: false, ..plain.clone() };
                perturbed.push((how.clone(), self.single(&tweaks)?));
            }
        }
        Ok(Passes { joint, single, perturbed, negatives: self.negatives })
    }

    fn single(&self, tweaks: &Tweaks) -> Result<Single, EngineError> {
        let n = self.size.n;
        let part = self.live.part(self.gpu, n)?;
        let pass = self.unet.record_with(self.gpu, self.size, &part, tweaks)?;
        if let (Some(target), Some(data)) = (&pass.extra, self.extra) {
            // Every branch reads the same, the conditional one last.
            let one = data.len() / self.samples * n;
            target.write(self.gpu, &data[data.len() - one..]);
        }
        Ok(Single { pass, part })
    }
}

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    pub guides: &'a Guides,
    pub passes: &'a Passes,
    pub live: &'a Conditioning,
    pub size: Size,
    pub channels: usize,
    pub x: &'a Tensor,
    pub scaling: &'a Scaling,
}

impl<'a> Evaluation<'a> {
    /// Records the evaluation: guided estimate into `out`, the unconditional one into `uncond`. The step's time embedding is chosen already.
    pub fn record(&self, rec: &mut Recorder, out: &Tensor, uncond: Option<&Tensor>) -> Result<(), EngineError> {
        let at = self.guides.next.get();
        let Some(guide) = self.guides.all.get(at) else {
            return Err(EngineError::Input("the run has more evaluations than its plan".into()));
        };
        self.guides.next.set(at + 1);
        let rows = self.size.pixels();
        let branches = self.ask(rec, guide)?;
        for op in &guide.ops {
            self.operate(rec, op, &branches)?;
        }
        self.sum(rec, &guide.clean, &branches, out, rows)?;
        if let Some(uncond) = uncond {
            self.sum(rec, &guide.uncond, &branches, uncond, rows)?;
        }
        Ok(())
    }

    /// Runs the branches; where each one's result lies.
    fn ask(&self, rec: &mut Recorder, guide: &Guide) -> Result<Vec<(&'a Tensor, usize)>, EngineError> {
        let (passes, n, rows) = (self.passes, self.size.n, self.size.pixels());
        let row_of = |b: &Branch| match b {
            Branch::Uncond => 0,
            Branch::Empty => 1,
            _ => passes.negatives,
        };
        let input = self.scaling.input as f32;
        let whole =
            guide.branches.iter().filter(|b| matches!(b, Branch::Uncond | Branch::Cond | Branch::Empty)).count();
        // The batch runs as one where all of it is wanted, or where nothing smaller was recorded.
        let joint = passes.joint.as_ref().filter(|_| whole == passes.negatives + 1 || passes.single.is_none());
        if let Some(pass) = joint {
            let blocks = pass.input.rows / rows;
            for block in 0..blocks {
                rec.combine(&[Term::new(self.x, input)], &pass.input, block * rows, rows)?;
            }
            rec.include(&pass.program);
        }
        let mut found: Vec<(&'a Tensor, usize)> = Vec::new();
        let mut degraded = None;
        for (i, branch) in guide.branches.iter().enumerate() {
            let whole = !matches!(branch, Branch::Perturbed(_) | Branch::Degraded { .. });
            match joint.filter(|_| whole) {
                Some(pass) => found.push((&pass.output, row_of(branch) * rows)),
                None => {
                    let (single, of) = match branch {
                        Branch::Perturbed(how) => {
                            (passes.perturbed.iter().find(|(known, _)| known == how).map(|(_, s)| s), branch)
                        }
                        Branch::Degraded { of, .. } => (passes.single.as_ref(), &guide.branches[*of]),
                        _ => (passes.single.as_ref(), branch),
                    };
                    let (Some(single), Some(result)) = (single, self.guides.results.get(i)) else {
                        return Err(EngineError::Input("guidance: a pass was not recorded".into()));
                    };
                    let blurred: Option<Tensor> = match branch {
                        Branch::Degraded { .. } => degraded.take(),
                        _ => None,
                    };
                    rec.combine(&[Term::new(blurred.as_ref().unwrap_or(self.x), input)], &single.pass.input, 0, rows)?;
                    self.live.feed(rec, &single.part, row_of(of) * n);
                    rec.include(&single.pass.program);
                    rec.copy(&single.pass.output, 0, result, 0, result.bytes());
                    found.push((result, 0));
                }
            }
            // At once: the next branch may run through the same pass and overwrite what this one looked at.
            let asked = guide.branches.iter().find_map(|b| match b {
                Branch::Degraded { of, sigma } if *of == i => Some(*sigma),
                _ => None,
            });
            if let Some(sigma) = asked {
                let pass = joint.or(passes.single.as_ref().map(|s| &s.pass));
                degraded = Some(self.degrade(rec, found[i], pass, joint.map_or(0, |_| row_of(branch)), sigma)?);
            }
        }
        Ok(found)
    }

    /// x, with a branch's estimate blurred where its middle block looks.
    fn degrade(
        &self,
        rec: &mut Recorder,
        (of, row): (&Tensor, usize),
        pass: Option<&UNetPass>,
        branch: usize,
        sigma: f64,
    ) -> Result<Tensor, EngineError> {
        let rows = self.size.pixels();
        let Some(tap) = pass.and_then(|p| p.tap.as_ref()) else {
            return Err(EngineError::Input("guidance: the middle block's attention was not kept".into()));
        };
        let cells = Size { n: self.size.n, ..tap.cells };
        let clean = rec.tensor(rows, self.channels)?;
        let estimate = Term { tensor: of, row, coef: self.scaling.output as f32 };
        rec.combine(&[Term::new(self.x, self.scaling.skip as f32), estimate], &clean, 0, rows)?;
        let blurred = rec.blur(Operand { tensor: &clean, at: 0 }, self.channels, self.size, Some(sigma), SAG_REACH)?;
        let out = rec.tensor(rows, self.channels)?;
        rec.degrade((self.x, &clean, &blurred), (&tap.mass, branch * cells.pixels()), self.size, cells, &out)?;
        Ok(out)
    }

    fn term(&self, value: Value, branches: &[(&'a Tensor, usize)], coef: f64) -> Term<'a> {
        let (tensor, row) = match value {
            Value::Latent => (self.x, 0),
            Value::Branch(i) => branches[i],
            Value::Temp(i) => (&self.guides.temps[i], 0),
            Value::Kept(i) => (&self.guides.kept[i], 0),
        };
        Term { tensor, row, coef: coef as f32 }
    }

    fn sum(
        &self,
        rec: &mut Recorder,
        terms: &Linear,
        branches: &[(&'a Tensor, usize)],
        dst: &Tensor,
        rows: usize,
    ) -> Result<(), EngineError> {
        let mut all: Vec<Term<'_>> = terms.iter().map(|(v, c)| self.term(*v, branches, *c)).collect();
        if all.is_empty() {
            all.push(Term::new(self.x, 0.0));
        }
        Ok(rec.combine(&all, dst, 0, rows)?)
    }

    fn operate(&self, rec: &mut Recorder, op: &GuideOp, branches: &[(&'a Tensor, usize)]) -> Result<(), EngineError> {
        let (rows, n) = (self.size.pixels(), self.size.n);
        let of = |value: &Value| self.term(*value, branches, 1.0);
        let project = |rec: &mut Recorder, dst: &Value, a: &Value, b: &Value, how| -> Result<(), EngineError> {
            // Bindings must not alias: the result is made beside and copied.
            let made = rec.tensor(rows, self.channels)?;
            rec.project(of(a), of(b), n, how, &made)?;
            rec.copy(&made, 0, of(dst).tensor, 0, made.bytes());
            Ok(())
        };
        match op {
            GuideOp::Combine { dst, terms } => self.sum(rec, terms, branches, of(dst).tensor, rows),
            GuideOp::Project { dst, a, b, keep, along, eps } => {
                let how = Projection::Parallel { keep: *keep as f32, along: *along as f32, eps: *eps as f32 };
                project(rec, dst, a, b, how)
            }
            GuideOp::Dominant { dst, a, b } => project(rec, dst, a, b, Projection::Dominant),
            GuideOp::Shorten { x, radius } => project(rec, x, x, x, Projection::Shorten(*radius as f32)),
            GuideOp::Rescale { x, like, phi } => {
                let like = of(like);
                Ok(rec.cfg_rescale(of(x).tensor, like.tensor, like.row, n, *phi as f32)?)
            }
            GuideOp::Threshold { x, like, percentile } => {
                Ok(rec.threshold(of(x).tensor, of(like).tensor, n, *percentile)?)
            }
        }
    }
}
