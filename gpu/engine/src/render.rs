//! From a recipe to pictures.

use std::sync::Arc;

use admix_mix::recipe::{AdapterUse, Recipe, Sample};
use admix_mix::{AdapterReport, Mixer};
use admix_model::prompt::Span;
use admix_sample::guidance::BATCH;
use admix_tensor::kernels::Picture as Size;
use admix_tensor::{Gpu, Recorder, Tensor};
use web_time::Instant;

use crate::conditioning::Inversions;
use crate::control::Control;
use crate::decode::Grid;
use crate::guides::Batching;
use crate::mask::{Mask, Rule};
use crate::networks::{Most, Networks};
use crate::picture::Picture;
use crate::settings::Settings;
use crate::stage::{Stage, Staged, decode_batch};
use crate::start::encode_init;
use crate::upscale::{self, Hires, Upscaler};
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
    /// picture's latents (see [`admix_model::unet::UNetPass::extra`]).
    pub extra: Option<(Vec<f32>, [usize; 4])>,
    /// A picture to start from (its strength is in the recipe).
    pub init: Option<Picture>,
    /// Where that picture is painted anew: white (see [`crate::mask`]).
    pub mask: Option<Picture>,
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
    /// Textual inversions that were at hand, with their checksums.
    pub inversions: Vec<AdapterUse>,
    /// How those fit the base's text encoders that the recipe names or a prompt calls up.
    pub inversion_reports: Vec<AdapterReport>,
    /// Where the time went.
    pub seconds: Seconds,
    /// Tokens of the prompt that did not fit, if any.
    pub dropped_tokens: usize,
    /// What was done otherwise than the recipe says, a line each: files that have changed, adapters that could not stay beside the weights.
    pub warnings: Vec<String>,
    /// How the branches of guidance ran; none without guidance.
    pub batching: Option<Batching>,
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
    /// What the base's files hold and nothing here reads ([`admix_files::Checkpoint::unused`]).
    pub unused: Vec<String>,
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
    /// Renders the pictures of `recipe`. Steps run on the device one submission each; nothing is read back before the last, except previews where `control` asks for them.
    pub async fn render(
        &mut self,
        recipe: &Recipe,
        given: &Given,
        control: &mut Control,
    ) -> Result<Rendered, EngineError> {
        let mut seconds = Seconds::default();
        let start = Instant::now();
        control.check()?;
        let recipe = &self.with_prompt_adapters(recipe)?;
        let (recipe, inversions) = &self.take_inversions(recipe).await?;
        let mixer = Arc::new(self.open_mix(recipe).await?);
        let settings = Settings::resolve(&recipe.sample, &mixer, given)?;
        let gpu = self.gpu().clone();
        let mut networks = self.networks_for(&mixer).await?;
        seconds.load = start.elapsed().as_secs_f64();

        let result = self
            .render_with(
                &gpu,
                &mut networks,
                &mixer,
                settings,
                &recipe.sample,
                (given, inversions),
                control,
                &mut seconds,
            )
            .await;
        // A failed or cancelled render keeps the networks: their slots say for themselves what they hold (but see `Networks::is_sound`).
        self.keep_networks(mixer.base().state_sum().await?, networks);
        result.map(|mut rendered| {
            rendered.seconds = seconds;
            rendered
        })
    }

    async fn render_with(
        &mut self,
        gpu: &Arc<Gpu>,
        networks: &mut Networks,
        mixer: &Arc<Mixer>,
        settings: Settings,
        sample: &Sample,
        (given, inversions): (&Given, &Inversions),
        control: &mut Control,
        seconds: &mut Seconds,
    ) -> Result<Rendered, EngineError> {
        let hires = Hires::read(settings.options.values());
        let second = match &hires {
            Some(hires) => {
                let (width, height) = hires.size(settings.width, settings.height, networks.factor())?;
                let steps = hires.steps.unwrap_or(settings.steps);
                let sizes = settings.sizes.moved([settings.width, settings.height], [width, height]);
                Some((hires, Settings { width, height, sizes, steps, strength: hires.strength, ..settings.clone() }))
            }
            None => None,
        };

        let clock = Instant::now();
        let changed =
            networks.fill(mixer, most_latents(networks, &settings, second.as_ref().map(|s| &s.1))?, control).await?;
        let ranges = networks.attach_side(mixer)?;
        if changed > 0 {
            gpu.finished().await?;
        }
        seconds.mix = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let later = match &second {
            Some((_, larger)) => Stage::new(larger, given, inversions, &ranges).plan(true)?.steps,
            None => 0,
        };
        let mut staged = Stage::new(&settings, given, inversions, &ranges).run(gpu, networks, later, control).await?;
        let mut text = staged.text;
        if let Some((hires, larger)) = &second {
            let latents = enlarge(gpu, networks, &staged, hires, larger, control).await?;
            let span = Span { steps: larger.steps, before: settings.steps };
            let dropped = staged.dropped;
            let stage = Stage { latents: Some(latents), span, ..Stage::new(larger, given, inversions, &ranges) };
            staged = stage.run(gpu, networks, 0, control).await?;
            staged.dropped = staged.dropped.max(dropped);
            text += staged.text;
        }
        seconds.text = text;
        seconds.denoise = clock.elapsed().as_secs_f64() - text;

        let clock = Instant::now();
        let mut pictures = match quick_look(gpu, networks, &staged, control).await? {
            Some(picture) => vec![picture],
            None => decode_batch(gpu, networks, &staged.latents, staged.shape, control).await?,
        };
        if let (Some(original), Some(mask)) = (&given.init, &given.mask)
            && Rule::of(settings.options.values()) == Rule::A1111
        {
            // A1111 lays the result over the original, softly along the blurred mask.
            for picture in &mut pictures {
                let mask = Mask::new(mask, picture.width, picture.height, settings.options.values());
                *picture = mask.overlay(&original.resized(picture.width, picture.height), picture);
            }
        }
        seconds.decode = clock.elapsed().as_secs_f64();
        let base = mixer.base();
        let mut warnings = mixer.warnings().to_vec();
        let (inversion_reports, unheard) = inversions.reports(base, networks, &settings, given).await?;
        warnings.extend(unheard);
        let mut recipe = settings.complete(mixer, sample);
        recipe.adapters.extend(inversions.used.iter().cloned());
        Ok(Rendered {
            pictures,
            latents: to_nchw(&staged.latents, staged.shape),
            shape: staged.shape,
            recipe,
            inversions: inversions.used.clone(),
            inversion_reports,
            settings,
            model: ModelFacts {
                name: base.name.clone(),
                sha256: base.sha256().await?,
                family: base.family.id().into(),
                unused: base.unused(),
            },
            adapters: mixer.reports().to_vec(),
            seconds: *seconds,
            dropped_tokens: staged.dropped,
            warnings,
            batching: networks.batching,
            device: gpu.name(),
        })
    }
}

/// The most latents that a pass of a render may see: those of the larger stage.
fn most_latents(networks: &Networks, settings: &Settings, second: Option<&Settings>) -> Result<Most, EngineError> {
    let stages = std::iter::once(settings).chain(second);
    let (width, height) = stages.fold((0, 0), |(w, h), s| (w.max(s.width), h.max(s.height)));
    let guided = settings.cfg != 1.0 && !networks.unet.reads_guidance();
    let size = |branches: usize| networks.latent_size(branches * settings.batch, width, height);
    // Composed prompts and the picture's own guidance (pix2pix) are one batch; so is what the person says is one, or runs apart in any case.
    let may_part = guided && networks.unet.extra_channels() == 0 && !settings.prompt.contains("AND");
    let one = match settings.knobs.get(&BATCH) as usize {
        0 if may_part => Some(size(1)?),
        _ => None,
    };
    let at_once = guided && !(may_part && settings.knobs.get(&BATCH) as usize == 2);
    Ok(Most { all: size(if at_once { 2 } else { 1 })?, one })
}

/// The first picture by the preview decoder, where that is wanted and the model ships one.
async fn quick_look(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    staged: &Staged,
    control: &Control,
) -> Result<Option<Picture>, EngineError> {
    if !control.is_quick {
        return Ok(None);
    }
    let [_, c, h, w] = staged.shape;
    let first = Tensor::upload(gpu, "quick look", &staged.latents[..h * w * c], h * w, c)?;
    networks.preview(&first, Size { n: 1, h, w }).await
}

/// Latents for the second pass of hires-fix: NHWC of the whole batch at the larger size.
async fn enlarge(
    gpu: &Arc<Gpu>,
    networks: &mut Networks,
    staged: &Staged,
    hires: &Hires,
    larger: &Settings,
    control: &mut Control,
) -> Result<Vec<f32>, EngineError> {
    let [n, c, h, w] = staged.shape;
    let size = networks.latent_size(n, larger.width, larger.height)?;
    let mut out = Vec::new();
    match hires.upscaler {
        Upscaler::Latent(filter) => {
            for data in staged.latents.chunks(h * w * c) {
                let grid = Grid { h, w, c, data: data.to_vec() };
                out.extend(upscale::latents(&grid, size.h, size.w, filter).data);
            }
        }
        Upscaler::Picture(filter) => {
            for picture in decode_batch(gpu, networks, &staged.latents, staged.shape, control).await? {
                let picture = picture.scaled(larger.width, larger.height, filter);
                out.extend(encode_init(gpu, networks, &picture, larger, control).await?);
            }
        }
    }
    Ok(out)
}

impl Networks {
    /// A small picture of latents, where the model ships a preview decoder; the first sample only.
    pub(crate) async fn preview(&self, latents: &Tensor, size: Size) -> Result<Option<Picture>, EngineError> {
        let Some((store, decoder)) = &self.preview else { return Ok(None) };
        let gpu = store.gpu();
        let one = Size { n: 1, ..size };
        let pass = self.preview_pass.over(one, || decoder.record(gpu, one))?;
        let mut rec = Recorder::new(gpu);
        rec.copy(latents, 0, &pass.input, 0, pass.input.bytes());
        rec.include(&pass.program);
        rec.finish().submit();
        let data: Vec<f32> = pass.output.read(gpu).await?.iter().map(|v| v * 2.0 - 1.0).collect();
        Ok(Some(Picture::from_unit(&data, pass.size.w, pass.size.h)))
    }
}
