//! What a pass reads besides latents: time embeddings of all steps and the keys and values of the text, computed once.

use std::sync::Arc;

use admix_tensor::kernels::Activation;
use admix_tensor::{Gpu, Program, Recorder, Tensor};

use super::UNet;
use crate::ModelError;

/// What a U-Net is told besides timesteps and text states; empty for Stable Diffusion 1 and 2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// Pooled text of every sample of the batch, [n, pooled width]: SDXL (Podell et al. 2023, arXiv 2307.01952).
    pub pooled: Vec<f32>,
    /// SDXL's micro-conditioning of every sample, [n, 6]: original height and width, top and left of the crop, target height and width, in
    /// pixels. (The refiner has five: an aesthetic score in place of the target size.)
    pub time_ids: Vec<f64>,
    /// The guidance scale, for models that were distilled to read it (LCM, Luo et al. 2023, arXiv 2310.04378).
    pub guidance: Option<f64>,
}

/// Per-picture facts on the device, shared by all steps.
pub struct Conditioning {
    /// Time projections: [steps rows, all blocks], where a step has one row for all samples, or (with [`Extras::pooled`]) one for each.
    pub time_table: Tensor,
    /// The rows in force, copied from the table before each step: [1 or n, all blocks].
    pub time_row: Tensor,
    /// Keys and values of each cross-attention: [n tokens, 2 padded(c)].
    pub keys: Vec<Tensor>,
    /// Tokens of the context.
    pub tokens: usize,
    /// Computes the tables; run once whenever the prompt, the steps or the weights change.
    pub prelude: Arc<Program>,
}

impl Conditioning {
    /// Records the choice of a step, by its place among the timesteps.
    pub fn select(&self, rec: &mut Recorder, step: usize) {
        let bytes = self.time_row.bytes();
        rec.copy(&self.time_table, step as u64 * bytes, &self.time_row, 0, bytes);
    }
}

/// Frequencies of a sinusoidal embedding: `value * exp(-ln(10000) i / divisor)`, as [first half, second half].
fn sinusoid(value: f64, half: usize, divisor: f64, cosine_first: bool, out: &mut Vec<f32>) {
    let angle = |i: usize| value * (-(10_000f64.ln()) * i as f64 / divisor).exp();
    for second in [false, true] {
        out.extend((0..half).map(|i| {
            let (sin, cos) = angle(i).sin_cos();
            (if second == cosine_first { sin } else { cos }) as f32
        }));
    }
}

impl UNet {
    /// Sinusoidal embedding as diffusers' `get_timestep_embedding`: [values, width], computed on the host in f64.
    fn embed(&self, values: &[f64], width: usize) -> Vec<f32> {
        let half = width / 2;
        let mut out = Vec::with_capacity(values.len() * width);
        for value in values {
            sinusoid(*value, half, half as f64 - self.config.freq_shift, self.config.flip_sin_to_cos, &mut out);
            // An odd width ends in a zero.
            out.resize(out.len() + width % 2, 0.0);
        }
        out
    }

    /// The timestep embedding: [steps, first width].
    pub fn timestep_rows(&self, timesteps: &[f64]) -> Vec<f32> {
        self.embed(timesteps, self.config.block_out_channels[0])
    }

    /// Micro-conditioning numbers a sample has beside `pooled` features; none for models that take neither.
    ///
    /// # Errors
    /// A pooled text of another width than the U-Net was built for.
    pub fn time_ids(&self, pooled: usize) -> Result<Option<usize>, ModelError> {
        let Some((dim, total)) = self.added() else { return Ok(None) };
        match total.checked_sub(pooled).map(|rest| (rest / dim, rest % dim)) {
            Some((ids, 0)) if pooled > 0 => Ok(Some(ids)),
            _ => Err(ModelError::Unsupported {
                component: "unet",
                what: format!(
                    "pooled text of width {pooled}: `projection_class_embeddings_input_dim` = {total} leaves no whole number of size \
                     embeddings of width {dim} beside it"
                ),
            }),
        }
    }

    /// Width of one size embedding and of the added embedding's input, where the model has one.
    fn added(&self) -> Option<(usize, usize)> {
        self.add_embedding.as_ref()?;
        Some((self.config.addition_time_embed_dim?, self.config.projection_class_embeddings_input_dim?))
    }

    /// Whether the guidance scale is an input ([`Extras::guidance`]): such a model runs without the unconditional half.
    pub fn reads_guidance(&self) -> bool {
        self.cond_proj.is_some()
    }

    /// diffusers' `get_guidance_scale_embedding` of `guidance - 1`: sines, then cosines of a thousandfold value.
    fn guidance_row(&self, guidance: f64, width: usize) -> Vec<f32> {
        let half = width / 2;
        let mut out = Vec::with_capacity(width);
        sinusoid((guidance - 1.0) * 1000.0, half, (half as f64 - 1.0).max(1.0), false, &mut out);
        out.resize(width, 0.0);
        out
    }

    /// Inputs of the added embedding, one row a sample: pooled text, then the embedded sizes.
    fn added_rows(&self, extras: &Extras, n: usize) -> Result<Option<(Vec<f32>, usize)>, ModelError> {
        let Some((dim, total)) = self.added() else { return Ok(None) };
        let missing = |what: String| ModelError::Unsupported { component: "unet", what };
        if n == 0 || extras.pooled.is_empty() || !extras.pooled.len().is_multiple_of(n) {
            return Err(missing(format!("{} pooled features for {n} samples", extras.pooled.len())));
        }
        let pooled = extras.pooled.len() / n;
        let ids = self.time_ids(pooled)?.unwrap_or_default();
        if extras.time_ids.len() != n * ids {
            return Err(missing(format!("{} size values for {n} samples; it reads {ids} each", extras.time_ids.len())));
        }
        let mut rows = Vec::with_capacity(n * total);
        for (i, text) in extras.pooled.chunks(pooled).enumerate() {
            rows.extend_from_slice(text);
            rows.extend(self.embed(&extras.time_ids[i * ids..(i + 1) * ids], dim));
        }
        Ok(Some((rows, total)))
    }

    /// Records what depends only on the timesteps and the prompts: `context` is [n tokens, cross-attention width].
    ///
    /// # Errors
    /// Extras that do not suit the model; tensors larger than the device allows.
    pub fn condition(
        &self,
        gpu: &Arc<Gpu>,
        timesteps: &[f64],
        context: &Tensor,
        n: usize,
        extras: &Extras,
    ) -> Result<Conditioning, ModelError> {
        let mut rec = Recorder::new(gpu);
        let (time_table, rows) = self.time_table(&mut rec, timesteps, n, extras)?;
        let time_row = Tensor::empty(gpu, "time row", rows, time_table.cols)?;
        let mut keys = vec![None; self.kv_count];
        for level in self.down.iter().chain([&self.mid]).chain(&self.up) {
            for block in level.transformers.iter().flat_map(|t| &t.blocks) {
                keys[block.kv_index] = Some(block.kv.linear(&mut rec, context, Activation::None, None)?);
            }
        }
        let keys = keys.into_iter().flatten().collect();
        Ok(Conditioning { time_table, time_row, keys, tokens: context.rows / n, prelude: rec.finish() })
    }

    /// Computes the time table of `cond` anew, for timesteps that became known during a run: as many as it was made for, with the same samples.
    ///
    /// # Errors
    /// As [`UNet::condition`].
    pub fn retime(
        &self,
        gpu: &Arc<Gpu>,
        cond: &Conditioning,
        timesteps: &[f64],
        n: usize,
        extras: &Extras,
    ) -> Result<(), ModelError> {
        let mut rec = Recorder::new(gpu);
        let (table, _) = self.time_table(&mut rec, timesteps, n, extras)?;
        debug_assert_eq!(table.bytes(), cond.time_table.bytes());
        rec.copy(&table, 0, &cond.time_table, 0, cond.time_table.bytes());
        rec.finish().submit();
        Ok(())
    }

    /// Time projections of every step, and how many rows a step has.
    fn time_table(
        &self,
        rec: &mut Recorder,
        timesteps: &[f64],
        n: usize,
        extras: &Extras,
    ) -> Result<(Tensor, usize), ModelError> {
        let gpu = rec.gpu().clone();
        let steps = timesteps.len();
        let added = self.added_rows(extras, n)?;
        let rows = if added.is_some() { n } else { 1 };
        // Every step's rows stand together, so that one copy selects them.
        let each: Vec<f64> = timesteps.iter().flat_map(|t| std::iter::repeat_n(*t, rows)).collect();
        let first = self.config.block_out_channels[0];
        let mut x = Tensor::upload(&gpu, "timesteps", &self.timestep_rows(&each), steps * rows, first)?;
        if let (Some(layer), Some(guidance)) = (&self.cond_proj, extras.guidance) {
            let width = layer.weight.k;
            let all = self.guidance_row(guidance, width).repeat(steps * rows);
            let w = Tensor::upload(&gpu, "guidance", &all, steps * rows, width)?;
            x = layer.linear(rec, &w, Activation::None, Some(&x))?;
        }
        let h = self.time1.linear(rec, &x, Activation::Silu, None)?;
        // Every use of the embedding starts with SiLU.
        let h = match (&self.add_embedding, added) {
            (Some((add1, add2)), Some((data, width))) => {
                let y = Tensor::upload(&gpu, "added embedding", &data.repeat(steps), steps * rows, width)?;
                let y = add1.linear(rec, &y, Activation::Silu, None)?;
                let y = add2.linear(rec, &y, Activation::None, None)?;
                self.time2.linear_joined(rec, &h, &y, Activation::Silu)?
            }
            _ => self.time2.linear(rec, &h, Activation::Silu, None)?,
        };
        Ok((self.time_proj.linear(rec, &h, Activation::None, None)?, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinusoids_are_ordered_as_in_diffusers() {
        let mut out = Vec::new();
        sinusoid(2.0, 2, 2.0, true, &mut out);
        let expected = [2f64.cos(), 0.02f64.cos(), 2f64.sin(), 0.02f64.sin()].map(|v| v as f32);
        assert_eq!(out, expected);
        out.clear();
        sinusoid(2.0, 2, 1.0, false, &mut out);
        assert_eq!(out, [2f64.sin(), 0.0002f64.sin(), 2f64.cos(), 0.0002f64.cos()].map(|v| v as f32));
    }
}
