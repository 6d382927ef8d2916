//! One stage of a render: from noise, or from latents, to finished latents at one size. Hires-fix has two of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use admix_model::prompt::Span;
use admix_sample::{Plan, PlanRequest};
use admix_tensor::Gpu;

use crate::EngineError;
use crate::conditioning::branches::Fold;
use crate::conditioning::{Inversions, encode_text};
use crate::control::{Control, Progress};
use crate::decode::{self, Grid};
use crate::denoise::Registers;
use crate::mask::{Inpaint, Mask, Rule};
use crate::networks::{Networks, Part};
use crate::picture::Picture;
use crate::render::{Given, to_nhwc};
use crate::sampling::Run;
use crate::settings::Settings;
use crate::start::{IMAGE_GUIDANCE, INVERT, Noise, encode_init, encode_unit, img2img, start_latents};

/// What the U-Net reads besides latents, by how many channels that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Mask and masked picture (Rombach et al. 2022, arXiv 2112.10752).
    Inpainting,
    /// The picture (InstructPix2Pix).
    Pix2Pix,
    Unknown,
}

impl Kind {
    fn of(networks: &Networks) -> Kind {
        let latent = networks.unet.latent_channels();
        match networks.unet.extra_channels() {
            0 => Kind::Plain,
            extra if extra == latent + 1 => Kind::Inpainting,
            extra if extra == latent => Kind::Pix2Pix,
            _ => Kind::Unknown,
        }
    }
}

/// What one stage is asked for. Its settings hold its own size, steps and strength.
pub(crate) struct Stage<'a> {
    pub settings: &'a Settings,
    pub given: &'a Given,
    /// Words of the prompts that stand for vectors.
    pub inversions: &'a Inversions,
    /// Latents to start from in place of the given picture's: NHWC of the whole batch.
    pub latents: Option<Vec<f32>>,
    /// The stage's steps, and those before it.
    pub span: Span,
    pub ranges: &'a BTreeMap<usize, (f64, f64)>,
}

/// What a stage gives back.
pub(crate) struct Staged {
    /// NHWC.
    pub latents: Vec<f32>,
    /// [n, c, h, w].
    pub shape: [usize; 4],
    /// Tokens that did not fit.
    pub dropped: usize,
    /// Seconds for the prompts.
    pub text: f64,
}

impl<'a> Stage<'a> {
    /// The first stage of a render.
    pub fn new(
        settings: &'a Settings,
        given: &'a Given,
        inversions: &'a Inversions,
        ranges: &'a BTreeMap<usize, (f64, f64)>,
    ) -> Stage<'a> {
        Stage { settings, given, inversions, latents: None, span: Span { steps: settings.steps, before: 0 }, ranges }
    }

    /// The plan: schedule and solver from their registries. `from_latents`: it does not start from noise alone.
    pub fn plan(&self, from_latents: bool) -> Result<Plan, EngineError> {
        Ok(admix_sample::plan(&self.request(from_latents))?)
    }

    fn request(&self, from_latents: bool) -> PlanRequest<'a> {
        let s = self.settings;
        let (steps, strength) = match from_latents {
            true => {
                let (steps, strength) = img2img(s.options.values(), s.steps, s.strength);
                (steps, Some(strength))
            }
            false => (s.steps, None),
        };
        PlanRequest { model: &s.sampling, sampler: &s.sampler, schedule: &s.schedule, steps, strength, knobs: &s.knobs }
    }

    /// Runs it. `later`: steps of stages after this one, for progress.
    pub async fn run(
        self,
        gpu: &Arc<Gpu>,
        networks: &mut Networks,
        later: usize,
        control: &mut Control,
    ) -> Result<Staged, EngineError> {
        let (settings, given) = (self.settings, self.given);
        let clock = web_time::Instant::now();
        control.report(Progress::Text)?;
        let n = settings.batch;
        // A model that reads the guidance scale runs without the unconditional half.
        let cfg = if networks.unet.reads_guidance() { 1.0 } else { settings.cfg };
        let kind = Kind::of(networks);
        let is_edit = kind == Kind::Pix2Pix && given.extra.is_none();
        let negatives = match crate::guides::negatives(settings, cfg) {
            1 if is_edit => 2,
            negatives => negatives,
        };
        let context =
            encode_text(gpu, networks, settings, given, self.inversions, negatives, self.span, control).await?;
        let text = clock.elapsed().as_secs_f64();

        let channels = networks.unet.latent_channels();
        let size = networks.latent_size(n, settings.width, settings.height)?;
        let shape = [n, channels, size.h, size.w];
        // Noise that was given is the first stage's.
        let own = Given::default();
        let mut noise = Noise::new(settings, if self.span.before == 0 { given } else { &own }, shape)?;
        let first = noise.draw(0);

        let picture = given.init.as_ref().map(|p| p.resized(settings.width, settings.height));
        let mask =
            given.mask.as_ref().map(|m| Mask::new(m, settings.width, settings.height, settings.options.values()));
        let kept = match &picture {
            Some(picture) => Some(encode_init(gpu, networks, picture, settings, control).await?),
            None => None,
        };
        let extra = extra_channels(
            gpu,
            networks,
            given,
            (picture.as_ref(), mask.as_ref(), kept.as_deref()),
            shape,
            context.samples,
            negatives,
            control,
        )
        .await?;
        let rule = Rule::of(settings.options.values());
        // diffusers' inpainting at full strength, and its pix2pix at any, begin with noise alone.
        let from_noise = is_edit || (mask.is_some() && rule == Rule::Diffusers && settings.strength >= 1.0);
        let start = self.latents.as_deref().or(kept.as_deref().filter(|_| !from_noise));
        let plan = self.plan(start.is_some())?;
        let x = start_latents(&plan, &first, start);
        let inpaint = match (&mask, &kept) {
            // A model that reads the mask itself is left alone by diffusers.
            (Some(mask), Some(kept)) if !(kind == Kind::Inpainting && rule == Rule::Diffusers) => {
                Some(Inpaint::new(gpu, rule, &mask.latent(size.w, size.h, rule), kept, &first)?)
            }
            _ => None,
        };
        let fold = match (context.is_composed(), negatives) {
            (_, 2) if is_edit => Some(Fold::pix2pix(settings.options.values().get(&IMAGE_GUIDANCE), &context.weights)),
            (true, _) => Some(Fold::composed(&context.weights)),
            _ => None,
        };
        // Strength 0 has nothing to decide.
        let adaptive = if plan.ops.is_empty() { None } else { admix_sample::adaptive(&self.request(start.is_some()))? };
        let before = self.span.before;
        let total = before + plan.steps + later;
        let run = Run {
            gpu,
            settings,
            context: &context,
            plan: &plan,
            adaptive: Cell::new(adaptive),
            size,
            channels,
            cfg,
            extra,
            fold,
            inpaint,
            ranges: self.ranges,
            before,
            total,
        };
        let inverts = settings.options.values().get(&INVERT) == 1.0 && before == 0;
        let latents = match (&kept, inverts) {
            (_, false) => run.latents(networks, &x, &mut noise, control).await?,
            (Some(kept), true) if kind == Kind::Plain && mask.is_none() => {
                self.inverted(run, networks, kept, &mut noise, control).await?
            }
            _ => {
                let why = "invert = bdia turns a picture into noise and back: it needs --init, no mask, and no inpainting or pix2pix model";
                return Err(EngineError::Input(why.into()));
            }
        };
        Ok(Staged { latents, shape, dropped: context.dropped, text })
    }
}

impl Stage<'_> {
    /// Picture to noise with one prompt, noise to picture with another (BDIA, Zhang et al. 2023, arXiv 2307.10829). `run` is the way back.
    async fn inverted(
        &self,
        run: Run<'_>,
        networks: &mut Networks,
        kept: &[f32],
        noise: &mut Noise<'_>,
        control: &mut Control,
    ) -> Result<Vec<f32>, EngineError> {
        let (gpu, settings) = (run.gpu, self.settings);
        let both = admix_sample::invert(&self.request(true))?;
        let source = settings.options.inversion(settings);
        let cfg = if networks.unet.reads_guidance() { 1.0 } else { source.cfg };
        let own = Given::default();
        let negatives = usize::from(cfg != 1.0);
        let context = encode_text(gpu, networks, &source, &own, self.inversions, negatives, self.span, control).await?;
        let total = run.total - run.plan.steps + both.encode.steps + both.decode.steps;
        let there = Run {
            settings: &source,
            context: &context,
            plan: &both.encode,
            adaptive: Cell::new(None),
            cfg,
            fold: context.is_composed().then(|| Fold::composed(&context.weights)),
            inpaint: None,
            extra: run.extra.clone(),
            total,
            ..run
        };
        let x = start_latents(&both.encode, &kept.repeat(settings.batch), Some(kept));
        let count = both.encode.registers.max(both.decode.registers);
        let registers = Registers::new(gpu, count, run.size, run.channels, &x)?;
        there.carry_out(networks, &registers, noise, control).await?;
        let back = Run {
            plan: &both.decode,
            adaptive: Cell::new(None),
            before: both.encode.steps,
            total,
            inpaint: None,
            ..run
        };
        back.carry_out(networks, &registers, noise, control).await?;
        Ok(registers.get(both.decode.result.0).read(gpu).await?)
    }
}

/// What the U-Net reads after the latents, NHWC for every sample of all branches: given, or made from picture, mask and the picture's latents.
#[expect(clippy::too_many_arguments, reason = "one call")]
async fn extra_channels(
    gpu: &Arc<Gpu>,
    networks: &mut Networks,
    given: &Given,
    (picture, mask, kept): (Option<&Picture>, Option<&Mask>, Option<&[f32]>),
    [n, latent, h, w]: [usize; 4],
    samples: usize,
    negatives: usize,
    control: &mut Control,
) -> Result<Option<Vec<f32>>, EngineError> {
    let wanted = networks.unet.extra_channels();
    if wanted == 0 {
        return Ok(None);
    }
    if let Some((data, [count, channels, rows, columns])) = &given.extra {
        if *channels != wanted || (*rows, *columns) != (h, w) || (*count != 1 && *count != n) {
            return Err(EngineError::Input(format!(
                "the extra channels are {:?}, but this U-Net needs [1 or {n}, {wanted}, {h}, {w}]",
                [count, channels, rows, columns]
            )));
        }
        let one = to_nhwc(data, [*count, *channels, *rows, *columns]);
        return Ok(Some(one.repeat(samples / count)));
    }
    let refuse = |what: &str| {
        Err(EngineError::Input(format!(
            "this is {what}: its U-Net reads {wanted} channels beside the latents; give the picture (--init) and, for inpainting, a mask (--mask)"
        )))
    };
    match (Kind::of(networks), picture, kept) {
        (Kind::Inpainting, Some(picture), _) => {
            let (width, height) = (picture.width, picture.height);
            // Without a mask everything is painted anew.
            let all = Mask { width, height, data: vec![1.0; width * height] };
            let mask = mask.unwrap_or(&all);
            let hidden = Grid { h: height, w: width, c: 3, data: mask.hide(picture) };
            let hidden = encode_unit(gpu, networks, &hidden, control).await?;
            let small = mask.latent(w, h, Rule::Diffusers);
            let cells = small.iter().zip(hidden.chunks_exact(latent));
            let one: Vec<f32> = cells.flat_map(|(m, z)| std::iter::once(*m).chain(z.iter().copied())).collect();
            Ok(Some(one.repeat(samples)))
        }
        (Kind::Pix2Pix, Some(_), Some(kept)) => {
            // This model reads the picture's latents without the scale that the others have.
            let config = networks.vae.as_ref().map(|v| v.config());
            let (scale, shift) = config.map_or((1.0, 0.0), |c| (c.scaling_factor as f32, c.shift_factor as f32));
            let one: Vec<f32> = kept.iter().map(|v| v / scale + shift).collect();
            // The first of two unconditional branches knows nothing of the picture.
            let blind = if negatives == 2 { n } else { 0 };
            let mut out = vec![0.0; blind * one.len()];
            out.extend(one.repeat(samples - blind));
            Ok(Some(out))
        }
        (Kind::Inpainting, ..) => refuse("an inpainting model"),
        (Kind::Pix2Pix, ..) => refuse("a pix2pix model"),
        _ => refuse("a model of an unknown kind"),
    }
}

/// Latents to pictures.
pub(crate) async fn decode_batch(
    gpu: &Arc<Gpu>,
    networks: &mut Networks,
    latents: &[f32],
    [_, channels, h, w]: [usize; 4],
    control: &mut Control,
) -> Result<Vec<Picture>, EngineError> {
    networks.take_turn(Part::Decode, control).await?;
    let vae = networks
        .vae
        .as_ref()
        .ok_or_else(|| EngineError::Input("this checkpoint has no VAE, so latents cannot become pictures".into()))?;
    let free = networks.free();
    let mut out = Vec::new();
    for data in latents.chunks(h * w * channels) {
        let grid = Grid { h, w, c: channels, data: data.to_vec() };
        let picture = decode::decode(gpu, vae, &networks.decode_pass, &grid, free, control).await?;
        out.push(Picture::from_unit(&picture.data, picture.w, picture.h));
    }
    Ok(out)
}
