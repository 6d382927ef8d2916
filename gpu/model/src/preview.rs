//! The small decoder that shows latents while they are still being denoised (TAESD, Ollin Boer Bohan 2023), as the decoder half of diffusers'
//! `AutoencoderTiny`. It reads scaled latents, exactly as the sampler holds them.

use std::sync::Arc;

use admix_files::config::TinyVaeConfig;
use admix_tensor::kernels::{Activation, Pack, Picture};
use admix_tensor::{Gpu, Recorder, Tensor};

use crate::ModelError;
use crate::store::{Layer, Store};
use crate::vae::VaePass;

enum Stage {
    Block(Box<[Layer; 3]>),
    Up,
    Conv(Layer),
}

/// A preview decoder whose weights live in a [`Store`].
pub struct PreviewDecoder {
    channels: usize,
    scaling: f32,
    conv_in: Layer,
    stages: Vec<Stage>,
    scale_up: usize,
}

impl PreviewDecoder {
    /// Allocates the decoder of `config` under `preview.decoder.layers`.
    pub fn new(store: &mut Store, config: &TinyVaeConfig) -> Result<PreviewDecoder, ModelError> {
        let widths = &config.decoder_block_out_channels;
        // diffusers makes every level's last convolution keep its width, so that differing widths cannot run there either.
        if widths.is_empty()
            || widths.windows(2).any(|w| w[0] != w[1])
            || widths.len() != config.num_decoder_blocks.len()
        {
            let what = format!("decoder_block_out_channels {widths:?} (all levels must be equally wide)");
            return Err(ModelError::Unsupported { component: "preview_decoder", what });
        }
        let mut index = 0;
        let mut name = || {
            index += 1;
            format!("preview.decoder.layers.{}", index - 1)
        };
        let conv_in = store.conv(&name(), widths[0], config.latent_channels, 3)?;
        name();
        let mut stages = Vec::new();
        for (i, (&count, &c)) in config.num_decoder_blocks.iter().zip(widths).enumerate() {
            let last = i + 1 == widths.len();
            for _ in 0..count {
                let at = name();
                let mut conv = |j: usize| store.conv(&format!("{at}.conv.{j}"), c, c, 3);
                stages.push(Stage::Block(Box::new([conv(0)?, conv(2)?, conv(4)?])));
            }
            if !last {
                name();
                stages.push(Stage::Up);
            }
            let out = if last { config.out_channels } else { c };
            stages.push(Stage::Conv(store.layer(&name(), Pack { out, inp: c, kernel: 3, glu: false }, last)?));
        }
        let scaling = config.scaling_factor as f32;
        Ok(PreviewDecoder {
            channels: config.latent_channels,
            scaling,
            conv_in,
            stages,
            scale_up: config.upsampling_scaling_factor,
        })
    }

    /// Factor between the sampler's latents and this decoder's (1 for TAESD).
    pub fn scaling(&self) -> f32 {
        self.scaling
    }

    /// Records latents [n h w, c] -> pictures [n 8h 8w, 3] in [0, 1].
    pub fn record(&self, gpu: &Arc<Gpu>, size: Picture) -> Result<VaePass, ModelError> {
        let input = Tensor::empty(gpu, "preview input", size.pixels(), self.channels)?;
        let mut rec = Recorder::new(gpu);
        let z = rec.soft_clamp(&input)?;
        let p = rec.pad1(&z, size)?;
        let relu = |layer: &Layer, rec: &mut Recorder, p: &Tensor, size, residual: Option<&Tensor>| {
            layer.conv3x3_activated(rec, p, size, Activation::Relu, residual)
        };
        let mut x = relu(&self.conv_in, &mut rec, &p, size, None)?;
        let mut size = size;
        for stage in &self.stages {
            match stage {
                Stage::Block(layers) => {
                    let [a, b, c] = &**layers;
                    let p = rec.pad1(&x, size)?;
                    let h = relu(a, &mut rec, &p, size, None)?;
                    let p = rec.pad1(&h, size)?;
                    let h = relu(b, &mut rec, &p, size, None)?;
                    let p = rec.pad1(&h, size)?;
                    x = relu(c, &mut rec, &p, size, Some(&x))?;
                }
                Stage::Up => {
                    let next = Picture { h: size.h * self.scale_up, w: size.w * self.scale_up, ..size };
                    x = rec.place(&x, size, (next.h, next.w), 0, 0, (next.h, next.w))?;
                    size = next;
                }
                Stage::Conv(layer) => {
                    let p = rec.pad1(&x, size)?;
                    x = layer.conv3x3(&mut rec, &p, size, 1, None, None)?.0;
                }
            }
        }
        Ok(VaePass { input, output: x, size, program: rec.finish() })
    }
}
