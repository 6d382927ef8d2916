//! Carries out a sampling plan on the device: every operation is arithmetic there, the host only knows sigmas.

use std::sync::Arc;

use admix_model::unet::Conditioning;
use admix_sample::{Op, Plan, Scaling};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::kernels::combine::Term;
use admix_tensor::{Gpu, Recorder, Tensor};

use crate::EngineError;
use crate::guides::{Evaluation, Guides, Passes};

/// Everything one run of a plan needs.
pub(crate) struct Denoiser<'a> {
    /// The device.
    pub gpu: &'a Arc<Gpu>,
    /// The recorded passes of the U-Net.
    pub passes: &'a Passes,
    /// What each evaluation asks of them.
    pub guides: &'a Guides,
    /// Time table and keys of the whole batch.
    pub cond: &'a Conditioning,
    /// Latents of one branch.
    pub size: Size,
    /// Latent channels.
    pub channels: usize,
    /// Timesteps in the order of the time table's rows.
    pub timesteps: &'a [f64],
}

/// The latents of a run in progress.
pub struct Registers {
    tensors: Vec<Tensor>,
    /// One number: the error of an adaptive step.
    error: Tensor,
}

impl Registers {
    /// `count` latents, the first holding `x` (NHWC).
    pub fn new(gpu: &Gpu, count: usize, size: Size, channels: usize, x: &[f32]) -> Result<Registers, EngineError> {
        let make = |i| Tensor::empty(gpu, &format!("latent {i}"), size.pixels(), channels);
        let tensors = (0..count.max(1)).map(make).collect::<Result<Vec<_>, _>>()?;
        tensors[0].write(gpu, x);
        Ok(Registers { tensors, error: Tensor::empty(gpu, "step error", 1, 1)? })
    }

    /// The error that was measured last. The one number that sampling ever reads back, for solvers that choose their steps by it.
    pub async fn error(&self, gpu: &Gpu) -> Result<f64, EngineError> {
        Ok(f64::from(self.error.read(gpu).await?.first().copied().unwrap_or(f32::NAN)))
    }

    /// Register `i`.
    pub fn get(&self, i: usize) -> &Tensor {
        &self.tensors[i]
    }
}

impl Denoiser<'_> {
    /// Splits a plan into steps: each ends with its `StepEnd`.
    pub fn steps(plan: &Plan) -> Vec<&[Op]> {
        plan.ops.split_inclusive(|op| matches!(op, Op::StepEnd { .. })).collect()
    }

    /// Records and submits the operations of one step. `noise` gives host noise (NHWC) by its index.
    pub fn submit_step(
        &self,
        ops: &[Op],
        registers: &Registers,
        noise: &mut dyn FnMut(usize) -> Vec<f32>,
    ) -> Result<(), EngineError> {
        let rows = self.size.pixels();
        let mut rec = Recorder::new(self.gpu);
        for op in ops {
            match op {
                Op::Denoise { x, scaling, timestep, out, uncond_out, .. } => {
                    let x = registers.get(x.0);
                    let uncond = uncond_out.map(|r| registers.get(r.0));
                    self.denoise(&mut rec, x, scaling, *timestep, registers.get(out.0), uncond)?;
                }
                Op::Combine { dst, terms } => {
                    let terms: Vec<Term<'_>> =
                        terms.iter().map(|(r, c)| Term::new(registers.get(r.0), *c as f32)).collect();
                    rec.combine(&terms, registers.get(dst.0), 0, rows)?;
                }
                Op::Noise { dst, index } => {
                    let staged = Tensor::upload(self.gpu, "noise", &noise(*index), rows, self.channels)?;
                    let dst = registers.get(dst.0);
                    rec.copy(&staged, 0, dst, 0, dst.bytes());
                }
                Op::Snap { x, bits } => rec.snap(registers.get(x.0), *bits)?,
                Op::Error { low, high, before, atol, rtol } => {
                    let latents = [low, high, before].map(|r| registers.get(r.0));
                    rec.step_error(latents, (*atol as f32, *rtol as f32), &registers.error)?;
                }
                Op::StepEnd { .. } => {}
            }
        }
        rec.finish().submit();
        Ok(())
    }

    /// The guided estimate of the clean latent into `out`.
    fn denoise(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        scaling: &Scaling,
        timestep: f64,
        out: &Tensor,
        uncond_out: Option<&Tensor>,
    ) -> Result<(), EngineError> {
        let row = self.timesteps.iter().position(|t| *t == timestep).unwrap_or(0);
        self.cond.select(rec, row);
        let (guides, passes, live) = (self.guides, self.passes, self.cond);
        let evaluation = Evaluation { guides, passes, live, size: self.size, channels: self.channels, x, scaling };
        evaluation.record(rec, out, uncond_out)
    }
}
