//! Adapter files: what they hold, how it is spelled, and how well it fits a model.
//!
//! Two things vary independently. A [`Family`] is a kind of change to a weight (LoRA, LoHa, ...): one file each in
//! `family/`, told by the endings of its keys. A [`Dialect`] is a way of spelling module names (kohya, peft, diffusers):
//! one file each in `dialect/`. A dialect never takes a name apart; it spells the model's own names, and the file's are
//! looked up among them.

pub mod change;
mod dialect;
pub mod embedding;
mod factors;
mod facts;
mod family;
mod fit;
mod open;
mod peft_settings;
mod targets;
mod understood;

pub use change::{Change, Changes, Extent};
pub use dialect::{Dialect, dialects};
pub use embedding::{Embedding, EmbeddingRows, Encoder};
pub use factors::Factors;
pub use facts::{AdapterFacts, Tag, Training};
pub use family::bitdelta;
pub use family::{Array, BiasUse, Built, Family, Fits, Group, Settings, Values, families, family};
pub use fit::{FitReport, Match, Mismatch};
pub use targets::Targets;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::safetensors::TensorInfo;
use crate::source::SharedSource;
use indexmap::IndexMap;

/// A stored tensor of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which of the adapter's files.
    pub source: usize,
    /// Key in that file.
    pub key: String,
    /// Type, shape and place.
    pub info: TensorInfo,
}

/// The change that an adapter makes to one weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// The module's name as the file spells it.
    pub name: String,
    /// Identifier of its family, e.g. `lora`.
    pub family: &'static str,
    /// Its stored tensors.
    pub group: Group,
    /// What determines its scale, and peft's configuration.
    pub settings: Settings,
    /// Which weights it fits.
    pub fits: Fits,
    /// What it does to the bias beside the weight.
    pub bias: BiasUse,
    /// Rank, for families that have one.
    pub rank: Option<usize>,
    /// The stated alpha.
    pub alpha: Option<f64>,
    /// What the delta is multiplied with, before the user's weight.
    pub scale: f64,
    /// The component its file belongs to, where the file's place tells (`unet/adapter_model.safetensors`).
    pub component: Option<String>,
    /// Number of parameters stored for it.
    pub parameters: usize,
}

/// An opened adapter: headers, settings and alphas are read, the factors are not.
pub struct Adapter {
    /// What errors and reports call it.
    pub name: String,
    /// The type in reports: `lora`, `locon`, `loha`, ...
    pub kind: String,
    /// Identifier of the dialect of most of its modules, e.g. `kohya`.
    pub dialect: &'static str,
    /// Modules by name as the file spells it.
    pub modules: IndexMap<String, Module>,
    /// Keys that belong to no module.
    pub stray: Vec<String>,
    /// The files' metadata.
    pub metadata: IndexMap<String, String>,
    /// Words that call it up, the author's own first, then the most frequent captions of its training.
    pub triggers: Vec<String>,
    /// What the file and those beside it say about it.
    pub facts: AdapterFacts,
    /// Digest of the settings that lie beside its weights; empty where there are none.
    beside: String,
    /// Rows of a textual inversion.
    embedding: Vec<(Encoder, Slot)>,
    sources: Vec<SharedSource>,
    bundle: Bundle,
}

impl Adapter {
    /// Opens a `.safetensors` file or a folder (peft's, or one with a single weights file).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        crate::source::ready(Self::load(Bundle::open(path)?))
    }

    /// Opens a bundle.
    ///
    /// # Errors
    /// Damaged files, files that are no adapter, factors that do not fit together. A kind that is recognised but not
    /// applied yet is opened all the same, for inspection; see [`Adapter::check_supported`].
    pub async fn load(bundle: Bundle) -> Result<Self> {
        open::load(bundle).await
    }

    /// Refuses kinds that are recognised but not applied yet, by name.
    pub fn check_supported(&self) -> Result<()> {
        let refused = |m: &&Module| family(m.family).is_none_or(|f| !f.is_applied());
        let Some(module) = self.modules.values().find(refused) else { return Ok(()) };
        let label = family(module.family).map_or(module.family, |f| f.label());
        Err(Error::NotA {
            file: self.name.clone(),
            why: format!("{label} adapters are recognised but not applied yet (module `{}`)", module.name),
        })
    }

    /// The rank, if all modules have the same; else the largest.
    pub fn rank(&self) -> Option<usize> {
        self.modules.values().filter_map(|m| m.rank).max()
    }

    /// Number of stored parameters.
    pub fn parameters(&self) -> usize {
        self.modules.values().map(|m| m.parameters).sum()
    }

    /// SHA-256 of the file, or of a folder as [`crate::hash::bundle_sha256`] defines it.
    pub async fn sha256(&self) -> Result<String> {
        crate::hash::bundle_sha256(&self.bundle).await
    }

    /// [`Adapter::sha256`] and, behind it, a digest of the settings beside the weights (`adapter_config.json`): equal for equal changes. For whoever keeps
    /// what was computed; the checksum alone stays when somebody edits `lora_alpha`.
    pub async fn state_sum(&self) -> Result<String> {
        let sum = self.sha256().await?;
        Ok(if self.beside.is_empty() { sum } else { format!("{sum} {}", self.beside) })
    }

    /// The files it was opened from.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The stored elements of a tensor as f32.
    pub async fn read_f32(&self, slot: &Slot) -> Result<Vec<f32>> {
        let source = self
            .sources
            .get(slot.source)
            .ok_or_else(|| Error::Usage(format!("tensor `{}` belongs to another adapter", slot.key)))?;
        Ok(slot.info.dtype.decode_f32(&source.read(slot.info.range.clone()).await?))
    }

    /// The textual inversion that the file holds; none for adapters that change weights.
    ///
    /// # Errors
    /// Values that are not finite, two sets of rows for one encoder, unequal numbers of rows.
    pub async fn embedding(&self) -> Result<Option<Embedding>> {
        match &self.embedding[..] {
            [] => Ok(None),
            slots => embedding::read(self, slots).await.map(Some),
        }
    }

    /// The factors of a module that states the whole shape of its weight and changes it by a low-rank product (LoRA, LoCon).
    ///
    /// # Errors
    /// Modules of another form, and what [`Adapter::changes`] refuses.
    pub async fn factors(&self, module: &Module) -> Result<Factors> {
        if let Fits::Whole(shape) = &module.fits
            && let Some(Change::LowRank(factors)) = self.changes(module, shape).await?.weight
        {
            return Ok(factors);
        }
        let why = format!("module `{}` is of type {}, not a low-rank one", module.name, module.family);
        Err(Error::NotA { file: self.name.clone(), why })
    }

    /// What a module does to a weight of `shape` and to the bias beside it: its tensors are read, checked and combined.
    ///
    /// # Errors
    /// Numbers that are not finite, and numbers that fit no weight of that shape.
    pub async fn changes(&self, module: &Module, shape: &[usize]) -> Result<Changes> {
        let mut values = Values::default();
        for (role, slot) in &module.group.slots {
            let data = self.read_f32(slot).await?;
            crate::checkpoint::first_non_finite(&self.name, &slot.key, &data)?;
            values.arrays.insert(role, Array { shape: slot.info.shape.clone(), data });
        }
        let broken =
            |why: String| Error::NotA { file: self.name.clone(), why: format!("module `{}`: {why}", module.name) };
        if let Some(wanted) = values.get(family::RESHAPE) {
            let wanted: Vec<usize> = wanted.data.iter().map(|v| *v as usize).collect();
            if Extent::of(&wanted) != Extent::of(shape) {
                let why = format!(
                    "it wants the model's weight padded to {wanted:?} first, which would make it another network"
                );
                return Err(broken(why));
            }
        }
        let family = family(module.family).ok_or_else(|| broken("its kind is not known".into()))?;
        let extent = Extent::of(shape);
        let mut changes = family.changes(&values, module, extent).map_err(broken)?;
        if let Some(more) = values.get(family::BIAS)
            && changes.bias.is_none()
        {
            changes.bias = Some(Change::Add { values: more.data.clone(), scale: 1.0 });
        }
        if let Some(whole) =
            values.get(family::WHOLE_BIAS).filter(|_| module.family != "saved" && module.family != "resadapter")
        {
            if changes.bias.is_some() {
                return Err(broken("it both adds to the layer's bias and replaces it".into()));
            }
            changes.bias = Some(Change::Replace(whole.data.clone()));
        }
        let counted = |change: &Option<Change>, expected: usize| match change {
            Some(Change::Add { values, .. } | Change::Replace(values)) => values.len() == expected,
            _ => true,
        };
        if !counted(&changes.weight, extent.len()) || !counted(&changes.bias, extent.rows) {
            return Err(broken(format!("it does not hold as many numbers as a weight of {shape:?} and its bias have")));
        }
        Ok(changes)
    }
}

/// Whether a key is one that adapters have and checkpoints do not.
pub fn looks_like_adapter_key(key: &str) -> bool {
    family::split_key(key).is_some_and(|(_, _, telling)| telling)
}
