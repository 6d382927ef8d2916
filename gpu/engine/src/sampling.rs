//! One run of the sampler over a batch of latents: a plan carried out step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use admix_sample::{Op, Plan};
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
        let mut timesteps = self.plan.timesteps();
        if timesteps.is_empty() {
            timesteps.push(0.0);
        }
        let steps = Denoiser::steps(self.plan);
        let count = steps.len();
        // Which un-merged adapters act, step by step; the U-Net is recorded once for every distinct set.
        let mut recorded: Option<(Vec<usize>, Prompts, Passes)> = None;
        let guides = Guides::new(gpu, self.settings, self.cfg, self.plan, size, self.channels)?;
        let mut previews = Previews { spent: 0.0, since: Instant::now() };
        for (done, ops) in steps.into_iter().enumerate() {
            control.check()?;
            let at = done as f64 / count as f64;
            let acts = |r: &(f64, f64)| r.0 <= at && at < r.1;
            let active: Vec<usize> = self.ranges.iter().filter(|(_, r)| acts(r)).map(|(i, _)| *i).collect();
            if recorded.as_ref().is_none_or(|r| r.0 != active) {
                drop(recorded.take());
                networks.set_active(|i| active.contains(&i));
                let prompts = Prompts::new(gpu, &networks.unet, &timesteps, self.context)?;
                let guided = self.cfg != 1.0;
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
                    extra: self.extra.as_deref(),
                    settings: self.settings,
                };
                let passes = recording.passes(&guides, self.fold.as_ref().map(|_| &over as _))?;
                recorded = Some((active, prompts, passes));
            }
            let Some((_, prompts, passes)) = &mut recorded else { continue };
            prompts.switch(gpu, self.context.set(done));
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
                Some(inpaint) => inpaint.submit_step(&denoiser, ops, registers, &mut draw)?,
                None => denoiser.submit_step(ops, registers, &mut draw)?,
            }
            // One step in flight at a time: cancelling answers within a step, and progress tells the truth.
            gpu.finished().await?;
            let done = self.before + done + 1;
            let is_due = control.preview_every > 0 && done.is_multiple_of(control.preview_every) && done < self.total;
            let preview = match ops.last() {
                Some(Op::StepEnd { x, denoised, .. }) if is_due && previews.fits(control.preview_share) => {
                    let clock = Instant::now();
                    let preview = networks.preview(registers.get(denoised.unwrap_or(*x).0), size).await?;
                    previews.spent += clock.elapsed().as_secs_f64();
                    preview
                }
                _ => None,
            };
            control.report(Progress::Step { done, total: self.total, preview })?;
        }
        Ok(())
    }
}
