//! The mixer: an opened recipe that gives the effective value of any tensor, on the device or as a file's bytes.
//!
//! Values always come from the pristine files, in f32, through the merge stages in order, then the adapters, then one rounding to the
//! tensor's type.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::adapter::{Adapter, Extent};
use admix_files::{Checkpoint, DType};
use admix_tensor::kernels::Source;
use admix_tensor::{Gpu, Recorder};

use crate::adapter_merge::{Combine, CombineMethod};
use crate::adapters::{OpenAdapter, Part};
use crate::change::add_change;
use crate::flat::{Flat, Kind};
use crate::low_rank::{LowRank, add_low_rank};
use crate::method::{Inputs, Method, Settings, method};
use crate::methods::linear;
use crate::quantize::{first_non_finite, input_kind, output_kind};
use crate::recipe::{ModelUse, Recipe, Reference};
use crate::survey::SharedFacts;
use crate::{MixError, blocks, survey};

/// Bytes of a tensor that are on the host at once, a multiple of every element's size. Small enough that copying and checking them keeps a
/// browser's thread busy for some milliseconds only.
const PIECE: u64 = 4 << 20;

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
    /// Its weight in the recipe.
    pub weight: f64,
    /// Modules that are applied.
    pub matched: usize,
    /// Keys that belong to nothing in the base.
    pub unmatched: Vec<String>,
    /// Modules whose shape differs from the base's tensor: key, expected, found.
    pub mismatched: Vec<(String, String, String)>,
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

/// A low-rank change to run beside a weight: y = W x + weight * scale * up (down x).
#[derive(Clone, Debug)]
pub struct SidePart {
    /// Which adapter of the recipe.
    pub adapter: usize,
    /// The factors; scale inside.
    pub factors: LowRank,
    /// The adapter's weight for this tensor, block factors included.
    pub weight: f64,
    /// Part of the sampling range it acts in.
    pub range: (f64, f64),
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

    fn check_sums(&mut self, allow_changed: bool) -> Result<(), MixError> {
        let mut recipe = self.recipe.clone();
        for reference in recipe.references_mut() {
            let found = self.checksums.get(&reference.reference);
            if let (Some(expected), Some(found)) = (&reference.sha256, found)
                && expected != found
            {
                let error = MixError::Changed {
                    reference: reference.reference.clone(),
                    expected: expected.clone(),
                    found: found.clone(),
                };
                if !allow_changed {
                    return Err(error);
                }
                self.warnings.push(error.to_string());
            }
        }
        Ok(())
    }

    /// Every block that the recipe names must hold at least one tensor of the base: a misspelt one would silently do nothing.
    fn check_blocks(&self) -> Result<(), MixError> {
        let stages = self.recipe.merge.iter().enumerate().map(|(i, s)| (format!("merge[{i}].blocks"), &s.blocks));
        let models = self.recipe.merge.iter().enumerate().flat_map(|(i, s)| {
            s.models.iter().enumerate().map(move |(j, m)| (format!("merge[{i}].models[{j}].blocks"), &m.blocks))
        });
        let adapters = self.recipe.adapters.iter().enumerate();
        let adapters = adapters.map(|(i, a)| (format!("adapters[{i}].blocks"), &a.blocks));
        for (place, named) in stages.chain(models).chain(adapters) {
            // Lists name all blocks of a family, whether a model has them or not.
            for block in named.keys().filter(|b| !blocks::is_mbw(b)) {
                if !self.base.tensors.keys().any(|name| blocks::lies_in(name, block)) {
                    let reason = "no tensor of the base lies in this block; blocks are named like unet.down.0, unet.mid, unet.up, text, vae";
                    return Err(MixError::recipe(format!("{place}.{block}"), reason));
                }
            }
        }
        Ok(())
    }

    /// Shapes must agree wherever names do.
    fn check_models(&mut self) -> Result<(), MixError> {
        let check = |model: &Checkpoint, reference: &str| -> Result<usize, MixError> {
            let mut matched = 0;
            for (name, tensor) in &model.tensors {
                let Some(own) = self.base.tensors.get(name) else { continue };
                if own.shape != tensor.shape && !survey::takes_first_channels(name, &own.shape, &tensor.shape) {
                    return Err(MixError::Tensor {
                        place: reference.into(),
                        tensor: name.clone(),
                        reason: format!(
                            "its shape is {:?}, but {:?} in {}; only models of one architecture can be merged",
                            tensor.shape, own.shape, self.base.name
                        ),
                    });
                }
                matched += 1;
            }
            Ok(matched)
        };
        let mut reports = Vec::new();
        for (stage, opened) in self.recipe.merge.iter().zip(&self.stages) {
            for (i, used) in stage.models.iter().enumerate() {
                let model = &opened.models[i];
                let reference = &used.source.reference;
                let matched = check(model, reference)?;
                if let (Some(minus), Some(named)) = (&opened.minus[i], &used.minus) {
                    check(minus, &named.reference)?;
                }
                if matched == 0 {
                    return Err(MixError::NothingMatched {
                        reference: reference.clone(),
                        base: self.base.name.clone(),
                        modules: model.tensors.len(),
                        cause: "its tensors have other names; it is another kind of model".into(),
                    });
                }
                let lacks = |a: &Checkpoint, b: &Checkpoint| -> Vec<String> {
                    a.tensors.keys().filter(|k| !b.tensors.contains_key(*k)).cloned().collect()
                };
                reports.push(ModelReport {
                    reference: reference.clone(),
                    sha256: String::new(),
                    matched,
                    missing: lacks(&self.base, model),
                    extra: lacks(model, &self.base),
                });
            }
        }
        self.models = reports;
        Ok(())
    }

    /// The models of a stage that have tensor `name`.
    pub(crate) fn taking_part(&self, index: usize, name: &str) -> Vec<usize> {
        let opened = &self.stages[index];
        let has = |checkpoint: &Checkpoint| checkpoint.tensors.get(name).is_some_and(|t| t.info.dtype.is_float());
        let fits = |i: &usize| has(&opened.models[*i]) && opened.minus[*i].as_ref().is_none_or(|m| has(m));
        (0..opened.models.len()).filter(fits).collect()
    }

    pub(crate) fn stage_plan<'a>(&'a self, index: usize, name: &'a str, shape: &'a [usize]) -> Option<StagePlan<'a>> {
        let (stage, opened) = (&self.recipe.merge[index], &self.stages[index]);
        let taking_part = self.taking_part(index, name);
        if taking_part.is_empty() || taking_part.len() < *opened.method.models().start() {
            return None;
        }
        let factor = blocks::factor(&stage.blocks, name);
        let weigh = |used: &ModelUse| {
            let own = used.text_weight.filter(|_| blocks::is_text(name)).unwrap_or(used.weight);
            let own = own * blocks::factor(&used.blocks, name);
            if opened.method.weighted() { own * factor } else { own }
        };
        let settings = Settings {
            name,
            shape,
            weights: taking_part.iter().map(|i| weigh(&stage.models[*i])).collect(),
            knobs: &stage.params,
            model_knobs: taking_part.iter().map(|i| &stage.models[*i].params).collect(),
            seed: stage.seed.unwrap_or(0),
            facts: None,
        };
        let strength = if opened.method.weighted() { 1.0 } else { factor };
        if opened.method.keeps_base(&settings) || strength == 0.0 {
            return None;
        }
        Some(StagePlan { taking_part, settings, strength })
    }

    /// What the adapters do to a tensor: which adapter, the change, the weight.
    fn parts(&self, name: &str) -> impl Iterator<Item = (usize, &Part, f64)> {
        self.adapters.iter().enumerate().filter_map(move |(i, adapter)| {
            let part = adapter.parts.get(name)?;
            let weight = adapter.weight(&self.recipe.adapters[i], name);
            (weight != 0.0).then_some((i, part, weight))
        })
    }

    /// The adapters' factors for a tensor: which adapter, the factors, the weight.
    fn factors(&self, name: &str) -> Vec<(usize, &LowRank, f64)> {
        let factors = self.parts(name).filter_map(|(i, part, weight)| match part {
            Part::LowRank(factors) => Some((i, factors, weight)),
            _ => None,
        });
        factors.collect()
    }

    /// The adapters' other changes, which are always merged.
    fn transforms(&self, name: &str) -> Vec<(usize, &Part, f64)> {
        self.parts(name).filter(|(_, part, _)| !matches!(part, Part::LowRank(_))).collect()
    }

    /// Records the changes that are computed from the weight itself, each from the same `weight`. The result is f32.
    async fn transform(
        &self,
        rec: &mut Recorder,
        weight: &Flat,
        shape: &[usize],
        parts: &[(usize, &Part, f64)],
    ) -> Result<Flat, MixError> {
        let mut wide = weight.clone();
        if wide.kind != Kind::F32 {
            wide = Flat::temporary(rec, weight.len, Kind::F32)?;
            linear(rec, 1.0, weight, &[], &[], &wide)?;
        }
        let mut sum = wide.clone();
        for (adapter, part, strength) in parts {
            let Some(change) = self.adapters[*adapter].change(part).await? else { continue };
            sum = add_change(rec, &change, &wide, &sum, Extent::of(shape), *strength)?;
        }
        Ok(sum)
    }

    /// The recipe's adapters as one (`combine`; side by side where the recipe does not say): name of the weight, its shape, the change.
    /// Errors: nothing there, ranks that a method cannot bring together.
    pub fn combined_adapter(&self) -> Result<Vec<(String, Vec<usize>, LowRank)>, MixError> {
        let side_by_side = Combine { method: CombineMethod::Stack, rank: None, density: None, seed: None };
        let combine = self.recipe.combine.as_ref().unwrap_or(&side_by_side);
        let mut parts = Vec::new();
        for (name, tensor) in &self.base.tensors {
            if let Some((i, ..)) = self.transforms(name).first() {
                let reason = format!(
                    "{} changes it in a way that is no low-rank product; leave that adapter out",
                    self.reports[*i].name
                );
                return Err(MixError::Tensor { place: "combine".into(), tensor: name.clone(), reason });
            }
            let factors: Vec<(&LowRank, f64)> = self.factors(name).into_iter().map(|(_, f, w)| (f, w)).collect();
            if !factors.is_empty() {
                parts.push((name.clone(), tensor.shape.clone(), combine.combine(name, &factors)?));
            }
        }
        if parts.is_empty() {
            return Err(MixError::Output("the recipe's adapters change nothing: there is no adapter to write".into()));
        }
        Ok(parts)
    }

    /// Whether adapters stay beside this tensor's weight: all when asked for, else those that act only in a part of sampling.
    fn beside(&self, adapter: usize) -> bool {
        // Combined adapters are no sum that could run beside a weight.
        self.recipe.combine.is_none() && (self.unmerged || !self.recipe.adapters[adapter].is_whole())
    }

    /// The low-rank changes that [`Mixer::effective`] leaves out of this tensor: the caller runs them beside the weight.
    pub fn side_parts(&self, name: &str) -> Vec<SidePart> {
        let parts = self.factors(name).into_iter().filter(|(i, ..)| self.beside(*i));
        parts
            .map(|(adapter, factors, weight)| {
                let used = &self.recipe.adapters[adapter];
                SidePart { adapter, factors: factors.clone(), weight, range: (used.start, used.stop) }
            })
            .collect()
    }

    /// True when the recipe changes this tensor's value (rounding to another type aside).
    pub fn is_touched(&self, name: &str) -> bool {
        let Ok(tensor) = self.base.tensor(name) else { return false };
        let merged = (0..self.stages.len()).any(|i| self.stage_plan(i, name, &tensor.shape).is_some());
        merged || self.parts(name).any(|(i, part, _)| !matches!(part, Part::LowRank(_)) || !self.beside(i))
    }

    /// A text that is equal for equal effective values: what the tensor is made of, with everything that decides its value.
    pub fn fingerprint(&self, name: &str) -> String {
        use std::fmt::Write;
        let sum = |reference: &Reference| self.checksums.get(&reference.reference).map_or("", String::as_str);
        let mut text = format!("{}|{:?}", sum(&self.recipe.base), self.dtype);
        let Ok(tensor) = self.base.tensor(name) else { return text };
        for (i, stage) in self.recipe.merge.iter().enumerate() {
            let Some(plan) = self.stage_plan(i, name, &tensor.shape) else { continue };
            if i > 0 && self.stages[i].method.survey(&plan.settings).is_some() {
                // It reads what the stages before it make of other tensors too.
                for earlier in &self.recipe.merge[..i] {
                    let _ = write!(text, "|after {earlier:?}");
                    for used in &earlier.models {
                        let _ = write!(text, " {} {}", sum(&used.source), used.minus.as_ref().map_or("", sum));
                    }
                }
            }
            let _ = write!(text, "|{} {} {:?} {}", stage.method, plan.strength, stage.params, plan.settings.seed);
            for (weight, model) in plan.settings.weights.iter().zip(&plan.taking_part) {
                let used = &stage.models[*model];
                let minus = used.minus.as_ref().map_or("", sum);
                let _ = write!(text, ";{} {weight} {minus} {:?}", sum(&used.source), used.params);
            }
        }
        if let Some(combine) = &self.recipe.combine {
            let _ = write!(text, "|{combine:?}");
        }
        for (i, part, weight) in self.parts(name) {
            if !matches!(part, Part::LowRank(_)) || !self.beside(i) {
                let _ = write!(text, "|+{} {weight}", sum(&self.recipe.adapters[i].source));
            }
        }
        text
    }

    /// A checkpoint's tensor as it lies in the file. Errors: values that are not finite.
    pub(crate) async fn finite_bytes(&self, checkpoint: &Checkpoint, name: &str) -> Result<Vec<u8>, MixError> {
        let bytes = checkpoint.read_raw(name).await?;
        match first_non_finite(&bytes, checkpoint.tensor(name)?.info.dtype) {
            None => Ok(bytes),
            Some(at) => Err(MixError::Tensor {
                place: checkpoint.name.clone(),
                tensor: name.into(),
                reason: format!("element {at} is not finite; the file is damaged, use another copy"),
            }),
        }
    }

    /// A checkpoint's tensor on the device. Errors: values that are not finite.
    async fn upload(&self, checkpoint: &Checkpoint, name: &str) -> Result<Flat, MixError> {
        let tensor = checkpoint.tensor(name)?;
        let dtype = tensor.info.dtype;
        let check = |bytes: &[u8], before: usize| match first_non_finite(bytes, dtype) {
            None => Ok(()),
            Some(at) => Err(MixError::Tensor {
                place: checkpoint.name.clone(),
                tensor: name.into(),
                reason: format!("element {} is not finite; the file is damaged, use another copy", before + at),
            }),
        };
        // Large tensors piece by piece: a token table alone is larger than what a browser's tab should hold at once.
        if let (Some(kind), Some((source, range))) = (input_kind(dtype), checkpoint.bytes_of(name)?)
            && range.end - range.start > PIECE
        {
            let flat = Flat::empty(&self.gpu, name, tensor.shape.iter().product(), kind)?;
            let mut at = range.start;
            while at < range.end {
                let end = (at + PIECE).min(range.end);
                let bytes = source.read(at..end).await?;
                let before = (at - range.start) as usize / dtype.size();
                check(&bytes, before)?;
                flat.write(&self.gpu, before, &bytes);
                at = end;
            }
            return Ok(flat);
        }
        let bytes = checkpoint.read_raw(name).await?;
        check(&bytes, 0)?;
        Ok(match input_kind(dtype) {
            Some(kind) => Flat::upload(&self.gpu, name, &bytes, kind)?,
            None => Flat::upload_f32(&self.gpu, name, &dtype.decode_f32(&bytes))?,
        })
    }

    /// Type and shape of a tensor's effective value.
    fn target(&self, name: &str) -> Result<(DType, Vec<usize>), MixError> {
        let tensor = self.base.tensor(name)?;
        let own = tensor.info.dtype;
        let dtype = self.dtype.filter(|_| own.is_float()).unwrap_or(own);
        Ok((dtype, tensor.shape.clone()))
    }

    /// Computes a tensor up to its rounding to `kind` and submits the work.
    pub(crate) async fn compute(&self, name: &str, shape: &[usize], kind: Kind) -> Result<Flat, MixError> {
        let merged: Vec<(&LowRank, f64)> =
            self.factors(name).into_iter().filter(|(i, ..)| !self.beside(*i)).map(|(_, f, w)| (f, w)).collect();
        let combined = match &self.recipe.combine {
            Some(combine) if !merged.is_empty() => Some(combine.combine(name, &merged)?),
            _ => None,
        };
        let merged = combined.as_ref().map_or(merged, |one| vec![(one, 1.0)]);
        self.compute_stages(name, shape, kind, self.stages.len(), merged, self.transforms(name)).await
    }

    /// The result of the first `stages` stages and of the adapters' changes in `merged` and `transforms`.
    pub(crate) async fn compute_stages(
        &self,
        name: &str,
        shape: &[usize],
        kind: Kind,
        stages: usize,
        merged: Vec<(&LowRank, f64)>,
        transforms: Vec<(usize, &Part, f64)>,
    ) -> Result<Flat, MixError> {
        let pristine = self.upload(&self.base, name).await?;
        let mut plans: Vec<(usize, StagePlan<'_>)> =
            (0..stages).filter_map(|i| Some((i, self.stage_plan(i, name, shape)?))).collect();
        for (index, plan) in &mut plans {
            plan.settings.facts = self.facts(*index, plan).await?;
        }
        let mut rec = Recorder::new(&self.gpu);
        let mut current = pristine.clone();
        for (at, (index, plan)) in plans.iter().enumerate() {
            let stage = &self.stages[*index];
            let last = at + 1 == plans.len() && merged.is_empty() && transforms.is_empty();
            let next_kind = if last { kind } else { Kind::F32 };
            if stage.method.on_host() || self.narrows(*index, plan, shape) {
                if !rec.is_empty() {
                    std::mem::replace(&mut rec, Recorder::new(&self.gpu)).finish().submit();
                }
                current = self.on_host(*index, plan, &current).await?;
                continue;
            }
            let mut models = Vec::new();
            let mut minus = Vec::new();
            for i in &plan.taking_part {
                models.push(self.upload(&stage.models[*i], name).await?);
                minus.push(match &stage.minus[*i] {
                    Some(other) => Some(self.upload(other, name).await?),
                    None => None,
                });
            }
            let models: Vec<&Flat> = models.iter().collect();
            let minus: Vec<Option<&Flat>> = minus.iter().map(Option::as_ref).collect();
            let origin = (at > 0).then_some(&pristine).filter(|_| stage.method.uses_origin());
            let inputs = Inputs { base: &current, origin, models: &models, minus: &minus, uniforms: &[] };
            let next = Flat::empty(&self.gpu, name, current.len, next_kind)?;
            if plan.strength == 1.0 {
                stage.method.record(&mut rec, &inputs, &plan.settings, &next)?;
            } else {
                let whole = Flat::temporary(&mut rec, current.len, Kind::F32)?;
                stage.method.record(&mut rec, &inputs, &plan.settings, &whole)?;
                linear(&mut rec, 1.0 - plan.strength, &current, &[&whole], &[plan.strength], &next)?;
            }
            current = next;
        }
        let transformed = !transforms.is_empty();
        if transformed {
            current = self.transform(&mut rec, &current, shape, &transforms).await?;
        }
        if !merged.is_empty() {
            let next = Flat::empty(&self.gpu, name, current.len, kind)?;
            add_low_rank(&mut rec, &current, &merged, &next)?;
            current = next;
        } else if current.kind != kind || transformed {
            // A sum of changes lies in a buffer that the next recording may take.
            let next = Flat::empty(&self.gpu, name, current.len, kind)?;
            linear(&mut rec, 1.0, &current, &[], &[], &next)?;
            current = next;
        }
        if !rec.is_empty() {
            rec.finish().submit();
        }
        self.gpu.take_failure()?;
        Ok(current)
    }

    /// The effective value of a tensor, on the device, in the checkpoint's layout, rounded to the base's type (or [`Mixer::with_dtype`]'s).
    pub async fn effective(&self, name: &str) -> Result<Effective, MixError> {
        let (dtype, shape) = self.target(name)?;
        let flat = match output_kind(dtype, true) {
            Some(kind) => self.compute(name, &shape, kind).await?,
            None => {
                // 8-bit floats are rounded on the host; the networks get the rounded values.
                let exact = self.compute(name, &shape, Kind::F32).await?.read_f32(&self.gpu).await?;
                Flat::upload_f32(&self.gpu, name, &dtype.decode_f32(&dtype.encode_f32(&exact)))?
            }
        };
        Ok(Effective { source: flat.source(), dtype, shape })
    }

    /// Starts the computation of a tensor's bytes; [`Mixer::finish_bytes`] waits for them.
    pub(crate) async fn start_bytes(&self, name: &str) -> Result<(Flat, DType), MixError> {
        let (dtype, shape) = self.target(name)?;
        let kind = output_kind(dtype, false).unwrap_or(Kind::F32);
        Ok((self.compute(name, &shape, kind).await?, dtype))
    }

    /// The bytes of a tensor as a file holds them. Errors: a value that is not finite.
    pub(crate) async fn finish_bytes(&self, name: &str, flat: &Flat, dtype: DType) -> Result<Vec<u8>, MixError> {
        let refuse = |at: usize| MixError::Tensor {
            place: "result".into(),
            tensor: name.into(),
            reason: format!(
                "element {at} is not finite in {dtype}; lower the weights or write a wider type (--dtype f32)"
            ),
        };
        let raw = flat.read_bytes(&self.gpu).await?;
        let bytes = match output_kind(dtype, false) {
            Some(_) if dtype != DType::F64 => raw,
            _ => {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(&raw);
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    return Err(refuse(at));
                }
                dtype.encode_f32(&values)
            }
        };
        match first_non_finite(&bytes, dtype) {
            Some(at) => Err(refuse(at)),
            None => Ok(bytes),
        }
    }

    /// The bytes of a tensor's effective value, exactly those that [`Mixer::effective`] gives the networks.
    pub async fn bytes(&self, name: &str) -> Result<Vec<u8>, MixError> {
        let (dtype, _) = self.target(name)?;
        if !self.is_touched(name) && dtype == self.base.tensor(name)?.info.dtype {
            return Ok(self.base.read_raw(name).await?);
        }
        let (flat, dtype) = self.start_bytes(name).await?;
        self.finish_bytes(name, &flat, dtype).await
    }
}
