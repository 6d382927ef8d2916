//! One run of the sampler over a batch of latents: a plan carried out step by step.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use admix_sample::{Adaptive, Op, Plan};
use admix_tensor::Gpu;
use admix_tensor::kernels::Picture as Size;
use web_time::Instant;

use crate::EngineError;
use crate::conditioning::Context;
use crate::conditioning::branches::{Fold, Prompts};
use crate::control::{Control, Progress};
use crate::denoise::{Denoiser, Registers};
use crate::guides::{Guides, Passes, Recording};
use crate::mask::Inpaint;
use crate::networks::{Networks, Part};
use crate::settings::Settings;
use crate::start::Noise;

/// Everything a run reads.
pub(crate) struct Run<'a> {
    pub gpu: &'a Arc<Gpu>,
    pub settings: &'a Settings,
    pub context: &'a Context,
    pub plan: &'a Plan,
    /// How it goes on, where its steps follow from what came before; used up by the run.
    pub adaptive: Cell<Option<Box<dyn Adaptive>>>,
    /// Latents of one half of the batch.
    pub size: Size,
    pub channels: usize,
    /// Guidance scale in force; 1 runs without the unconditional half.
    pub cfg: f64,
    /// Channels that the U-Net reads after the latents, NHWC, for every sample of all branches.
    pub extra: Option<Vec<f32>>,
    /// How branches become halves, where they are not those already.
    pub fold: Option<Fold>,
    /// What holds the rest of a picture in place.
    pub inpaint: Option<Inpaint>,
    /// Part of the sampling range each un-merged adapter acts in, by its number in the recipe.
    pub ranges: &'a BTreeMap<usize, (f64, f64)>,
    /// Steps of runs before this one and of all of them, for progress.
    pub before: usize,
    pub total: usize,
}

/// What previews of a run have cost.
struct Previews {
    spent: f64,
    since: Instant,
}

impl Previews {
    /// Whether one more may be made (see [`Control::preview_share`]).
    fn fits(&self, share: f64) -> bool {
        share <= 0.0 || self.spent <= share * self.since.elapsed().as_secs_f64()
    }
}

impl Run<'_> {
    /// Carries out the plan from `x` (NHWC) and gives back the final latents.
    pub async fn latents(
        &self,
        networks: &mut Networks,
        x: &[f32],
        noise: &mut Noise<'_>,
        control: &mut Control,
    ) -> Result<Vec<f32>, EngineError> {
        let registers = Registers::new(self.gpu, self.plan.registers, self.size, self.channels, x)?;
        self.carry_out(networks, &registers, noise, control).await?;
        let latents = registers.get(self.plan.result.0).read(self.gpu).await?;
        if latents.iter().any(|v| !v.is_finite()) {
            let why = "the latents are not finite (NaN or infinite): a weight or a merge is out of range; lower the adapters' weights or the CFG scale";
            return Err(EngineError::Input(why.into()));
        }
        Ok(latents)
    }

    /// Carries out the plan on latents in registers, and leaves its results there.
    pub async fn carry_out(
        &self,
        networks: &mut Networks,
        registers: &Registers,
        noise: &mut Noise<'_>,
        control: &mut Control,
    ) -> Result<(), EngineError> {
        let (gpu, size) = (self.gpu, self.size);
        networks.take_turn(Part::Denoise, control).await?;
        let mut source = Source::new(self.plan, self.adaptive.take());
        let mut timesteps = source.timesteps(self.plan);
        let count = self.plan.steps;
        // Which un-merged adapters act, step by step; the U-Net is recorded once for every distinct set.
        let mut recorded: Option<(Vec<usize>, Prompts, Passes)> = None;
        let mut guides = Guides::new(gpu, self.settings, self.cfg, self.plan, size, self.channels)?;
        let mut previews = Previews { spent: 0.0, since: Instant::now() };
        let mut error = None;
        while let Some((step, ops)) = source.next(error.take())? {
            control.check()?;
            let at = step as f64 / count as f64;
            let acts = |r: &(f64, f64)| r.0 <= at && at < r.1;
            let active: Vec<usize> = self.ranges.iter().filter(|(_, r)| acts(r)).map(|(i, _)| *i).collect();
            if recorded.as_ref().is_none_or(|r| r.0 != active) {
                drop(recorded.take());
                networks.set_active(|i| active.contains(&i))?;
                let (prompts, passes) = self.record(networks, &guides, &timesteps)?;
                networks.batching = passes.batching();
                recorded = Some((active, prompts, passes));
            }
            let Some((_, prompts, passes)) = &mut recorded else { continue };
            prompts.switch(gpu, self.context.set(step));
            if source.is_adaptive() {
                guides.follow(self.settings, self.cfg, &ops, self.plan)?;
                if told(&ops, &mut timesteps) {
                    prompts.retime(gpu, &networks.unet, &timesteps, self.context)?;
                }
            }
            let denoiser = Denoiser {
                gpu,
                passes,
                guides: &guides,
                cond: &prompts.live,
                size,
                channels: self.channels,
                timesteps: &timesteps,
            };
            let mut draw = |index| noise.draw(index);
            match &self.inpaint {
                Some(inpaint) => inpaint.submit_step(&denoiser, &ops, registers, &mut draw)?,
                None => denoiser.submit_step(&ops, registers, &mut draw)?,
            }
            // One step in flight at a time: cancelling answers within a step, and progress tells the truth.
            gpu.finished().await?;
            let done = self.before + step + 1;
            match ops.last() {
                Some(Op::Error { .. }) => error = Some(registers.error(gpu).await?),
                Some(Op::StepEnd { x, denoised, .. }) => {
                    let is_due =
                        control.preview_every > 0 && done.is_multiple_of(control.preview_every) && done < self.total;
                    let mut preview = None;
                    if is_due && previews.fits(control.preview_share) {
                        let clock = Instant::now();
                        preview = networks.preview(registers.get(denoised.unwrap_or(*x).0), size).await?;
                        previews.spent += clock.elapsed().as_secs_f64();
                    }
                    control.report(Progress::Step { done, total: self.total, preview })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Records the passes for the adapters that act now.
    fn record(
        &self,
        networks: &Networks,
        guides: &Guides,
        timesteps: &[f64],
    ) -> Result<(Prompts, Passes), EngineError> {
        let (gpu, size, guided) = (self.gpu, self.size, self.cfg != 1.0);
        let prompts = Prompts::new(gpu, &networks.unet, timesteps, self.context)?;
        let over = |pass| match &self.fold {
            Some(fold) => fold.over(gpu, pass, size, guided),
            None => Ok(pass),
        };
        let negatives = if self.fold.is_some() { usize::from(guided) } else { self.context.negatives };
        let recording = Recording {
            gpu,
            unet: &networks.unet,
            live: &prompts.live,
            size,
            samples: self.context.samples,
            negatives,
            one_by_one: networks.one_by_one,
            extra: self.extra.as_deref(),
            settings: self.settings,
        };
        let passes = recording.passes(guides, self.fold.as_ref().map(|_| &over as _))?;
        Ok((prompts, passes))
    }
}

/// A step of a run and operations that belong to it.
type Chunk<'a> = (usize, Cow<'a, [Op]>);

/// Where the operations of a run come from.
enum Source<'a> {
    /// The plan's steps and how many are done.
    Known(Vec<&'a [Op]>, usize),
    Adaptive(Box<dyn Adaptive>),
}

/// Most evaluations between two decisions of an adaptive run.
const MOST_EVALUATIONS: usize = 3;

impl<'a> Source<'a> {
    fn new(plan: &'a Plan, adaptive: Option<Box<dyn Adaptive>>) -> Source<'a> {
        match adaptive {
            Some(adaptive) => Source::Adaptive(adaptive),
            None => Source::Known(Denoiser::steps(plan), 0),
        }
    }

    fn is_adaptive(&self) -> bool {
        matches!(self, Source::Adaptive(_))
    }

    /// The timesteps of the time table, as far as they are known.
    fn timesteps(&self, plan: &Plan) -> Vec<f64> {
        match self {
            Source::Adaptive(_) => vec![0.0; MOST_EVALUATIONS],
            Source::Known(..) => match plan.timesteps() {
                none if none.is_empty() => vec![0.0],
                all => all,
            },
        }
    }

    /// The next operations and the step they belong to; `error` is what the last ones measured.
    fn next(&mut self, error: Option<f64>) -> Result<Option<Chunk<'a>>, EngineError> {
        match self {
            Source::Known(steps, done) => {
                let next = steps.get(*done).map(|ops| (*done, Cow::Borrowed(*ops)));
                *done += 1;
                Ok(next)
            }
            Source::Adaptive(adaptive) => {
                let Some(ops) = adaptive.next(error)? else { return Ok(None) };
                let step = ops.iter().find_map(|op| match op {
                    Op::Denoise { step, .. } | Op::StepEnd { step, .. } => Some(*step),
                    _ => None,
                });
                Ok(Some((step.unwrap_or(0), Cow::Owned(ops))))
            }
        }
    }
}

/// Puts the timesteps that operations ask for into the table's rows. False: they ask for none.
fn told(ops: &[Op], rows: &mut [f64]) -> bool {
    let mut asked = ops.iter().filter_map(|op| match op {
        Op::Denoise { timestep, .. } => Some(*timestep),
        _ => None,
    });
    let Some(first) = asked.next() else { return false };
    let mut all = std::iter::once(first).chain(asked);
    // Rows that are not asked for repeat one that is.
    rows.iter_mut().for_each(|row| *row = all.next().unwrap_or(first));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_time_table_follow_the_operations() {
        use admix_sample::{Reg, Scaling, X};
        let scaling = Scaling { input: 1.0, skip: 1.0, output: 1.0 };
        let ask =
            |timestep| Op::Denoise { x: X, sigma: 1.0, timestep, scaling, out: Reg(1), uncond_out: None, step: 0 };
        let mut rows = [0.0; MOST_EVALUATIONS];
        assert!(told(&[ask(7.0), ask(5.5)], &mut rows));
        assert_eq!(rows, [7.0, 5.5, 7.0]);
        assert!(!told(&[Op::Combine { dst: X, terms: Vec::new() }], &mut rows));
    }
}
