//! The U-Net of Stable Diffusion 1, 2 (Rombach et al. 2022) and XL (Podell et al. 2023), as diffusers' `UNet2DConditionModel`, of any widths,
//! levels, depths and head sizes.
//!
//! What does not depend on the latent is computed once per picture by a prelude: the time embedding of every step (all its projections are
//! one product) and the keys and values of every cross-attention. The step program then only reads them.

mod condition;
mod step;
mod tweaks;

use std::sync::Arc;

use admix_files::config::UNetConfig;
use admix_tensor::kernels::{Pack, Picture};
use admix_tensor::{Gpu, Program, Recorder, Tensor, padded};

use crate::ModelError;
use crate::store::{Layer, Norm, Store};
pub use condition::{Conditioning, Extras};
use step::Step;
pub use tweaks::{Attention, Place, Side, Tap, Tweaks};

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
    /// Reads the guidance scale into the time embedding (LCM).
    cond_proj: Option<Layer>,
    /// Reads pooled text and sizes into the time embedding (SDXL).
    add_embedding: Option<(Layer, Layer)>,
    conv_in: Layer,
    down: Vec<Level>,
    mid: Level,
    up: Vec<Level>,
    norm_out: Norm,
    conv_out: Layer,
    kv_count: usize,
}

/// A recorded U-Net pass: `input` and, where the model reads more than latents, `extra` -> `output` [n h w, out_channels].
pub struct UNetPass {
    /// Scaled latents, [n h w, latent channels]: the first channels of the U-Net's input, written before every step.
    pub input: Tensor,
    /// The channels after the latents, [n h w, in_channels - latent channels], zero until written; they stay from step to step. An inpainting
    /// U-Net reads one of mask (1 where the picture is painted anew) and four of the masked picture's latents; pix2pix four of the picture's.
    pub extra: Option<Tensor>,
    /// The prediction.
    pub output: Tensor,
    /// What the middle block looks at, if that was asked for.
    pub tap: Option<Tap>,
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
        let cond_proj = match config.time_cond_proj_dim {
            Some(width) => Some(store.linear("unet.time_embedding.cond_proj", first, width, false)?),
            None => None,
        };
        let add_embedding = match (config.addition_embed_type.as_deref(), config.projection_class_embeddings_input_dim)
        {
            (Some("text_time"), Some(width)) => Some((
                store.linear("unet.add_embedding.linear_1", embedding, width, true)?,
                store.linear("unet.add_embedding.linear_2", embedding, embedding, true)?,
            )),
            _ => None,
        };
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
        Ok(UNet {
            config,
            time1,
            time2,
            time_proj,
            cond_proj,
            add_embedding,
            conv_in,
            down,
            mid,
            up,
            norm_out,
            conv_out,
            kv_count,
        })
    }

    /// Channels of the latents that are denoised.
    pub fn latent_channels(&self) -> usize {
        self.config.out_channels
    }

    /// Channels the U-Net reads after the latents (5: inpainting, 4: pix2pix).
    pub fn extra_channels(&self) -> usize {
        self.config.in_channels.saturating_sub(self.config.out_channels)
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Every layer that un-merged adapters can attach to.
    pub fn layers_mut(&mut self) -> Vec<&mut Layer> {
        let mut out =
            vec![&mut self.time1, &mut self.time2, &mut self.time_proj, &mut self.conv_in, &mut self.conv_out];
        out.extend(&mut self.cond_proj);
        if let Some((first, second)) = &mut self.add_embedding {
            out.extend([first, second]);
        }
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

    /// Records one pass over `size` latents (n samples of h x w).
    pub fn record(&self, gpu: &Arc<Gpu>, size: Picture, cond: &Conditioning) -> Result<UNetPass, ModelError> {
        self.record_with(gpu, size, cond, &Tweaks::default())
    }

    /// The same with changes inside.
    ///
    /// # Errors
    /// Tensors larger than the device allows.
    pub fn record_with(
        &self,
        gpu: &Arc<Gpu>,
        size: Picture,
        cond: &Conditioning,
        tweaks: &Tweaks,
    ) -> Result<UNetPass, ModelError> {
        // Padding channels must read as zero, and so must channels that nobody fills.
        let zeros = |what: &str, channels: usize| -> Result<Tensor, ModelError> {
            Ok(Tensor::upload(gpu, what, &vec![0.0; size.pixels() * channels], size.pixels(), channels)?)
        };
        let input = zeros("unet input", self.latent_channels())?;
        let extra = match self.extra_channels() {
            0 => None,
            channels => Some(zeros("unet extra input", channels)?),
        };
        let mut rec = Recorder::new(gpu);
        let joined = match &extra {
            Some(extra) => rec.concat(&input, extra)?,
            None => input.clone(),
        };
        let mut step = Step { unet: self, cond, rec: &mut rec, tweaks, tap: None };
        let output = step.forward(&joined, size)?;
        let tap = step.tap.take();
        Ok(UNetPass { input, extra, output, tap, program: rec.finish() })
    }
}
