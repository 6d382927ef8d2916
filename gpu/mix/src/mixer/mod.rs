//! The mixer: an opened recipe that gives the effective value of any tensor, on the device or as a file's bytes.
//!
//! Values always come from the pristine files, in f32, through the merge stages in order, then the adapters, then one rounding to the
//! tensor's type. What a recipe does to a tensor is in `plan`, the work in `compute`, what is refused beforehand in `checks`.

mod checks;
mod compute;
mod plan;
mod settle;
mod stack;

pub(crate) use compute::Work;

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::adapter::Adapter;
use admix_files::{Checkpoint, DType};
use admix_tensor::Gpu;
use admix_tensor::kernels::Source;

use crate::MixError;
use crate::adapters::OpenAdapter;
use crate::cache::Cache;
use crate::low_rank::LowRank;
use crate::method::{Method, Settings, method};
use crate::recipe::{Recipe, Reference};
use crate::survey::SharedFacts;

/// How one model of a merge stage fits the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelReport {
    /// The model's reference.
    pub reference: String,
    /// Its sha256.
    pub sha256: String,
    /// Tensors it shares with the base.
    pub matched: usize,
    /// Tensors of the base that it lacks: those stay as they are.
    pub missing: Vec<String>,
    /// Tensors it has and the base lacks: those are not used.
    pub extra: Vec<String>,
}

/// How one adapter fits the base.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterReport {
    /// The adapter's reference.
    pub name: String,
    /// Its sha256.
    pub sha256: String,
    /// The checksum of its data, by which A1111 knows it (AutoV3); none for folders of several files.
    pub autov3: Option<String>,
    /// Its weight in the recipe.
    pub weight: f64,
    /// Modules that are applied.
    pub matched: usize,
    /// Keys that belong to nothing in the base.
    pub unmatched: Vec<String>,
    /// Modules whose shape differs from the base's tensor: key, expected, found.
    pub mismatched: Vec<(String, String, String)>,
    /// Why something does not fit, where that can be told.
    pub cause: Option<String>,
}

/// The effective value of a tensor on the device.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its elements, in the checkpoint's layout, rounded to `dtype` (f16 as pairs, everything else as f32).
    pub source: Source,
    /// The type it is rounded to.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A change to run beside a weight: y = W x + weight (rows o (W x) + W (columns o x) + scale up (down x)). See [`crate::beside`].
#[derive(Clone, Debug)]
pub struct SidePart<'a> {
    /// Which adapter of the recipe.
    pub adapter: usize,
    /// The factors; scale inside.
    pub factors: Option<&'a LowRank>,
    /// Factors of the outputs, less 1.
    pub rows: Option<&'a [f32]>,
    /// Those factors reach the bias too.
    pub biased: bool,
    /// Factors of the inputs, less 1.
    pub columns: Option<&'a [f32]>,
    /// The adapter's weight for this tensor, block factors included.
    pub weight: f64,
    /// Part of the sampling range it acts in.
    pub range: (f64, f64),
}

impl SidePart<'_> {
    fn new(adapter: usize, weight: f64, range: (f64, f64)) -> Self {
        SidePart { adapter, factors: None, rows: None, biased: false, columns: None, weight, range }
    }
}

/// An opened merge stage.
pub(crate) struct OpenStage {
    pub method: &'static dyn Method,
    pub models: Vec<Arc<Checkpoint>>,
    pub minus: Vec<Option<Arc<Checkpoint>>>,
}

/// What a stage does to one tensor.
pub(crate) struct StagePlan<'a> {
    /// Which models take part.
    pub taking_part: Vec<usize>,
    pub settings: Settings<'a>,
    /// Share of the change that is applied, for methods without weights.
    pub strength: f64,
}

/// An opened recipe.
pub struct Mixer {
    gpu: Arc<Gpu>,
    recipe: Recipe,
    base: Arc<Checkpoint>,
    pub(crate) stages: Vec<OpenStage>,
    adapters: Vec<OpenAdapter>,
    models: Vec<ModelReport>,
    reports: Vec<AdapterReport>,
    checksums: HashMap<String, String>,
    warnings: Vec<String>,
    unmerged: bool,
    dtype: Option<DType>,
    pub(crate) facts: SharedFacts,
    pub(crate) cache: Option<Arc<Cache>>,
}

impl Mixer {
    /// Opens a recipe: checks that its models and adapters fit together, reads the adapters, reads no weights.
    ///
    /// `checkpoints` and `adapters` hold everything that [`Recipe::checkpoint_refs`] and the recipe's adapters name. With `allow_changed` a
    /// differing sha256 is a warning. With `unmerged` the adapters stay out of the weights (see [`Mixer::side_parts`]).
    pub async fn open(
        gpu: &Arc<Gpu>,
        recipe: &Recipe,
        checkpoints: &HashMap<String, Arc<Checkpoint>>,
        adapters: &HashMap<String, Arc<Adapter>>,
        allow_changed: bool,
        unmerged: bool,
    ) -> Result<Mixer, MixError> {
        recipe.check()?;
        let find = |reference: &Reference| {
            let missing = || MixError::recipe("ref", format!("{} was not opened", reference.reference));
            checkpoints.get(&reference.reference).cloned().ok_or_else(missing)
        };
        let base = find(&recipe.base)?;
        let mut stages = Vec::new();
        for stage in &recipe.merge {
            stages.push(OpenStage {
                method: method(&stage.method)?,
                models: stage.models.iter().map(|m| find(&m.source)).collect::<Result<_, _>>()?,
                minus: stage.models.iter().map(|m| m.minus.as_ref().map(find).transpose()).collect::<Result<_, _>>()?,
            });
        }
        let mut mixer = Mixer {
            gpu: gpu.clone(),
            recipe: recipe.clone(),
            base,
            stages,
            adapters: Vec::new(),
            models: Vec::new(),
            reports: Vec::new(),
            checksums: HashMap::new(),
            warnings: Vec::new(),
            unmerged,
            dtype: None,
            facts: SharedFacts::default(),
            cache: None,
        };
        mixer.check_blocks()?;
        mixer.check_models()?;
        for used in &recipe.adapters {
            let name = &used.source.reference;
            let missing = || MixError::recipe("adapters", format!("{name} was not opened"));
            let adapter = adapters.get(name).ok_or_else(missing)?;
            let open = OpenAdapter::open(used, adapter, &mixer.base, unmerged, &mut mixer.warnings);
            let (opened, report) = open.await?;
            mixer.checksums.insert(name.clone(), report.sha256.clone());
            mixer.adapters.push(opened);
            mixer.reports.push(report);
        }
        for (reference, checkpoint) in checkpoints {
            if recipe.checkpoint_refs().contains(&reference.as_str()) {
                mixer.checksums.insert(reference.clone(), checkpoint.sha256().await?);
            }
        }
        for report in &mut mixer.models {
            report.sha256 = mixer.checksums.get(&report.reference).cloned().unwrap_or_default();
        }
        mixer.check_sums(allow_changed)?;
        Ok(mixer)
    }

    /// Rounds every floating-point tensor to `dtype` instead of its own type.
    pub fn with_dtype(mut self, dtype: Option<DType>) -> Mixer {
        self.dtype = dtype;
        self
    }

    /// Takes inputs, thresholds and surveys from `cache`, and leaves there what [`Mixer::effective`] computes: for recipes that follow one
    /// another. The values are the same bits with and without.
    pub fn with_cache(mut self, cache: Option<Arc<Cache>>) -> Mixer {
        if let Some(cache) = &cache {
            cache.begin_round(self.gpu.failures());
        }
        self.cache = cache;
        self
    }

    /// What stays from one recipe to the next, if anything.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// Bytes of the recipe's base and models, every file once.
    pub fn model_bytes(&self) -> u64 {
        let mut seen: HashMap<*const Checkpoint, u64> = HashMap::new();
        let opened = self.stages.iter().flat_map(|s| s.models.iter().chain(s.minus.iter().flatten()));
        for checkpoint in opened.chain([&self.base]) {
            let bytes = || checkpoint.tensors.values().map(|t| t.info.range.end - t.info.range.start).sum();
            seen.entry(Arc::as_ptr(checkpoint)).or_insert_with(bytes);
        }
        seen.values().sum()
    }

    /// Whether the recipe's models are larger than what the device has for them, so that writing the mix streams them through the host, some
    /// tensors at a time; none where the device does not say.
    pub fn streams(&self) -> Option<bool> {
        self.gpu.memory(0).map(|free| self.model_bytes() > free)
    }

    /// The type that replaces the tensors' own, if any.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The base model.
    pub fn base(&self) -> &Arc<Checkpoint> {
        &self.base
    }

    /// The recipe as it was opened.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// How the adapters fit, in the recipe's order.
    pub fn reports(&self) -> &[AdapterReport] {
        &self.reports
    }

    /// How the models of the merge stages fit, in the recipe's order.
    pub fn model_reports(&self) -> &[ModelReport] {
        &self.models
    }

    /// What a person should know, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds to what a person should know.
    pub fn warn(&mut self, line: String) {
        self.warnings.push(line);
    }

    /// The recipe with the sha256 of every file in it.
    pub fn recipe_with_checksums(&self) -> Recipe {
        let mut recipe = self.recipe.clone();
        for reference in recipe.references_mut() {
            if let Some(sum) = self.checksums.get(&reference.reference) {
                reference.sha256 = Some(sum.clone());
            }
        }
        recipe
    }
}
