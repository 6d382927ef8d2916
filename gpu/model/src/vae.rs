//! The autoencoder of latent diffusion (Rombach et al. 2022), as diffusers' `AutoencoderKL`.

use std::sync::Arc;

use admix_files::config::VaeConfig;
use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::{Activation, Picture};
use admix_tensor::{Gpu, Program, Recorder, Tensor, padded};

use crate::ModelError;
use crate::store::{Layer, Norm, Store};

/// Normalisation epsilon of every VAE block in diffusers.
const EPS: f32 = 1e-6;

struct ResNet {
    norm1: Norm,
    conv1: Layer,
    norm2: Norm,
    conv2: Layer,
    shortcut: Option<Layer>,
}

struct Attention {
    norm: Norm,
    qkv: Layer,
    out: Layer,
}

struct Middle {
    first: ResNet,
    attention: Option<Attention>,
    second: ResNet,
}

#[derive(Default)]
struct Level {
    resnets: Vec<ResNet>,
    resample: Option<Layer>,
}

struct Half {
    conv_in: Layer,
    levels: Vec<Level>,
    middle: Middle,
    norm_out: Norm,
    conv_out: Layer,
    /// post_quant_conv before the decoder, quant_conv after the encoder.
    quant: Option<Layer>,
}

/// Decoder and encoder, each built only when asked for.
pub struct Vae {
    config: VaeConfig,
    decoder: Option<Half>,
    encoder: Option<Half>,
}

/// A recorded pass from `input` to `output` (pictures NHWC in [-1, 1], latents NHWC, unscaled).
pub struct VaePass {
    /// What to fill.
    pub input: Tensor,
    /// What comes out.
    pub output: Tensor,
    /// Size of the output.
    pub size: Picture,
    /// The commands.
    pub program: Arc<Program>,
}

struct Builder<'a> {
    store: &'a mut Store,
}

impl Builder<'_> {
    fn resnet(&mut self, at: &str, inp: usize, out: usize) -> Result<ResNet, ModelError> {
        let store = &mut *self.store;
        Ok(ResNet {
            norm1: store.norm(&format!("{at}.norm1"), inp)?,
            conv1: store.conv(&format!("{at}.conv1"), out, inp, 3)?,
            norm2: store.norm(&format!("{at}.norm2"), out)?,
            conv2: store.conv(&format!("{at}.conv2"), out, out, 3)?,
            shortcut: if inp == out { None } else { Some(store.conv(&format!("{at}.conv_shortcut"), out, inp, 1)?) },
        })
    }

    fn middle(&mut self, at: &str, c: usize, attention: bool) -> Result<Middle, ModelError> {
        let first = self.resnet(&format!("{at}.resnets.0"), c, c)?;
        let attention = if attention {
            let at = format!("{at}.attentions.0");
            let parts = ["to_q", "to_k", "to_v"].map(|p| (format!("{at}.{p}"), c));
            Some(Attention {
                norm: self.store.norm(&format!("{at}.group_norm"), c)?,
                qkv: self.store.fused(&parts, c, true)?,
                out: self.store.linear(&format!("{at}.to_out.0"), c, c, true)?,
            })
        } else {
            None
        };
        Ok(Middle { first, attention, second: self.resnet(&format!("{at}.resnets.1"), c, c)? })
    }
}

impl Vae {
    /// Allocates the decoder and, if `encoder`, the encoder of `config` under `vae.`.
    pub fn new(store: &mut Store, config: &VaeConfig, encoder: bool) -> Result<Vae, ModelError> {
        let widths = &config.block_out_channels;
        let (first, last, levels) = (widths[0], widths[widths.len() - 1], widths.len());
        let latent = config.latent_channels;
        let mut b = Builder { store };

        let mut up = Vec::new();
        let mut c = last;
        let quant = if config.use_post_quant_conv {
            Some(b.store.conv("vae.post_quant_conv", latent, latent, 1)?)
        } else {
            None
        };
        let conv_in = b.store.conv("vae.decoder.conv_in", last, latent, 3)?;
        let middle = b.middle("vae.decoder.mid_block", last, config.mid_block_add_attention)?;
        for (i, out) in widths.iter().rev().copied().enumerate() {
            let at = format!("vae.decoder.up_blocks.{i}");
            let mut level = Level::default();
            for j in 0..config.layers_per_block + 1 {
                level.resnets.push(b.resnet(&format!("{at}.resnets.{j}"), c, out)?);
                c = out;
            }
            if i + 1 < levels {
                level.resample = Some(b.store.conv(&format!("{at}.upsamplers.0.conv"), out, out, 3)?);
            }
            up.push(level);
        }
        let norm_out = b.store.norm("vae.decoder.conv_norm_out", first)?;
        let conv_out = b.store.conv("vae.decoder.conv_out", config.out_channels, first, 3)?;
        let decoder = Some(Half { conv_in, levels: up, middle, norm_out, conv_out, quant });

        let encoder = if encoder {
            let conv_in = b.store.conv("vae.encoder.conv_in", first, config.in_channels, 3)?;
            let mut down = Vec::new();
            let mut c = first;
            for (i, out) in widths.iter().copied().enumerate() {
                let at = format!("vae.encoder.down_blocks.{i}");
                let mut level = Level::default();
                for j in 0..config.layers_per_block {
                    level.resnets.push(b.resnet(&format!("{at}.resnets.{j}"), c, out)?);
                    c = out;
                }
                if i + 1 < levels {
                    level.resample = Some(b.store.conv(&format!("{at}.downsamplers.0.conv"), out, out, 3)?);
                }
                down.push(level);
            }
            let middle = b.middle("vae.encoder.mid_block", last, config.mid_block_add_attention)?;
            let norm_out = b.store.norm("vae.encoder.conv_norm_out", last)?;
            let moments = if config.double_z { 2 * latent } else { latent };
            let conv_out = b.store.conv("vae.encoder.conv_out", moments, last, 3)?;
            let quant =
                if config.use_quant_conv { Some(b.store.conv("vae.quant_conv", moments, moments, 1)?) } else { None };
            Some(Half { conv_in, levels: down, middle, norm_out, conv_out, quant })
        } else {
            None
        };
        Ok(Vae { config: config.clone(), decoder, encoder })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Pixels per latent cell, along one edge.
    pub fn factor(&self) -> usize {
        1 << (self.config.block_out_channels.len() - 1)
    }

    /// True when [`Vae::record_encode`] is possible.
    pub fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    /// Records latents [n h w, latent] (already divided by the scaling factor) -> picture [n 8h 8w, 3].
    pub fn record_decode(&self, gpu: &Arc<Gpu>, size: Picture) -> Result<VaePass, ModelError> {
        let half =
            self.decoder.as_ref().ok_or_else(|| ModelError::Size("the VAE was built without its decoder".into()))?;
        let input = Tensor::empty(gpu, "vae input", size.pixels(), self.config.latent_channels)?;
        let mut rec = Recorder::new(gpu);
        let mut pass = Pass { vae: self, rec: &mut rec };
        let z = match &half.quant {
            Some(layer) => layer.linear(pass.rec, &input, Activation::None, None)?,
            None => input.clone(),
        };
        let p = pass.rec.pad1(&z, size)?;
        let (x, _) = half.conv_in.conv3x3(pass.rec, &p, size, 1, None, None)?;
        let mut x = pass.middle(&half.middle, x, size)?;
        let mut size = size;
        for level in &half.levels {
            for r in &level.resnets {
                x = pass.resnet(r, x, size)?;
            }
            if let Some(conv) = &level.resample {
                let next = Picture { h: size.h * 2, w: size.w * 2, ..size };
                let p = pass.rec.place(&x, size, (next.h, next.w), 1, 1, (next.h + 2, next.w + 2))?;
                (x, size) = conv.conv3x3(pass.rec, &p, next, 1, None, None)?;
            }
        }
        let output = pass.finish(half, x, size)?;
        Ok(VaePass { input, output, size, program: rec.finish() })
    }

    /// Records picture [n h w, 3] in [-1, 1] -> moments [n h/f w/f, 2 latent]: means, then log-variances, unscaled. h, w multiples of f.
    pub fn record_encode(&self, gpu: &Arc<Gpu>, size: Picture) -> Result<VaePass, ModelError> {
        let half =
            self.encoder.as_ref().ok_or_else(|| ModelError::Size("this checkpoint's VAE has no encoder".into()))?;
        let input = Tensor::empty(gpu, "picture", size.pixels(), self.config.in_channels)?;
        let mut rec = Recorder::new(gpu);
        let mut pass = Pass { vae: self, rec: &mut rec };
        let p = pass.rec.pad1(&input, size)?;
        let (mut x, mut size) = half.conv_in.conv3x3(pass.rec, &p, size, 1, None, None)?;
        for level in &half.levels {
            for r in &level.resnets {
                x = pass.resnet(r, x, size)?;
            }
            if let Some(conv) = &level.resample {
                // The VAE pads only right and below: (0, 1, 0, 1), then no padding in the convolution.
                let (h, w) = (size.h + 1, size.w + 1);
                let p = pass.rec.place(&x, size, (size.h, size.w), 0, 0, (h, w))?;
                let out = Picture { n: size.n, h: (h - 3) / 2 + 1, w: (w - 3) / 2 + 1 };
                x = conv.conv_plain(pass.rec, &p, (h, w), 2, out)?;
                size = out;
            }
        }
        let x = pass.middle(&half.middle, x, size)?;
        let mut output = pass.finish(half, x, size)?;
        if let Some(layer) = &half.quant {
            output = layer.linear(pass.rec, &output, Activation::None, None)?;
        }
        Ok(VaePass { input, output, size, program: rec.finish() })
    }
}

struct Pass<'a> {
    vae: &'a Vae,
    rec: &'a mut Recorder,
}

impl Pass<'_> {
    fn norm(
        &mut self,
        n: &Norm,
        x: &Tensor,
        size: Picture,
        act: Activation,
        border: usize,
    ) -> Result<Tensor, ModelError> {
        Ok(self.rec.group_norm(x, size, self.vae.config.norm_num_groups, EPS, &n.gamma, &n.beta, act, border)?)
    }

    fn resnet(&mut self, r: &ResNet, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let h = self.norm(&r.norm1, &x, size, Activation::Silu, 1)?;
        let (h, _) = r.conv1.conv3x3(self.rec, &h, size, 1, None, None)?;
        let h = self.norm(&r.norm2, &h, size, Activation::Silu, 1)?;
        let shortcut = match &r.shortcut {
            Some(layer) => layer.linear(self.rec, &x, Activation::None, None)?,
            None => x,
        };
        Ok(r.conv2.conv3x3(self.rec, &h, size, 1, None, Some(&shortcut))?.0)
    }

    fn middle(&mut self, m: &Middle, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let mut x = self.resnet(&m.first, x, size)?;
        if let Some(a) = &m.attention {
            let h = self.norm(&a.norm, &x, size, Activation::None, 0)?;
            let qkv = a.qkv.linear(self.rec, &h, Activation::None, None)?;
            let step = padded(x.cols);
            let part = |i: usize| Operand { tensor: &qkv, at: i * step };
            let tokens = size.h * size.w;
            let s = Heads { n: size.n, heads: 1, d: x.cols, tq: tokens, tk: tokens, causal: false };
            let h = self.rec.attention(part(0), part(1), part(2), s)?;
            x = a.out.linear(self.rec, &h, Activation::None, Some(&x))?;
        }
        self.resnet(&m.second, x, size)
    }

    fn finish(&mut self, half: &Half, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let h = self.norm(&half.norm_out, &x, size, Activation::Silu, 1)?;
        Ok(half.conv_out.conv3x3(self.rec, &h, size, 1, None, None)?.0)
    }
}
