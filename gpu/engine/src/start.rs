//! Where sampling starts: noise of a seed, on top of an encoded picture where there is one.

use std::sync::Arc;

use admix_sample::{Plan, rng};
use admix_tensor::Gpu;

use crate::EngineError;
use crate::control::Control;
use crate::decode::{self, Grid};
use crate::networks::Networks;
use crate::picture::Picture;
use crate::render::{Given, to_nhwc};
use crate::settings::Settings;

/// x at the first sigma: noise alone, or noise on top of the encoded picture.
pub(crate) fn start_latents(plan: &Plan, noise: &[f32], init: Option<&[f32]>, n: usize) -> Vec<f32> {
    let scale = plan.init_scale as f32;
    match init {
        None => noise.iter().map(|v| v * scale).collect(),
        Some(init) => {
            let one = init.len();
            debug_assert_eq!(one * n, noise.len());
            noise.iter().enumerate().map(|(i, v)| init[i % one] * plan.latent_scale as f32 + v * scale).collect()
        }
    }
}

/// Host noise by index: the given tensor or the seed's stream.
pub(crate) struct Noise<'a> {
    given: Option<&'a [f32]>,
    stream: rng::Stream,
    shape: [usize; 4],
}

impl<'a> Noise<'a> {
    pub fn new(settings: &Settings, given: &'a Given, shape: [usize; 4]) -> Result<Noise<'a>, EngineError> {
        let given = match &given.noise {
            Some((data, found)) if *found == shape => Some(&data[..]),
            Some((_, found)) => {
                return Err(EngineError::Input(format!(
                    "--noise holds {found:?}, but this picture needs {shape:?} ([n, c, h/8, w/8])"
                )));
            }
            None => None,
        };
        let stream = rng::Stream::new(settings.rng, settings.seed, shape[0], shape[1..].iter().product());
        Ok(Noise { given, stream, shape })
    }

    /// Noise number `index`, NHWC; 0 is the initial noise. Draws come in order.
    pub fn draw(&mut self, index: usize) -> Vec<f32> {
        match self.given {
            Some(data) if index == 0 => to_nhwc(data, self.shape),
            _ => to_nhwc(&self.stream.next(), self.shape),
        }
    }
}

/// Latents of one picture, NHWC.
pub(crate) async fn encode_init(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    picture: &Picture,
    settings: &Settings,
    control: &mut Control,
) -> Result<Vec<f32>, EngineError> {
    let vae = networks.vae.as_ref().filter(|v| v.has_encoder());
    let vae = vae.ok_or_else(|| {
        EngineError::Input("this checkpoint has no VAE encoder, so it cannot start from a picture".into())
    })?;
    let fitted = picture.resized(settings.width, settings.height);
    let grid = Grid { h: fitted.height, w: fitted.width, c: 3, data: fitted.to_unit() };
    Ok(decode::encode(gpu, vae, &grid, control).await?.data)
}
