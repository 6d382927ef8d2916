//! Sampling settings with every default filled in: command line, recipe, model, program, in that order.

use admix_files::checkpoint::ModelFamily;
use admix_files::config::SchedulerConfig;
use admix_mix::Mixer;
use admix_mix::recipe::{Recipe, Sample, limits};
use admix_model::prompt::Rules;
use admix_sample::registry::adapted;
use admix_sample::rng::Kind;
use admix_sample::{Knob, KnobValues, ModelSampling, NoiseConfig, SampleError, names};
use serde_json::Value;

use crate::conditioning::knobs as prompt_knobs;
use crate::render::Given;
use crate::{EngineError, mask, start, upscale, variation};

/// Settings of one render.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show.
    pub negative: String,
    /// Solver, by its own name.
    pub sampler: String,
    /// Noise schedule by its own name; `auto` where nobody names one.
    pub schedule: String,
    /// Steps.
    pub steps: usize,
    /// Guidance scale; 1 runs without the negative prompt.
    pub cfg: f64,
    /// Guidance rescale.
    pub cfg_rescale: f64,
    /// Seed of the first picture.
    pub seed: u64,
    /// Whose random numbers.
    pub rng: Kind,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Pictures at once.
    pub batch: usize,
    /// Layer of the text encoder that is read, from the end (1 = last). No later one is read than the model was trained on (SDXL: 2).
    pub clip_skip: usize,
    /// What SDXL is told about sizes.
    pub sizes: Sizes,
    /// How far a given picture is changed.
    pub strength: f64,
    /// Run adapters beside the weights instead of merged into them.
    pub unmerged: bool,
    /// Knobs of solver and schedule.
    pub knobs: KnobValues,
    /// Knobs of what happens around sampling.
    pub options: Options,
    /// The model's noise.
    pub sampling: ModelSampling,
}

/// Whether adapters are added into the weights.
pub const ADAPTERS: Knob = Knob::choice(
    "adapters",
    "Adapters",
    &["merged", "unmerged"],
    "merged: added into the weights; unmerged: run beside them",
);

/// Its name.
pub const ADAPTERS_KNOB: &str = ADAPTERS.name;

/// How prompts are read.
pub const PROMPT_KNOBS: &[Knob] = prompt_knobs::ALL;

/// True when the recipe asks for adapters beside the weights (`--set adapters=unmerged`).
pub fn wants_unmerged(sample: &Sample) -> Result<bool, EngineError> {
    match sample.set.get(ADAPTERS_KNOB) {
        None => Ok(false),
        Some(Value::String(s)) if s == "merged" => Ok(false),
        Some(Value::String(s)) if s == "unmerged" => Ok(true),
        Some(other) => Err(EngineError::Input(format!("{ADAPTERS_KNOB} = {other} is unknown; use merged or unmerged"))),
    }
}

/// SDXL's micro-conditioning (Podell et al. 2023, section 2.2): widths and heights in pixels that the U-Net is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Size of the picture before it was scaled for training: [width, height].
    pub original: [u32; 2],
    /// Where it was cropped: [left, top].
    pub crop: [u32; 2],
    /// Size of the result: [width, height].
    pub target: [u32; 2],
}

impl Sizes {
    /// Below `set` in a recipe. By default the picture's own size, nothing cropped.
    pub const ALL: [Knob; 3] = [
        Knob::text(
            "original_size",
            "Original size",
            "size that SDXL is told the picture had, as 1024x1024; its own by default",
        ),
        Knob::text("crop", "Crop", "where SDXL is told the picture was cropped, left x top, as 0x0"),
        Knob::text(
            "target_size",
            "Target size",
            "size that SDXL is told the picture gets, as 1024x1024; its own by default",
        ),
    ];

    /// Their names.
    pub const KNOBS: [&'static str; 3] = [Self::ALL[0].name, Self::ALL[1].name, Self::ALL[2].name];

    fn resolve(sample: &Sample, size: [usize; 2]) -> Result<Sizes, EngineError> {
        let own = size.map(|v| v as u32);
        let read = |name: &str, default: [u32; 2]| match sample.set.get(name) {
            None => Ok(default),
            Some(value) => {
                let text = value.as_str().unwrap_or_default();
                let two =
                    text.split_once('x').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
                two.filter(|two| two.iter().all(|v| *v <= 65_536))
                    .ok_or_else(|| EngineError::Input(format!("{name} = {value} is no size; write it as 1024x1024")))
            }
        };
        let [original, crop, target] = Self::KNOBS;
        Ok(Sizes { original: read(original, own)?, crop: read(crop, [0, 0])?, target: read(target, own)? })
    }

    /// Where these are the size of a picture, that of another: for a second pass at another size.
    pub fn moved(self, from: [usize; 2], to: [usize; 2]) -> Sizes {
        let (from, to) = (from.map(|v| v as u32), to.map(|v| v as u32));
        let other = |size: [u32; 2]| if size == from { to } else { size };
        Sizes { original: other(self.original), target: other(self.target), ..self }
    }

    /// The numbers the U-Net reads, heights first: six, or the refiner's five with an aesthetic score (6 for prompts, 2.5 for negative ones).
    ///
    /// # Errors
    /// Another count.
    pub fn time_ids(&self, count: usize, negative: bool) -> Result<Vec<f64>, EngineError> {
        let pair = |[x, y]: [u32; 2]| [f64::from(y), f64::from(x)];
        let mut ids = [pair(self.original), pair(self.crop)].concat();
        match count {
            6 => ids.extend(pair(self.target)),
            5 => ids.push(if negative { 2.5 } else { 6.0 }),
            _ => {
                return Err(EngineError::Input(format!(
                    "this U-Net reads {count} size values; 6 (SDXL) or 5 are known"
                )));
            }
        }
        Ok(ids)
    }
}

/// What the model is, where its shapes do not tell it rightly: which padding its tokenizer gets and how its text encoders are read.
pub const FAMILY: Knob = Knob::choice(
    "family",
    "Model family",
    &["auto", "sd1", "sd2", "sdxl"],
    "what the base model is; auto: what its shapes say (admix inspect lists why)",
);

/// Values of the knobs that are neither the solver's nor the schedule's: how prompts are read, what a picture is started from, a second pass.
#[derive(Clone, Debug, Default)]
pub struct Options {
    values: KnobValues,
    invert_prompt: String,
}

impl Options {
    /// Every such knob.
    pub fn knobs() -> impl Iterator<Item = Knob> {
        [prompt_knobs::ALL, start::KNOBS, mask::ALL, upscale::ALL, variation::ALL, &[FAMILY]]
            .into_iter()
            .flatten()
            .copied()
    }

    /// The values a recipe sets. Errors: one of them is not known or out of range.
    pub fn read(sample: &Sample) -> Result<Options, EngineError> {
        let mut values = KnobValues::new();
        for knob in Options::knobs() {
            if let Some(value) = sample.set.get(knob.name).filter(|_| !knob.is_text()) {
                values.set(knob.name, knob.parse(&knob_text(value)).map_err(SampleError::from)?);
            }
        }
        let invert_prompt = sample.set.get(start::INVERT_PROMPT.name).map(knob_text).unwrap_or_default();
        Ok(Options { values, invert_prompt })
    }

    /// How prompts are read.
    pub fn rules(&self) -> Rules {
        prompt_knobs::rules(&self.values)
    }

    /// Settings of the way from a picture to noise.
    pub fn inversion(&self, settings: &Settings) -> Settings {
        let cfg = self.values.get(&start::INVERT_CFG);
        Settings { prompt: self.invert_prompt.clone(), cfg, ..settings.clone() }
    }

    /// All values.
    pub fn values(&self) -> &KnobValues {
        &self.values
    }

    /// What a person says that the base model is.
    pub fn family(&self) -> Option<ModelFamily> {
        match self.values.get(&FAMILY) as usize {
            1 => Some(ModelFamily::Sd1),
            2 => Some(ModelFamily::Sd2),
            3 => Some(ModelFamily::Sdxl),
            _ => None,
        }
    }
}

/// The sampler of a run that names none.
pub const DEFAULT_SAMPLER: &str = "dpmpp_2m";

/// What the names of sampler and schedule mean.
fn named(sample: &Sample) -> Result<names::Meaning, EngineError> {
    let sampler = sample.sampler.as_deref().unwrap_or(DEFAULT_SAMPLER);
    Ok(names::resolve(sampler, sample.schedule.as_deref().unwrap_or("auto"))?)
}

/// A knob's typed value as a recipe holds it.
pub(crate) fn knob_json(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

/// Puts the solver's own name in place of one that other tools have for it, with the schedule and the knobs that the name stands for ("DPM++ 2M SDE Heun
/// Karras"). What the knobs are set to already stays; a name that is not known stays too.
pub fn spell_out(sample: &mut Sample) {
    let Some(meaning) = sample.sampler.as_deref().and_then(|s| names::resolve(s, "").ok()) else { return };
    sample.sampler = Some(meaning.solver.info().name.into());
    let is_open = |s: &str| ["", "auto", "automatic"].contains(&s.trim().to_lowercase().as_str());
    if let Some(stated) = meaning.stated
        && sample.schedule.as_deref().is_none_or(is_open)
    {
        sample.schedule = Some(stated.info().name.into());
    }
    for (name, value) in meaning.knobs {
        sample.set.entry((*name).into()).or_insert_with(|| knob_json(value));
    }
}

/// A knob's value as typed.
fn knob_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// A number of the table of limits, or its default.
fn limited(knob: &Knob, value: Option<f64>) -> Result<f64, EngineError> {
    let value = value.unwrap_or(knob.default);
    knob.check(value).map_err(|e| EngineError::Input(e.to_string()))
}

/// The noise levels a scheduler configuration describes.
pub fn model_sampling(config: &SchedulerConfig) -> Result<ModelSampling, EngineError> {
    Ok(ModelSampling::new(&NoiseConfig::from_diffusers(&config.to_json())?)?)
}

impl Settings {
    /// Fills in what the recipe leaves open. Errors: values out of range, unknown names.
    pub fn resolve(sample: &Sample, mixer: &Mixer, given: &Given) -> Result<Settings, EngineError> {
        let base = mixer.base();
        let factor = base.vae.as_ref().map_or(8, |v| 1usize << (v.block_out_channels.len() - 1));
        // The size the model was trained at: sample_size latent cells.
        let native = base.unet.as_ref().and_then(|u| u.sample_size).unwrap_or([64, 64]).map(|s| s * factor);
        let noise = given.noise.as_ref().map(|n| n.1);
        let rng = match sample.rng.as_deref() {
            None => Kind::Cpu,
            Some(name) => Kind::from_name(name).ok_or_else(|| {
                EngineError::Input(format!("unknown random number generator \"{name}\"; known: cpu, nv, comfy"))
            })?,
        };
        let mut knobs = KnobValues::default();
        for (name, value) in &sample.set {
            if name != ADAPTERS_KNOB
                && !Sizes::KNOBS.contains(&name.as_str())
                && !Options::knobs().any(|k| k.name == name)
            {
                knobs.set_text(name, &knob_text(value))?;
            }
        }
        let named = named(sample)?;
        let knobs = named.with(&knobs)?;
        let size = |value: Option<u32>, default: usize, name: &str| -> Result<usize, EngineError> {
            let value = value.map_or(default, |v| v as usize);
            if !limits::holds(&limits::WIDTH, value as u64) || !value.is_multiple_of(factor) {
                return Err(EngineError::Input(format!(
                    "{name} = {value} does not work with this model: it must be a multiple of {factor} between {} and {}",
                    limits::WIDTH.min,
                    limits::WIDTH.max
                )));
            }
            Ok(value)
        };
        let width = size(sample.width, noise.map_or(native[1], |n| n[3] * factor), "width")?;
        let height = size(sample.height, noise.map_or(native[0], |n| n[2] * factor), "height")?;
        let sampling = adapted(&model_sampling(&base.scheduler)?, &knobs)?.into_owned();
        Ok(Settings {
            prompt: sample.prompt.clone().unwrap_or_default(),
            negative: sample.negative.clone().unwrap_or_default(),
            sampler: named.solver.info().name.into(),
            schedule: named.stated.map_or("auto", |s| s.info().name).into(),
            steps: limited(&limits::STEPS, sample.steps.map(f64::from))? as usize,
            cfg: limited(&limits::CFG, sample.cfg)?,
            cfg_rescale: limited(&limits::CFG_RESCALE, sample.cfg_rescale)?,
            seed: sample.seed.unwrap_or(0),
            rng,
            width,
            height,
            batch: limited(&limits::BATCH, sample.batch.map(f64::from).or(noise.map(|n| n[0] as f64)))? as usize,
            clip_skip: limited(&limits::CLIP_SKIP, Some(f64::from(sample.clip_skip.unwrap_or(base.clip_skip as u32))))?
                as usize,
            sizes: Sizes::resolve(sample, [width, height])?,
            strength: limited(&limits::STRENGTH, sample.strength)?,
            unmerged: wants_unmerged(sample)?,
            knobs,
            options: Options::read(sample)?,
            sampling,
        })
    }

    /// The recipe that makes the same pictures again: every setting written out, checksums filled in.
    pub fn complete(&self, mixer: &Mixer, sample: &Sample) -> Recipe {
        let mut recipe = mixer.recipe_with_checksums();
        let mut spelt = sample.clone();
        spell_out(&mut spelt);
        recipe.sample = Sample {
            prompt: Some(self.prompt.clone()),
            negative: Some(self.negative.clone()),
            sampler: Some(self.sampler.clone()),
            schedule: Some(self.schedule.clone()),
            steps: Some(self.steps as u32),
            cfg: Some(self.cfg),
            cfg_rescale: sample.cfg_rescale,
            seed: Some(self.seed),
            rng: Some(self.rng.name().into()),
            width: Some(self.width as u32),
            height: Some(self.height as u32),
            batch: Some(self.batch as u32),
            clip_skip: Some(self.clip_skip as u32),
            strength: sample.strength,
            set: spelt.set,
        };
        recipe
    }
}
