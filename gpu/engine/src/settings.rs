//! Sampling settings with every default filled in: command line, recipe, model, program, in that order.

use admix_files::config::SchedulerConfig;
use admix_mix::Mixer;
use admix_mix::recipe::{Recipe, Sample};
use admix_sample::rng::Kind;
use admix_sample::{KnobValues, ModelSampling, NoiseConfig};
use serde_json::Value;

use crate::EngineError;
use crate::render::Given;

/// Settings of one render.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show.
    pub negative: String,
    /// Solver.
    pub sampler: String,
    /// Noise schedule.
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
    /// Layer of the text encoder that is read, from the end (1 = last).
    pub clip_skip: usize,
    /// How far a given picture is changed.
    pub strength: f64,
    /// Run adapters beside the weights instead of merged into them.
    pub unmerged: bool,
    /// Knobs of solver and schedule.
    pub knobs: KnobValues,
    /// The model's noise.
    pub sampling: ModelSampling,
}

/// The knob that chooses between merged and un-merged adapters.
pub const ADAPTERS_KNOB: &str = "adapters";

/// True when the recipe asks for adapters beside the weights (`--set adapters=unmerged`).
pub fn wants_unmerged(sample: &Sample) -> Result<bool, EngineError> {
    match sample.set.get(ADAPTERS_KNOB) {
        None => Ok(false),
        Some(Value::String(s)) if s == "merged" => Ok(false),
        Some(Value::String(s)) if s == "unmerged" => Ok(true),
        Some(other) => Err(EngineError::Input(format!("{ADAPTERS_KNOB} = {other} is unknown; use merged or unmerged"))),
    }
}

fn range(name: &str, value: f64, min: f64, max: f64) -> Result<f64, EngineError> {
    if value.is_finite() && (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(EngineError::Input(format!("{name} = {value} is out of range ({min} to {max})")))
    }
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
            if name != ADAPTERS_KNOB {
                knobs.set_text(name, &value.as_str().map_or_else(|| value.to_string(), str::to_string))?;
            }
        }
        let size = |value: Option<u32>, default: usize, name: &str| -> Result<usize, EngineError> {
            let value = value.map_or(default, |v| v as usize);
            if value == 0 || value > 8192 || !value.is_multiple_of(factor) {
                return Err(EngineError::Input(format!(
                    "{name} = {value} does not work with this model: it must be a multiple of {factor} between {factor} and 8192"
                )));
            }
            Ok(value)
        };
        Ok(Settings {
            prompt: sample.prompt.clone().unwrap_or_default(),
            negative: sample.negative.clone().unwrap_or_default(),
            sampler: sample.sampler.clone().unwrap_or_else(|| "dpmpp_2m".into()),
            schedule: sample.schedule.clone().unwrap_or_else(|| "auto".into()),
            steps: range("steps", f64::from(sample.steps.unwrap_or(20)), 1.0, 1000.0)? as usize,
            cfg: range("cfg", sample.cfg.unwrap_or(7.0), 0.0, 100.0)?,
            cfg_rescale: range("cfg_rescale", sample.cfg_rescale.unwrap_or(0.0), 0.0, 1.0)?,
            seed: sample.seed.unwrap_or(0),
            rng,
            width: size(sample.width, noise.map_or(native[1], |n| n[3] * factor), "width")?,
            height: size(sample.height, noise.map_or(native[0], |n| n[2] * factor), "height")?,
            batch: range("batch", sample.batch.map_or(noise.map_or(1.0, |n| n[0] as f64), f64::from), 1.0, 64.0)?
                as usize,
            clip_skip: range("clip_skip", f64::from(sample.clip_skip.unwrap_or(1)), 1.0, 12.0)? as usize,
            strength: range("strength", sample.strength.unwrap_or(0.75), 0.0, 1.0)?,
            unmerged: wants_unmerged(sample)?,
            knobs,
            sampling: model_sampling(&base.scheduler)?,
        })
    }

    /// The recipe that makes the same pictures again: every setting written out, checksums filled in.
    pub fn complete(&self, mixer: &Mixer, sample: &Sample) -> Recipe {
        let mut recipe = mixer.recipe_with_checksums();
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
            set: sample.set.clone(),
        };
        recipe
    }
}
