//! The U-Net of Stable Diffusion 1 and 2 (Rombach et al. 2022), as diffusers' `UNet2DConditionModel`, of any widths, levels and head sizes.
//!
//! What does not depend on the latent is computed once per picture by a prelude: the time embedding of every step (all its projections are
//! one product) and the keys and values of every cross-attention. The step program then only reads them.

use std::sync::Arc;

use admix_files::config::UNetConfig;
use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::{Activation, Pack, Picture};
use admix_tensor::{Gpu, Program, Recorder, Tensor, padded};

use crate::ModelError;
use crate::store::{Layer, Norm, Store};

struct ResNet {
    norm1: Norm,
    conv1: Layer,
    /// First column of this block's projection in the time table.
    time_at: usize,
    norm2: Norm,
    conv2: Layer,
    shortcut: Option<Layer>,
}

struct Block {
    norm1: Norm,
    qkv: Layer,
    out1: Layer,
    norm2: Norm,
    q: Layer,
    /// Keys and values of the context; its index in the prelude.
    kv: Layer,
    kv_index: usize,
    out2: Layer,
    norm3: Norm,
    ff_in: Layer,
    ff_out: Layer,
}

struct Transformer {
    norm: Norm,
    proj_in: Layer,
    blocks: Vec<Block>,
    proj_out: Layer,
    heads: usize,
    d: usize,
}

#[derive(Default)]
struct Level {
    resnets: Vec<ResNet>,
    transformers: Vec<Transformer>,
    resample: Option<Layer>,
}

/// A U-Net whose weights live in a [`Store`].
pub struct UNet {
    config: UNetConfig,
    time1: Layer,
    time2: Layer,
    time_proj: Layer,
    conv_in: Layer,
    down: Vec<Level>,
    mid: Level,
    up: Vec<Level>,
    norm_out: Norm,
    conv_out: Layer,
    kv_count: usize,
}

/// Per-picture facts on the device, shared by all steps.
pub struct Conditioning {
    /// Time projections of every step: [steps, all blocks].
    pub time_table: Tensor,
    /// The row in force, copied from the table before each step.
    pub time_row: Tensor,
    /// Keys and values of each cross-attention: [n tokens, 2 padded(c)].
    pub keys: Vec<Tensor>,
    /// Tokens of the context.
    pub tokens: usize,
    /// Computes the tables; run once whenever the prompt, the steps or the weights change.
    pub prelude: Arc<Program>,
}

/// A recorded U-Net pass: `input` [n h w, in_channels] -> `output` [n h w, out_channels].
pub struct UNetPass {
    /// Scaled latents.
    pub input: Tensor,
    /// The prediction.
    pub output: Tensor,
    /// The commands of one step.
    pub program: Arc<Program>,
}

struct Builder<'a> {
    store: &'a mut Store,
    config: &'a UNetConfig,
    /// (name, channels) of every time projection, in order.
    time: Vec<(String, usize)>,
    time_at: usize,
    kv_count: usize,
}

impl Builder<'_> {
    fn resnet(&mut self, at: &str, inp: usize, out: usize) -> Result<ResNet, ModelError> {
        let time_at = self.time_at;
        self.time.push((format!("{at}.time_emb_proj"), out));
        self.time_at += padded(out);
        Ok(ResNet {
            norm1: self.store.norm(&format!("{at}.norm1"), inp)?,
            conv1: self.store.conv(&format!("{at}.conv1"), out, inp, 3)?,
            time_at,
            norm2: self.store.norm(&format!("{at}.norm2"), out)?,
            conv2: self.store.conv(&format!("{at}.conv2"), out, out, 3)?,
            shortcut: if inp == out {
                None
            } else {
                Some(self.store.conv(&format!("{at}.conv_shortcut"), out, inp, 1)?)
            },
        })
    }

    fn transformer(&mut self, at: &str, c: usize, level: usize) -> Result<Transformer, ModelError> {
        let heads = self.config.heads(level);
        let context = self.config.cross_attention(level);
        let store = &mut *self.store;
        let mut blocks = Vec::new();
        for i in 0..self.config.transformer_layers(level) {
            let at = format!("{at}.transformer_blocks.{i}");
            let part = |attn: &str, p: &str| (format!("{at}.{attn}.{p}"), c);
            blocks.push(Block {
                norm1: store.norm(&format!("{at}.norm1"), c)?,
                qkv: store.fused(&[part("attn1", "to_q"), part("attn1", "to_k"), part("attn1", "to_v")], c, false)?,
                out1: store.linear(&format!("{at}.attn1.to_out.0"), c, c, true)?,
                norm2: store.norm(&format!("{at}.norm2"), c)?,
                q: store.linear(&format!("{at}.attn2.to_q"), c, c, false)?,
                kv: store.fused(&[part("attn2", "to_k"), part("attn2", "to_v")], context, false)?,
                kv_index: self.kv_count,
                out2: store.linear(&format!("{at}.attn2.to_out.0"), c, c, true)?,
                norm3: store.norm(&format!("{at}.norm3"), c)?,
                ff_in: store.layer(
                    &format!("{at}.ff.net.0.proj"),
                    Pack { glu: true, ..Pack::linear(8 * c, c) },
                    true,
                )?,
                ff_out: store.linear(&format!("{at}.ff.net.2"), c, 4 * c, true)?,
            });
            self.kv_count += 1;
        }
        Ok(Transformer {
            norm: store.norm(&format!("{at}.norm"), c)?,
            proj_in: store.conv(&format!("{at}.proj_in"), c, c, 1)?,
            blocks,
            proj_out: store.conv(&format!("{at}.proj_out"), c, c, 1)?,
            heads,
            d: c / heads,
        })
    }
}

impl UNet {
    /// Allocates the layers of `config` under `unet.`.
    pub fn new(store: &mut Store, config: &UNetConfig) -> Result<UNet, ModelError> {
        let widths = config.block_out_channels.clone();
        let levels = widths.len();
        let first = widths[0];
        let last = widths[levels - 1];
        let conv_in = store.conv("unet.conv_in", first, config.in_channels, 3)?;
        let embedding = config.time_embedding_dim.unwrap_or(first * 4);
        let time1 = store.linear("unet.time_embedding.linear_1", embedding, first, true)?;
        let time2 = store.linear("unet.time_embedding.linear_2", embedding, embedding, true)?;
        let mut b = Builder { store, config, time: Vec::new(), time_at: 0, kv_count: 0 };

        let mut down = Vec::new();
        let mut skips = vec![first];
        let mut c = first;
        for (i, &out) in widths.iter().enumerate() {
            let at = format!("unet.down_blocks.{i}");
            let mut level = Level::default();
            for j in 0..config.layers(i) {
                level.resnets.push(b.resnet(&format!("{at}.resnets.{j}"), c, out)?);
                if config.down_has_attention(i) {
                    level.transformers.push(b.transformer(&format!("{at}.attentions.{j}"), out, i)?);
                }
                c = out;
                skips.push(out);
            }
            if i + 1 < levels {
                level.resample = Some(b.store.conv(&format!("{at}.downsamplers.0.conv"), out, out, 3)?);
                skips.push(out);
            }
            down.push(level);
        }
        let mid = Level {
            resnets: vec![
                b.resnet("unet.mid_block.resnets.0", last, last)?,
                b.resnet("unet.mid_block.resnets.1", last, last)?,
            ],
            transformers: vec![b.transformer("unet.mid_block.attentions.0", last, levels - 1)?],
            resample: None,
        };
        let mut up = Vec::new();
        for (i, level_index) in (0..levels).rev().enumerate() {
            let at = format!("unet.up_blocks.{i}");
            let out = widths[level_index];
            let mut level = Level::default();
            for j in 0..config.layers(level_index) + 1 {
                let skip = skips.pop().unwrap_or(first);
                level.resnets.push(b.resnet(&format!("{at}.resnets.{j}"), c + skip, out)?);
                if config.up_has_attention(i) {
                    level.transformers.push(b.transformer(&format!("{at}.attentions.{j}"), out, level_index)?);
                }
                c = out;
            }
            if i + 1 < levels {
                level.resample = Some(b.store.conv(&format!("{at}.upsamplers.0.conv"), out, out, 3)?);
            }
            up.push(level);
        }
        let Builder { time, kv_count, .. } = b;
        let time_proj = store.fused(&time, embedding, true)?;
        let norm_out = store.norm("unet.conv_norm_out", first)?;
        let conv_out = store.conv("unet.conv_out", config.out_channels, first, 3)?;
        let config = config.clone();
        Ok(UNet { config, time1, time2, time_proj, conv_in, down, mid, up, norm_out, conv_out, kv_count })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Every layer that un-merged adapters can attach to.
    pub fn layers_mut(&mut self) -> Vec<&mut Layer> {
        let mut out =
            vec![&mut self.time1, &mut self.time2, &mut self.time_proj, &mut self.conv_in, &mut self.conv_out];
        for level in self.down.iter_mut().chain([&mut self.mid]).chain(&mut self.up) {
            for r in &mut level.resnets {
                out.extend([&mut r.conv1, &mut r.conv2]);
                out.extend(&mut r.shortcut);
            }
            for t in &mut level.transformers {
                out.extend([&mut t.proj_in, &mut t.proj_out]);
                for b in &mut t.blocks {
                    out.extend([
                        &mut b.qkv,
                        &mut b.out1,
                        &mut b.q,
                        &mut b.kv,
                        &mut b.out2,
                        &mut b.ff_in,
                        &mut b.ff_out,
                    ]);
                }
            }
            out.extend(&mut level.resample);
        }
        out
    }

    /// Sinusoidal timestep embedding as diffusers' `get_timestep_embedding`: [steps, first width], computed on the host in f64.
    pub fn timestep_rows(&self, timesteps: &[f64]) -> Vec<f32> {
        let width = self.config.block_out_channels[0];
        let half = width / 2;
        let mut out = vec![0f32; timesteps.len() * width];
        for (row, t) in timesteps.iter().enumerate() {
            for i in 0..half {
                let exponent = -(10_000f64.ln()) * i as f64 / (half as f64 - self.config.freq_shift);
                let (sin, cos) = (t * exponent.exp()).sin_cos();
                let (a, b) = if self.config.flip_sin_to_cos { (cos, sin) } else { (sin, cos) };
                out[row * width + i] = a as f32;
                out[row * width + half + i] = b as f32;
            }
        }
        out
    }

    /// Records what depends only on the timesteps and the context ([n tokens, cross-attention width]).
    pub fn condition(
        &self,
        gpu: &Arc<Gpu>,
        timesteps: &[f64],
        context: &Tensor,
        n: usize,
    ) -> Result<Conditioning, ModelError> {
        let rows = Tensor::upload(
            gpu,
            "timesteps",
            &self.timestep_rows(timesteps),
            timesteps.len(),
            self.config.block_out_channels[0],
        )?;
        let mut rec = Recorder::new(gpu);
        let h = self.time1.linear(&mut rec, &rows, Activation::Silu, None)?;
        // Every use of the embedding starts with SiLU.
        let h = self.time2.linear(&mut rec, &h, Activation::Silu, None)?;
        let time_table = self.time_proj.linear(&mut rec, &h, Activation::None, None)?;
        let time_row = Tensor::empty(gpu, "time row", 1, time_table.cols)?;
        let mut keys = vec![None; self.kv_count];
        for level in self.down.iter().chain([&self.mid]).chain(&self.up) {
            for block in level.transformers.iter().flat_map(|t| &t.blocks) {
                keys[block.kv_index] = Some(block.kv.linear(&mut rec, context, Activation::None, None)?);
            }
        }
        let keys = keys.into_iter().flatten().collect();
        Ok(Conditioning { time_table, time_row, keys, tokens: context.rows / n, prelude: rec.finish() })
    }

    /// Records one pass over `size` latents (n samples of h x w).
    pub fn record(&self, gpu: &Arc<Gpu>, size: Picture, cond: &Conditioning) -> Result<UNetPass, ModelError> {
        let input = Tensor::empty(gpu, "unet input", size.pixels(), self.config.in_channels)?;
        // Padding channels must read as zero.
        input.write(gpu, &vec![0.0; size.pixels() * self.config.in_channels]);
        let mut rec = Recorder::new(gpu);
        let mut step = Step { unet: self, cond, rec: &mut rec };
        let output = step.forward(&input, size)?;
        Ok(UNetPass { input, output, program: rec.finish() })
    }
}

/// The recording of one pass.
struct Step<'a> {
    unet: &'a UNet,
    cond: &'a Conditioning,
    rec: &'a mut Recorder,
}

impl Step<'_> {
    fn forward(&mut self, input: &Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let unet = self.unet;
        let padded_input = self.rec.pad1(input, size)?;
        let (mut x, mut size) = unet.conv_in.conv3x3(self.rec, &padded_input, size, 1, None, None)?;
        drop(padded_input);
        let mut skips = vec![(x.clone(), size)];
        for level in &unet.down {
            for (j, resnet) in level.resnets.iter().enumerate() {
                x = self.resnet(resnet, x, size)?;
                if let Some(t) = level.transformers.get(j) {
                    x = self.transformer(t, x, size)?;
                }
                skips.push((x.clone(), size));
            }
            if let Some(conv) = &level.resample {
                let p = self.rec.pad1(&x, size)?;
                (x, size) = conv.conv3x3(self.rec, &p, size, 2, None, None)?;
                skips.push((x.clone(), size));
            }
        }
        x = self.resnet(&unet.mid.resnets[0], x, size)?;
        x = self.transformer(&unet.mid.transformers[0], x, size)?;
        x = self.resnet(&unet.mid.resnets[1], x, size)?;
        for level in &unet.up {
            for (j, resnet) in level.resnets.iter().enumerate() {
                if let Some((skip, _)) = skips.pop() {
                    let joined = self.rec.concat(&x, &skip)?;
                    drop((x, skip));
                    x = self.resnet(resnet, joined, size)?;
                }
                if let Some(t) = level.transformers.get(j) {
                    x = self.transformer(t, x, size)?;
                }
            }
            if let Some(conv) = &level.resample {
                // Up to the size of the skip that comes next, so that odd sizes meet again (diffusers' upsample_size).
                let next = skips.last().map_or(size, |s| s.1);
                let p = self.rec.place(&x, size, (next.h, next.w), 1, 1, (next.h + 2, next.w + 2))?;
                (x, size) = conv.conv3x3(self.rec, &p, next, 1, None, None)?;
            }
        }
        let c = &unet.config;
        let n = &unet.norm_out;
        let h = self.rec.group_norm(
            &x,
            size,
            c.norm_num_groups,
            c.norm_eps as f32,
            &n.gamma,
            &n.beta,
            Activation::Silu,
            1,
        )?;
        Ok(unet.conv_out.conv3x3(self.rec, &h, size, 1, None, None)?.0)
    }

    fn resnet(&mut self, r: &ResNet, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let c = &self.unet.config;
        let (groups, eps) = (c.norm_num_groups, c.norm_eps as f32);
        let h = self.rec.group_norm(&x, size, groups, eps, &r.norm1.gamma, &r.norm1.beta, Activation::Silu, 1)?;
        let time = Some((&self.cond.time_row, r.time_at));
        let (h, _) = r.conv1.conv3x3(self.rec, &h, size, 1, time, None)?;
        let h = self.rec.group_norm(&h, size, groups, eps, &r.norm2.gamma, &r.norm2.beta, Activation::Silu, 1)?;
        let shortcut = match &r.shortcut {
            Some(layer) => layer.linear(self.rec, &x, Activation::None, None)?,
            None => x,
        };
        Ok(r.conv2.conv3x3(self.rec, &h, size, 1, None, Some(&shortcut))?.0)
    }

    fn transformer(&mut self, t: &Transformer, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let groups = self.unet.config.norm_num_groups;
        let rec = &mut *self.rec;
        let h = rec.group_norm(&x, size, groups, 1e-6, &t.norm.gamma, &t.norm.beta, Activation::None, 0)?;
        let mut h = t.proj_in.linear(rec, &h, Activation::None, None)?;
        let tokens = size.h * size.w;
        let (n, heads, d) = (size.n, t.heads, t.d);
        let step = padded(h.cols);
        for b in &t.blocks {
            let y = rec.layer_norm(&h, 1e-5, &b.norm1.gamma, &b.norm1.beta)?;
            let qkv = b.qkv.linear(rec, &y, Activation::None, None)?;
            let part = |i: usize| Operand { tensor: &qkv, at: i * step };
            let s = Heads { n, heads, d, tq: tokens, tk: tokens, causal: false };
            let y = rec.attention(part(0), part(1), part(2), s)?;
            h = b.out1.linear(rec, &y, Activation::None, Some(&h))?;

            let y = rec.layer_norm(&h, 1e-5, &b.norm2.gamma, &b.norm2.beta)?;
            let q = b.q.linear(rec, &y, Activation::None, None)?;
            let kv = &self.cond.keys[b.kv_index];
            let s = Heads { tk: self.cond.tokens, ..s };
            let y = rec.attention(
                Operand { tensor: &q, at: 0 },
                Operand { tensor: kv, at: 0 },
                Operand { tensor: kv, at: step },
                s,
            )?;
            h = b.out2.linear(rec, &y, Activation::None, Some(&h))?;

            let y = rec.layer_norm(&h, 1e-5, &b.norm3.gamma, &b.norm3.beta)?;
            let y = b.ff_in.geglu(rec, &y)?;
            h = b.ff_out.linear(rec, &y, Activation::None, Some(&h))?;
        }
        t.proj_out.linear(rec, &h, Activation::None, Some(&x))
    }
}
