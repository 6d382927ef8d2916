//! Where sampling starts: noise of a seed, on top of an encoded picture where there is one.

use std::sync::Arc;

use admix_sample::{Knob, KnobValues, Plan, rng};
use admix_tensor::Gpu;

use crate::EngineError;
use crate::control::Control;
use crate::decode::{self, Grid};
use crate::networks::{Networks, Part};
use crate::picture::Picture;
use crate::render::{Given, to_nhwc};
use crate::settings::Settings;
use crate::variation;

/// x at the first sigma: noise alone, or noise on top of the encoded picture.
/// `init` holds the latents of one picture, or of each of the batch.
pub(crate) fn start_latents(plan: &Plan, noise: &[f32], init: Option<&[f32]>) -> Vec<f32> {
    let scale = plan.init_scale as f32;
    match init {
        None => noise.iter().map(|v| v * scale).collect(),
        Some(init) => {
            let one = init.len();
            debug_assert!(noise.len().is_multiple_of(one));
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
        let [batch, channels, h, w] = shape;
        let variation = variation::read(settings.options.values(), settings.height / h.max(1));
        let stream = rng::Stream::varied(settings.rng, settings.seed, batch, [channels, h, w], &variation);
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
    networks: &mut Networks,
    picture: &Picture,
    settings: &Settings,
    control: &mut Control,
) -> Result<Vec<f32>, EngineError> {
    let fitted = picture.resized(settings.width, settings.height);
    let grid = Grid { h: fitted.height, w: fitted.width, c: 3, data: fitted.to_unit() };
    encode_unit(gpu, networks, &grid, control).await
}

/// Latents of values in [-1, 1], NHWC.
pub(crate) async fn encode_unit(
    gpu: &Arc<Gpu>,
    networks: &mut Networks,
    grid: &Grid,
    control: &mut Control,
) -> Result<Vec<f32>, EngineError> {
    networks.take_turn(Part::Decode, control).await?;
    let vae = networks.vae.as_ref().filter(|v| v.has_encoder());
    let vae = vae.ok_or_else(|| {
        EngineError::Input("this checkpoint has no VAE encoder, so it cannot start from a picture".into())
    })?;
    Ok(decode::encode(gpu, vae, grid, networks.free(), control).await?.data)
}

/// How many steps picture to picture takes.
pub const IMG2IMG_STEPS: Knob = Knob::choice(
    "img2img_steps",
    "Picture-to-picture steps",
    &["diffusers", "a1111", "comfy"],
    "of N steps at strength S: the last N S (diffusers), one more (a1111), N of a run of N / S (comfy)",
);

/// Picture guidance of pix2pix models.
pub const IMAGE_GUIDANCE: Knob = Knob::number(
    "image_guidance",
    "Image guidance",
    0.0,
    20.0,
    1.5,
    "how strongly a pix2pix model keeps to the picture (Brooks et al. 2022, arXiv 2211.09800)",
);

/// Exact inversion.
pub const INVERT: Knob = Knob::choice(
    "invert",
    "Inversion",
    &["no", "bdia"],
    "bdia: the picture is turned into noise by BDIA-DDIM with the prompt of invert_prompt, and back with the prompt: the same prompt gives it back",
);

/// What the inverted picture shows.
pub const INVERT_PROMPT: Knob =
    Knob::text("invert_prompt", "Inversion prompt", "what the picture given by --init shows, for invert=bdia");

/// Guidance of the way to the noise.
pub const INVERT_CFG: Knob = Knob::number(
    "invert_cfg",
    "Inversion CFG scale",
    0.0,
    100.0,
    1.0,
    "guidance on the way to the noise; only the same on both ways gives the picture back exactly",
);

/// Knobs of starting from a picture.
pub const KNOBS: &[Knob] = &[IMG2IMG_STEPS, IMAGE_GUIDANCE, INVERT, INVERT_PROMPT, INVERT_CFG];

/// Steps and strength for a plan that runs its last `floor(steps * strength)` steps, so that it runs as many as the tool named by the knob would.
pub(crate) fn img2img(values: &KnobValues, steps: usize, strength: f64) -> (usize, f64) {
    let n = steps as f64;
    // Half a step more than whole, so that no rounding error takes one away.
    let run = |steps: usize, done: f64| (steps, ((done + 0.5) / steps as f64).min(1.0));
    match values.get(&IMG2IMG_STEPS) as usize {
        // stable-diffusion-webui, sd_samplers_common.setup_img2img_steps: t_enc = int(min(strength, 0.999) * steps), from sigmas[steps - t_enc - 1] on.
        1 => run(steps, (strength.min(0.999) * n).floor() + 1.0),
        // ComfyUI, KSampler.set_steps: the last `steps` of int(steps / denoise).
        2 if strength > 0.0 && strength <= 0.9999 => run((n / strength) as usize, n),
        _ => (steps, strength),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_three_tools() {
        let done = |tool: f64, steps, strength| {
            let mut values = KnobValues::new();
            values.set("img2img_steps", tool);
            let (steps, strength) = img2img(&values, steps, strength);
            (steps, ((steps as f64 * strength) as usize).min(steps))
        };
        // (steps of the schedule, steps that run), by hand from the three programs' formulas.
        assert_eq!([done(0.0, 20, 0.75), done(1.0, 20, 0.75), done(2.0, 20, 0.75)], [(20, 15), (20, 16), (26, 20)]);
        assert_eq!([done(0.0, 20, 1.0), done(1.0, 20, 1.0), done(2.0, 20, 1.0)], [(20, 20), (20, 20), (20, 20)]);
        assert_eq!([done(0.0, 20, 0.0), done(1.0, 20, 0.0), done(2.0, 20, 0.0)], [(20, 0), (20, 1), (20, 0)]);
        assert_eq!([done(0.0, 7, 0.3), done(1.0, 7, 0.3), done(2.0, 7, 0.3)], [(7, 2), (7, 3), (23, 7)]);
    }
}
