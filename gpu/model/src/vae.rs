//! The autoencoder of latent diffusion (Rombach et al. 2022), as diffusers' `AutoencoderKL`.

mod pass;

use std::sync::Arc;

use admix_files::config::VaeConfig;
use admix_tensor::kernels::strips::Strips;
use admix_tensor::kernels::{Activation, Picture};
use admix_tensor::{Gpu, Program, Recorder, Tensor};

use crate::ModelError;
use crate::store::{Layer, Norm, Store};
use pass::Pass;

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

    /// Records latents [n h w, latent] (already divided by the scaling factor) -> picture [n 8h 8w, 3]. Where inner pictures are larger than a
    /// binding they lie there in strips of rows, and the result has the same bits.
    pub fn record_decode(&self, gpu: &Arc<Gpu>, size: Picture) -> Result<VaePass, ModelError> {
        let half =
            self.decoder.as_ref().ok_or_else(|| ModelError::Size("the VAE was built without its decoder".into()))?;
        let input = Tensor::empty(gpu, "vae input", size.pixels(), self.config.latent_channels)?;
        let mut rec = Recorder::new(gpu);
        let mut pass = Pass { groups: self.config.norm_num_groups, rec: &mut rec };
        let z = match &half.quant {
            Some(layer) => layer.linear(pass.rec, &input, Activation::None, None)?,
            None => input.clone(),
        };
        let x = pass.spread(&half.conv_in, Strips::whole(size, z), 1)?;
        let mut x = pass.middle(&half.middle, x)?;
        for level in &half.levels {
            for r in &level.resnets {
                x = pass.resnet(r, x)?;
            }
            if let Some(conv) = &level.resample {
                x = pass.spread(conv, x, 2)?;
            }
        }
        let (output, size) = pass.finish(half, x)?;
        Ok(VaePass { input, output, size, program: rec.finish() })
    }

    /// Records picture [n h w, 3] in [-1, 1] -> moments [n h/f w/f, 2 latent]: means, then log-variances, unscaled. h, w multiples of f.
    pub fn record_encode(&self, gpu: &Arc<Gpu>, size: Picture) -> Result<VaePass, ModelError> {
        let half =
            self.encoder.as_ref().ok_or_else(|| ModelError::Size("this checkpoint's VAE has no encoder".into()))?;
        let input = Tensor::empty(gpu, "picture", size.pixels(), self.config.in_channels)?;
        let mut rec = Recorder::new(gpu);
        let mut pass = Pass { groups: self.config.norm_num_groups, rec: &mut rec };
        let mut x = pass.spread(&half.conv_in, Strips::whole(size, input.clone()), 1)?;
        for level in &half.levels {
            for r in &level.resnets {
                x = pass.resnet(r, x)?;
            }
            if let Some(conv) = &level.resample {
                x = pass.halve(conv, x)?;
            }
        }
        let x = pass.middle(&half.middle, x)?;
        let (mut output, size) = pass.finish(half, x)?;
        if let Some(layer) = &half.quant {
            output = layer.linear(pass.rec, &output, Activation::None, None)?;
        }
        Ok(VaePass { input, output, size, program: rec.finish() })
    }
}
