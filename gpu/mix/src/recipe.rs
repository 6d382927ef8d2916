//! The recipe: one JSON object that says what a picture or a checkpoint was made of, and makes it again.
//!
//! ```json
//! { "admix": 1,
//!   "base": {"ref": "builtin:mini"},
//!   "merge": [ {"method": "weighted_sum", "models": [ {"ref": "a.safetensors", "weight": 0.5} ]} ],
//!   "adapters": [ {"ref": "ink.safetensors", "weight": 0.8, "stop": 0.6} ],
//!   "sample": {"sampler": "dpmpp_2m", "steps": 20, "seed": 1} }
//! ```
//! Reading is strict: an unknown field, a wrong type or a value out of range is an error that names its place.

pub mod limits;
mod read;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::MixError;
use crate::adapter_merge::Combine;

/// The version of the recipe format that this build reads and writes.
pub const VERSION: u32 = 1;

/// Knobs of a technique by name: numbers, switches and words.
pub type Knobs = IndexMap<String, Value>;

/// Factors by block name (see [`crate::blocks`]).
pub type Blocks = IndexMap<String, f64>;

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Format version, always [`VERSION`].
    pub admix: u32,
    /// The model everything starts from.
    pub base: Reference,
    /// Merge stages, in order, each on the result of the one before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merge: Vec<Stage>,
    /// Adapters on top of the merged weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterUse>,
    /// How the adapters become one before they act; absent: they add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,
    /// How pictures are made; what is absent takes the program's or the model's default.
    #[serde(skip_serializing_if = "Sample::is_empty")]
    pub sample: Sample,
}

/// A file or a built-in model, with the sha256 it had when the recipe was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Reference {
    /// A path or `builtin:NAME`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Lower-case hexadecimal sha256, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Reference {
    /// A reference without a checksum.
    pub fn new(reference: impl Into<String>) -> Reference {
        Reference { reference: reference.into(), sha256: None }
    }
}

/// One merge stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// Name in the registry of methods.
    pub method: String,
    /// The models merged into the result so far.
    pub models: Vec<ModelUse>,
    /// Knobs of the method.
    #[serde(skip_serializing_if = "Knobs::is_empty")]
    pub params: Knobs,
    /// Factors on the models' weights by block; absent blocks have 1.
    #[serde(skip_serializing_if = "Blocks::is_empty")]
    pub blocks: Blocks,
    /// Seed of random methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A model inside a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelUse {
    /// The model.
    #[serde(flatten)]
    pub source: Reference,
    /// Its weight (1 where absent).
    pub weight: f64,
    /// Weight for text encoders, in place of `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_weight: Option<f64>,
    /// What `add_difference` subtracts from the model; the recipe's base where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minus: Option<Reference>,
    /// Factors on this model's weight by block, beside the stage's.
    #[serde(skip_serializing_if = "Blocks::is_empty")]
    pub blocks: Blocks,
    /// Per-model knobs of the method, such as `density`.
    #[serde(flatten)]
    pub params: Knobs,
}

/// An adapter with its strength and reach.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterUse {
    /// The adapter.
    #[serde(flatten)]
    pub source: Reference,
    /// Its weight (1 where absent).
    pub weight: f64,
    /// Weight for text encoders, in place of `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_weight: Option<f64>,
    /// Factors on the weight by block; absent blocks have 1.
    #[serde(skip_serializing_if = "Blocks::is_empty")]
    pub blocks: Blocks,
    /// First part of the sampling range it acts in, 0..1.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: f64,
    /// End of the sampling range it acts in, 0..1.
    #[serde(skip_serializing_if = "is_one")]
    pub stop: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl ModelUse {
    /// A model at a weight, without knobs.
    pub fn new(reference: impl Into<String>, weight: f64) -> ModelUse {
        let source = Reference::new(reference);
        ModelUse { source, weight, text_weight: None, minus: None, blocks: Blocks::new(), params: Knobs::new() }
    }
}

impl AdapterUse {
    /// An adapter at a weight, over the whole range.
    pub fn new(reference: impl Into<String>, weight: f64) -> AdapterUse {
        let source = Reference::new(reference);
        AdapterUse { source, weight, text_weight: None, blocks: Blocks::new(), start: 0.0, stop: 1.0 }
    }

    /// True when the adapter acts during all of sampling, so that it can be merged into the weights.
    pub fn is_whole(&self) -> bool {
        self.start <= 0.0 && self.stop >= 1.0
    }
}

/// How to make pictures. Everything is optional: the command line, the recipe, the model and the program fill it in that order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// What the picture shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What it must not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Name of the solver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Name of the noise schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Number of steps, 1..=1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale, 0..=100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg: Option<f64>,
    /// Guidance rescale, 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg_rescale: Option<f64>,
    /// Noise seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whose random numbers: `cpu`, `nv` or `comfy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rng: Option<String>,
    /// Width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Pictures at once, 1..=64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Which layer of the text encoder is read, counted from the end (1 = the last).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    /// How far a picture given to start from is changed, 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Knobs of the solver, the schedule and guidance.
    #[serde(skip_serializing_if = "Knobs::is_empty")]
    pub set: Knobs,
}

impl Sample {
    /// True when nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Sample::default()
    }

    /// These settings, with what is missing taken from `other`.
    pub fn or(&self, other: &Sample) -> Sample {
        let mut set = other.set.clone();
        set.extend(self.set.clone());
        let word = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone());
        Sample {
            prompt: word(&self.prompt, &other.prompt),
            negative: word(&self.negative, &other.negative),
            sampler: word(&self.sampler, &other.sampler),
            schedule: word(&self.schedule, &other.schedule),
            steps: self.steps.or(other.steps),
            cfg: self.cfg.or(other.cfg),
            cfg_rescale: self.cfg_rescale.or(other.cfg_rescale),
            seed: self.seed.or(other.seed),
            rng: word(&self.rng, &other.rng),
            width: self.width.or(other.width),
            height: self.height.or(other.height),
            batch: self.batch.or(other.batch),
            clip_skip: self.clip_skip.or(other.clip_skip),
            strength: self.strength.or(other.strength),
            set,
        }
    }
}

impl Recipe {
    /// A recipe of a bare model.
    pub fn new(base: impl Into<String>) -> Recipe {
        Recipe {
            admix: VERSION,
            base: Reference::new(base),
            merge: Vec::new(),
            adapters: Vec::new(),
            combine: None,
            sample: Sample::default(),
        }
    }

    /// Reads a recipe. Errors name the field and its place ([`MixError::Recipe`]).
    pub fn from_json(text: &str) -> Result<Recipe, MixError> {
        let value: Value = serde_json::from_str(text).map_err(|e| MixError::recipe("JSON", e.to_string()))?;
        Recipe::from_value(&value)
    }

    /// Reads a recipe from parsed JSON.
    pub fn from_value(value: &Value) -> Result<Recipe, MixError> {
        let recipe = read::recipe(value)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as JSON, on one line or (`pretty`) indented. Reading it gives the same recipe.
    pub fn to_json(&self, pretty: bool) -> String {
        let value = serde_json::to_value(self).unwrap_or(Value::Null);
        if pretty { format!("{value:#}") } else { value.to_string() }
    }

    /// The checkpoints it names, each once: the base, the models and what they are compared with.
    pub fn checkpoint_refs(&self) -> Vec<&str> {
        let models = self.merge.iter().flat_map(|s| &s.models);
        let named = models.flat_map(|m| std::iter::once(&m.source).chain(&m.minus));
        let mut refs: Vec<&str> = Vec::new();
        for reference in std::iter::once(&self.base).chain(named) {
            if !refs.contains(&reference.reference.as_str()) {
                refs.push(&reference.reference);
            }
        }
        refs
    }

    /// Every reference in it, adapters too, for filling in checksums.
    pub fn references_mut(&mut self) -> impl Iterator<Item = &mut Reference> {
        let models = self.merge.iter_mut().flat_map(|s| &mut s.models);
        let named = models.flat_map(|m| std::iter::once(&mut m.source).chain(&mut m.minus));
        std::iter::once(&mut self.base).chain(named).chain(self.adapters.iter_mut().map(|a| &mut a.source))
    }

    /// Checks method names, their knobs and the number of their models against the registry.
    pub fn check(&self) -> Result<(), MixError> {
        for (i, stage) in self.merge.iter().enumerate() {
            crate::method::check_stage(stage, &format!("merge[{i}]"))?;
        }
        if self.combine.is_some()
            && let Some(i) = self.adapters.iter().position(|a| !a.is_whole())
        {
            let reason = "combined adapters act during all of sampling; leave start and stop away, or combine";
            return Err(MixError::recipe(format!("adapters[{i}]"), reason));
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Recipe {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Recipe, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Recipe::from_value(&value).map_err(serde::de::Error::custom)
    }
}
