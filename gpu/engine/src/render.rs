//! From a recipe to pictures.

use std::sync::Arc;

use admix_mix::recipe::{Recipe, Sample};
use admix_mix::{AdapterReport, Mixer};
use admix_model::unet::{Conditioning, UNetPass};
use admix_sample::{Plan, PlanRequest};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::{Gpu, Recorder, Tensor};
use web_time::Instant;

use crate::conditioning::encode_text;
use crate::control::{Control, Progress};
use crate::decode::{self, Grid};
use crate::denoise::{Denoiser, Registers};
use crate::networks::Networks;
use crate::picture::Picture;
use crate::settings::Settings;
use crate::start::{Noise, encode_init, start_latents};
use crate::{EngineError, Session};

/// Tensors given in place of what the engine would compute: [n, c, h, w] noise, [n, tokens, dim] embeddings.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Unit-variance noise in place of the seed's, NCHW.
    pub noise: Option<(Vec<f32>, [usize; 4])>,
    /// Conditional embedding in place of the prompt's.
    pub cond: Option<(Vec<f32>, [usize; 3])>,
    /// Unconditional embedding in place of the negative prompt's.
    pub uncond: Option<(Vec<f32>, [usize; 3])>,
    /// Pooled text in place of the prompt's, [n or 1, features]: SDXL.
    pub pooled_cond: Option<(Vec<f32>, [usize; 2])>,
    /// Pooled text in place of the negative prompt's.
    pub pooled_uncond: Option<(Vec<f32>, [usize; 2])>,
    /// The channels that inpainting and pix2pix U-Nets read after the latents, NCHW [n or 1, channels, h, w]: mask and masked latents, or the
    /// picture's latents (see [`UNetPass::extra`]).
    pub extra: Option<(Vec<f32>, [usize; 4])>,
    /// A picture to start from (its strength is in the recipe).
    pub init: Option<Picture>,
}

/// Seconds each part took.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Seconds {
    /// Opening files and building the networks.
    pub load: f64,
    /// Mixing and packing weights.
    pub mix: f64,
    /// Encoding prompts.
    pub text: f64,
    /// All denoising steps.
    pub denoise: f64,
    /// Latents to pictures.
    pub decode: f64,
}

/// What a render gives back.
pub struct Rendered {
    /// The pictures of the batch.
    pub pictures: Vec<Picture>,
    /// Final latents at the sampler's scale, NCHW.
    pub latents: Vec<f32>,
    /// Their shape.
    pub shape: [usize; 4],
    /// Everything that was used, defaults filled in.
    pub settings: Settings,
    /// The recipe that makes these pictures again, checksums filled in.
    pub recipe: Recipe,
    /// Name, sha256 and family of the base model.
    pub model: ModelFacts,
    /// One per adapter.
    pub adapters: Vec<AdapterReport>,
    /// Where the time went.
    pub seconds: Seconds,
    /// Tokens of the prompt that did not fit, if any.
    pub dropped_tokens: usize,
    /// The device's name.
    pub device: String,
}

/// What a report says of the base model.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ModelFacts {
    /// File or folder name.
    pub name: String,
    /// sha256 of what was read.
    pub sha256: String,
    /// `sd1`, `sd2`, ...
    pub family: String,
}

/// NCHW -> NHWC of one or more samples.
pub fn to_nhwc(data: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let mut out = vec![0f32; data.len()];
    for (sample, channel) in (0..n).flat_map(|s| (0..c).map(move |k| (s, k))) {
        for i in 0..h * w {
            out[(sample * h * w + i) * c + channel] = data[(sample * c + channel) * h * w + i];
        }
    }
    out
}

/// NHWC -> NCHW of one or more samples.
pub fn to_nchw(data: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let mut out = vec![0f32; data.len()];
    for (sample, channel) in (0..n).flat_map(|s| (0..c).map(move |k| (s, k))) {
        for i in 0..h * w {
            out[(sample * c + channel) * h * w + i] = data[(sample * h * w + i) * c + channel];
        }
    }
    out
}

impl Session {
    /// Renders the pictures of `recipe`. Steps run on the device one submission each; nothing is read back before the last.
    pub async fn render(
        &mut self,
        recipe: &Recipe,
        given: &Given,
        control: &mut Control,
    ) -> Result<Rendered, EngineError> {
        let mut seconds = Seconds::default();
        let start = Instant::now();
        control.check()?;
        let mixer = self.open_mix(recipe).await?;
        let settings = Settings::resolve(&recipe.sample, &mixer, given)?;
        let gpu = self.gpu().clone();
        let mut networks = self.networks_for(&mixer).await?;
        seconds.load = start.elapsed().as_secs_f64();

        let result =
            self.render_with(&gpu, &mut networks, &mixer, settings, &recipe.sample, given, control, &mut seconds).await;
        // A failed or cancelled render keeps the networks: their slots say for themselves what they hold.
        self.keep_networks(mixer.base().sha256().await?, networks);
        result.map(|mut rendered| {
            rendered.seconds = seconds;
            rendered
        })
    }

    async fn render_with(
        &mut self,
        gpu: &Arc<Gpu>,
        networks: &mut Networks,
        mixer: &Mixer,
        settings: Settings,
        sample: &Sample,
        given: &Given,
        control: &mut Control,
        seconds: &mut Seconds,
    ) -> Result<Rendered, EngineError> {
        let clock = Instant::now();
        let changed = networks.fill(mixer, control).await?;
        let ranges = networks.attach_side(mixer)?;
        if changed > 0 {
            gpu.finished().await?;
        }
        seconds.mix = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        control.report(Progress::Text)?;
        let n = settings.batch;
        // A model that reads the guidance scale runs without the unconditional half.
        let cfg = if networks.unet.reads_guidance() { 1.0 } else { settings.cfg };
        let guided = cfg != 1.0;
        let context = encode_text(gpu, networks, &settings, given, guided).await?;
        seconds.text = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let channels = networks.unet.latent_channels();
        let size = networks.latent_size(n, settings.width, settings.height)?;
        let shape = [n, channels, size.h, size.w];
        let extra = extra_channels(networks, given, shape, context.samples)?;
        let mut noise = Noise::new(&settings, given, shape)?;
        let first = noise.draw(0);
        let init = match &given.init {
            Some(picture) => Some(encode_init(gpu, networks, picture, &settings, control).await?),
            None => None,
        };
        let plan = make_plan(&settings, init.is_some())?;
        let mut timesteps = plan.timesteps();
        if timesteps.is_empty() {
            timesteps.push(0.0);
        }
        let x = start_latents(&plan, &first, init.as_deref(), n);
        let registers = Registers::new(gpu, plan.registers, size, channels, &x)?;
        let steps = Denoiser::steps(&plan);
        let total = steps.len();
        // Which un-merged adapters act, step by step; the U-Net is recorded once for every distinct set.
        let mut recorded: Option<(Vec<usize>, Conditioning, UNetPass)> = None;
        for (done, ops) in steps.into_iter().enumerate() {
            control.check()?;
            let at = done as f64 / total as f64;
            let active: Vec<usize> = ranges.iter().filter(|(_, r)| r.0 <= at && at < r.1).map(|(i, _)| *i).collect();
            if recorded.as_ref().is_none_or(|r| r.0 != active) {
                drop(recorded.take());
                networks.set_active(|i| active.contains(&i));
                let cond =
                    networks.unet.condition(gpu, &timesteps, &context.states, context.samples, &context.extras)?;
                cond.prelude.submit();
                let pass = networks.unet.record(gpu, Size { n: context.samples, ..size }, &cond)?;
                if let (Some(target), Some(data)) = (&pass.extra, &extra) {
                    target.write(gpu, data);
                }
                recorded = Some((active, cond, pass));
            }
            let Some((_, cond, pass)) = &recorded else { continue };
            let denoiser =
                Denoiser { gpu, pass, cond, size, channels, cfg, rescale: settings.cfg_rescale, timesteps: &timesteps };
            denoiser.submit_step(ops, &registers, &mut |index| noise.draw(index))?;
            // One step in flight at a time: cancelling answers within a step, and progress tells the truth.
            gpu.finished().await?;
            let preview = match ops.last() {
                Some(admix_sample::Op::StepEnd { x, denoised, .. })
                    if control.preview_every > 0 && (done + 1) % control.preview_every == 0 && done + 1 < total =>
                {
                    networks.preview(registers.get(denoised.unwrap_or(*x).0), size).await?
                }
                _ => None,
            };
            control.report(Progress::Step { done: done + 1, total, preview })?;
        }
        let latents = registers.get(plan.result.0).read(gpu).await?;
        seconds.denoise = clock.elapsed().as_secs_f64();
        if latents.iter().any(|v| !v.is_finite()) {
            let why = "the latents are not finite (NaN or infinite): a weight or a merge is out of range; lower the adapters' weights or the CFG scale";
            return Err(EngineError::Input(why.into()));
        }

        let clock = Instant::now();
        let quick = if control.is_quick { networks.preview(registers.get(plan.result.0), size).await? } else { None };
        let pictures = match quick {
            Some(picture) => vec![picture],
            None => decode_batch(gpu, networks, &latents, size, channels, control).await?,
        };
        seconds.decode = clock.elapsed().as_secs_f64();
        let base = mixer.base();
        Ok(Rendered {
            pictures,
            latents: to_nchw(&latents, shape),
            shape,
            recipe: settings.complete(mixer, sample),
            settings,
            model: ModelFacts {
                name: base.name.clone(),
                sha256: base.sha256().await?,
                family: base.family.id().into(),
            },
            adapters: mixer.reports().to_vec(),
            seconds: *seconds,
            dropped_tokens: context.dropped,
            device: gpu.name(),
        })
    }
}

/// What the U-Net reads after the latents, NHWC for every sample of the batch.
fn extra_channels(
    networks: &Networks,
    given: &Given,
    [n, _, h, w]: [usize; 4],
    samples: usize,
) -> Result<Option<Vec<f32>>, EngineError> {
    let wanted = networks.unet.extra_channels();
    match &given.extra {
        _ if wanted == 0 => Ok(None),
        Some((data, [count, channels, rows, columns])) => {
            if *channels != wanted || (*rows, *columns) != (h, w) || (*count != 1 && *count != n) {
                return Err(EngineError::Input(format!(
                    "the extra channels are {:?}, but this U-Net needs [1 or {n}, {wanted}, {h}, {w}]",
                    [count, channels, rows, columns]
                )));
            }
            let one = to_nhwc(data, [*count, *channels, *rows, *columns]);
            Ok(Some(one.repeat(samples / count)))
        }
        None => {
            let (kind, what) = match wanted {
                5 => ("an inpainting model", "a picture and a mask"),
                4 => ("a pix2pix model", "a picture"),
                _ => ("a model of an unknown kind", "a picture"),
            };
            Err(EngineError::Input(format!(
                "this is {kind}: its U-Net reads {wanted} channels beside the latents, so it needs {what}"
            )))
        }
    }
}

/// The plan of a render: schedule and solver from their registries.
fn make_plan(settings: &Settings, from_picture: bool) -> Result<Plan, EngineError> {
    let request = PlanRequest {
        model: &settings.sampling,
        sampler: &settings.sampler,
        schedule: &settings.schedule,
        steps: settings.steps,
        strength: from_picture.then_some(settings.strength),
        knobs: &settings.knobs,
    };
    Ok(admix_sample::plan(&request)?)
}

async fn decode_batch(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    latents: &[f32],
    size: Size,
    channels: usize,
    control: &mut Control,
) -> Result<Vec<Picture>, EngineError> {
    let vae = networks
        .vae
        .as_ref()
        .ok_or_else(|| EngineError::Input("this checkpoint has no VAE, so latents cannot become pictures".into()))?;
    let mut out = Vec::new();
    for data in latents.chunks(size.h * size.w * channels) {
        let grid = Grid { h: size.h, w: size.w, c: channels, data: data.to_vec() };
        let picture = decode::decode(gpu, vae, &grid, control).await?;
        out.push(Picture::from_unit(&picture.data, picture.w, picture.h));
    }
    Ok(out)
}

impl Networks {
    /// A small picture of latents, where the model ships a preview decoder; the first sample only.
    async fn preview(&self, latents: &Tensor, size: Size) -> Result<Option<Picture>, EngineError> {
        let Some((store, decoder)) = &self.preview else { return Ok(None) };
        let gpu = store.gpu();
        let one = Size { n: 1, ..size };
        let pass = decoder.record(gpu, one)?;
        let mut rec = Recorder::new(gpu);
        rec.copy(latents, 0, &pass.input, 0, pass.input.bytes());
        rec.include(&pass.program);
        rec.finish().submit();
        let data: Vec<f32> = pass.output.read(gpu).await?.iter().map(|v| v * 2.0 - 1.0).collect();
        Ok(Some(Picture::from_unit(&data, pass.size.w, pass.size.h)))
    }
}
