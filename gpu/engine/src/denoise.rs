//! Carries out a sampling plan on the device: every operation is arithmetic there, the host only knows sigmas.

use std::sync::Arc;

use admix_model::unet::{Conditioning, UNetPass};
use admix_sample::{Op, Plan, Scaling};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::kernels::combine::Term;
use admix_tensor::{Gpu, Recorder, Tensor};

use crate::EngineError;

/// Everything one run of a plan needs.
pub struct Denoiser<'a> {
    /// The device.
    pub gpu: &'a Arc<Gpu>,
    /// The recorded U-Net: with guidance its batch is [unconditional, conditional].
    pub pass: &'a UNetPass,
    /// Time table and keys.
    pub cond: &'a Conditioning,
    /// Latents of one half of the batch.
    pub size: Size,
    /// Latent channels.
    pub channels: usize,
    /// Guidance scale; 1 runs the conditional half alone.
    pub cfg: f64,
    /// Guidance rescale (0: off).
    pub rescale: f64,
    /// Timesteps in the order of the time table's rows.
    pub timesteps: &'a [f64],
}

/// The latents of a run in progress.
pub struct Registers {
    tensors: Vec<Tensor>,
}

impl Registers {
    /// `count` latents, the first holding `x` (NHWC).
    pub fn new(gpu: &Gpu, count: usize, size: Size, channels: usize, x: &[f32]) -> Result<Registers, EngineError> {
        let make = |i| Tensor::empty(gpu, &format!("latent {i}"), size.pixels(), channels);
        let tensors = (0..count.max(1)).map(make).collect::<Result<Vec<_>, _>>()?;
        tensors[0].write(gpu, x);
        Ok(Registers { tensors })
    }

    /// Register `i`.
    pub fn get(&self, i: usize) -> &Tensor {
        &self.tensors[i]
    }
}

impl Denoiser<'_> {
    /// True when both halves run.
    fn guided(&self) -> bool {
        self.cfg != 1.0
    }

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
                Op::StepEnd { .. } => {}
            }
        }
        rec.finish().submit();
        Ok(())
    }

    /// out = skip x + output f(input x), the guided estimate of the clean latent.
    fn denoise(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        scaling: &Scaling,
        timestep: f64,
        out: &Tensor,
        uncond_out: Option<&Tensor>,
    ) -> Result<(), EngineError> {
        let rows = self.size.pixels();
        let (c_skip, c_out) = (scaling.skip, scaling.output);
        let halves = if self.guided() { 2 } else { 1 };
        for half in 0..halves {
            rec.combine(&[Term::new(x, scaling.input as f32)], &self.pass.input, half * rows, rows)?;
        }
        let row = self.timesteps.iter().position(|t| *t == timestep).unwrap_or(0);
        self.cond.select(rec, row);
        rec.include(&self.pass.program);
        let y = &self.pass.output;
        let at = |half: usize, coef: f64| Term { tensor: y, row: half * rows, coef: coef as f32 };
        if !self.guided() {
            rec.combine(&[Term::new(x, c_skip as f32), at(0, c_out)], out, 0, rows)?;
            if let Some(uncond) = uncond_out {
                rec.copy(out, 0, uncond, 0, out.bytes());
            }
            return Ok(());
        }
        if self.rescale > 0.0 {
            let guided = rec.tensor(rows, self.channels)?;
            rec.combine(&[at(0, 1.0 - self.cfg), at(1, self.cfg)], &guided, 0, rows)?;
            rec.cfg_rescale(&guided, y, rows, self.size.n, self.rescale as f32)?;
            rec.combine(&[Term::new(x, c_skip as f32), Term::new(&guided, c_out as f32)], out, 0, rows)?;
        } else {
            rec.combine(
                &[Term::new(x, c_skip as f32), at(0, c_out * (1.0 - self.cfg)), at(1, c_out * self.cfg)],
                out,
                0,
                rows,
            )?;
        }
        if let Some(uncond) = uncond_out {
            rec.combine(&[Term::new(x, c_skip as f32), at(0, c_out)], uncond, 0, rows)?;
        }
        Ok(())
    }
}
