//! Switching prompts between steps, and more branches of a batch than [unconditional, conditional].

use std::sync::Arc;

use admix_model::unet::{Conditioning, UNet, UNetPass};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::kernels::combine::Term;
use admix_tensor::{Gpu, Recorder, Tensor};

use super::{Context, Set};
use crate::EngineError;

/// What the U-Net's steps read, and what is copied there when the prompt changes: everything about a prompt is computed once.
pub(crate) struct Prompts {
    /// Read by the recorded steps.
    pub live: Conditioning,
    /// One for each distinct prompt, where there are several.
    bank: Vec<Conditioning>,
    current: usize,
}

impl Prompts {
    /// Computes the conditioning of every set; the first set's is in force.
    pub fn new(gpu: &Arc<Gpu>, unet: &UNet, timesteps: &[f64], context: &Context) -> Result<Prompts, EngineError> {
        let make = |set: &Set| {
            let cond = unet.condition(gpu, timesteps, &set.states, context.samples, &set.extras)?;
            cond.prelude.submit();
            Ok::<_, EngineError>(cond)
        };
        let first = context.sets.first().ok_or_else(|| EngineError::Input("there is no prompt".into()))?;
        let live = make(first)?;
        let several = context.sets.len() > 1;
        let bank = if several { context.sets.iter().map(make).collect::<Result<_, _>>()? } else { Vec::new() };
        Ok(Prompts { live, bank, current: 0 })
    }

    /// Computes what the U-Net is told of time anew, for timesteps that became known during the run: as many as before.
    pub fn retime(&self, gpu: &Arc<Gpu>, unet: &UNet, timesteps: &[f64], context: &Context) -> Result<(), EngineError> {
        let Some(set) = context.sets.get(self.current) else { return Ok(()) };
        Ok(unet.retime(gpu, &self.live, timesteps, context.samples, &set.extras)?)
    }

    /// Puts a set in force: copies on the device.
    pub fn switch(&mut self, gpu: &Arc<Gpu>, set: usize) {
        let Some(source) = self.bank.get(set).filter(|_| set != self.current) else { return };
        let mut rec = Recorder::new(gpu);
        let table = (&source.time_table, &self.live.time_table);
        for (from, to) in source.keys.iter().zip(&self.live.keys).chain([table]) {
            rec.copy(from, 0, to, 0, to.bytes());
        }
        rec.finish().submit();
        self.current = set;
    }
}

/// How the results of several branches become an unconditional and a conditional one: factors by branch, for guidance to take them as
/// uncond + scale (cond - uncond).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fold {
    pub uncond: Vec<f64>,
    pub cond: Vec<f64>,
}

impl Fold {
    /// Composable diffusion (arXiv 2206.01714): cond = uncond + sum of weight (branch - uncond); branch 0 is the unconditional one.
    pub fn composed(weights: &[f64]) -> Fold {
        let mut uncond = vec![0.0; weights.len() + 1];
        uncond[0] = 1.0;
        let cond = [&[1.0 - weights.iter().sum::<f64>()], weights].concat();
        Fold { uncond, cond }
    }

    /// InstructPix2Pix (Brooks et al. 2022, arXiv 2211.09800, equation 3): branches are nothing, the picture alone, picture and prompt (or several of
    /// them); `scale` is the picture's guidance.
    pub fn pix2pix(scale: f64, weights: &[f64]) -> Fold {
        let mut uncond = vec![0.0; weights.len() + 2];
        (uncond[0], uncond[1]) = (1.0 - scale, scale);
        let mut cond = uncond.clone();
        cond[1] -= weights.iter().sum::<f64>();
        cond[2..].iter_mut().zip(weights).for_each(|(c, w)| *c += w);
        Fold { uncond, cond }
    }

    /// A pass over all branches that looks like one over [unconditional, conditional] (or, unguided, over the conditional one alone): its input is
    /// spread over the branches, their results are folded.
    pub fn over(&self, gpu: &Arc<Gpu>, inner: UNetPass, size: Size, guided: bool) -> Result<UNetPass, EngineError> {
        let rows = size.pixels();
        let halves = if guided { 2 } else { 1 };
        let input = Tensor::empty(gpu, "folded input", halves * rows, inner.input.cols)?;
        input.write(gpu, &vec![0.0; halves * rows * inner.input.cols]);
        let output = Tensor::empty(gpu, "folded output", halves * rows, inner.output.cols)?;
        let mut rec = Recorder::new(gpu);
        let block = input.bytes() / halves as u64;
        for branch in 0..self.cond.len() as u64 {
            rec.copy(&input, 0, &inner.input, branch * block, block);
        }
        rec.include(&inner.program);
        let parts = if guided { vec![&self.uncond, &self.cond] } else { vec![&self.cond] };
        for (half, factors) in parts.into_iter().enumerate() {
            let used = factors.iter().enumerate().filter(|(_, f)| **f != 0.0);
            let mut terms: Vec<Term<'_>> =
                used.map(|(branch, f)| Term { tensor: &inner.output, row: branch * rows, coef: *f as f32 }).collect();
            if terms.is_empty() {
                terms.push(Term::new(&inner.output, 0.0));
            }
            rec.combine(&terms, &output, half * rows, rows)?;
        }
        Ok(UNetPass { input, extra: None, output, tap: None, program: rec.finish() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// uncond + scale (cond - uncond) with folded branches is what the papers write.
    #[test]
    fn folds_are_the_papers_sums() {
        let apply = |f: &Fold, y: &[f64], scale: f64| {
            let sum = |k: &[f64]| k.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
            sum(&f.uncond) + scale * (sum(&f.cond) - sum(&f.uncond))
        };
        let y = [0.3, -1.2, 2.0];
        let composed = apply(&Fold::composed(&[0.7, 0.4]), &y, 5.0);
        assert!((composed - (0.3 + 5.0 * (0.7 * (-1.2 - 0.3) + 0.4 * (2.0 - 0.3)))).abs() < 1e-12);
        let edited = apply(&Fold::pix2pix(1.5, &[1.0]), &y, 7.5);
        assert!((edited - (0.3 + 1.5 * (-1.2 - 0.3) + 7.5 * (2.0 + 1.2))).abs() < 1e-12);
    }
}
