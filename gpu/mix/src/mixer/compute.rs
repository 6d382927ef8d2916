//! From pristine tensors to effective ones: upload, stages, adapters, one rounding.

use admix_files::adapter::Extent;
use admix_files::{Checkpoint, DType};
use admix_tensor::Recorder;

use super::{Effective, Mixer, StagePlan};
use crate::MixError;
use crate::adapters::Part;
use crate::cache::Known;
use crate::change::add_change;
use crate::flat::{Flat, Kind};
use crate::low_rank::{LowRank, add_low_rank};
use crate::method::Inputs;
use crate::methods::linear;
use crate::quantize::{first_non_finite, input_kind, output_kind};
use crate::recipe::Reference;

/// Bytes of a tensor that are on the host at once, a multiple of every element's size. Small enough that copying and checking them keeps a
/// browser's thread busy for some milliseconds only.
const PIECE: u64 = 4 << 20;

/// How far a tensor is computed.
pub(crate) struct Work<'a> {
    /// Merge stages.
    pub stages: usize,
    /// Low-rank changes and their weights.
    pub merged: Vec<(&'a LowRank, f64)>,
    /// Other changes: of which adapter, at which weight.
    pub transforms: Vec<(usize, &'a Part, f64)>,
    /// Inputs and what is found out about them stay in the cache.
    pub keep: bool,
}

impl Mixer {
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

    /// A checkpoint's tensor on the device, from the cache where it is there. With `keep` it stays there. Errors: values that are not finite.
    async fn input(
        &self,
        checkpoint: &Checkpoint,
        reference: &Reference,
        name: &str,
        keep: bool,
    ) -> Result<Flat, MixError> {
        let (Some(cache), sum) = (&self.cache, self.sum(reference)) else { return self.upload(checkpoint, name).await };
        if let Some(flat) = cache.input(sum, name) {
            return Ok(flat);
        }
        let flat = self.upload(checkpoint, name).await?;
        if keep {
            cache.keep_input(sum, name, &flat);
        }
        Ok(flat)
    }

    /// A checkpoint's tensor, read from the file to the device. Errors: values that are not finite.
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

    /// Computes a tensor up to its rounding to `kind` and submits the work. With `keep` its inputs stay in the cache.
    pub(crate) async fn compute(&self, name: &str, shape: &[usize], kind: Kind, keep: bool) -> Result<Flat, MixError> {
        let merged: Vec<(&LowRank, f64)> =
            self.factors(name).into_iter().filter(|(i, ..)| !self.beside(*i, name)).map(|(_, f, w)| (f, w)).collect();
        let combined = match &self.recipe.combine {
            Some(combine) if !merged.is_empty() => Some(combine.combine(name, &merged)?),
            _ => None,
        };
        let merged = combined.as_ref().map_or(merged, |one| vec![(one, 1.0)]);
        let work = Work { stages: self.stages.len(), merged, transforms: self.transforms(name), keep };
        self.compute_stages(name, shape, kind, work).await
    }

    /// The result of the first `stages` stages and of the adapters' changes in `merged` and `transforms`.
    pub(crate) async fn compute_stages(
        &self,
        name: &str,
        shape: &[usize],
        kind: Kind,
        work: Work<'_>,
    ) -> Result<Flat, MixError> {
        let Work { stages, merged, transforms, keep } = work;
        let pristine = self.input(&self.base, &self.recipe.base, name, keep).await?;
        let mut plans: Vec<(usize, StagePlan<'_>)> =
            (0..stages).filter_map(|i| Some((i, self.stage_plan(i, name, shape)?))).collect();
        for (index, plan) in &mut plans {
            plan.settings.facts = self.facts(*index, plan).await?;
        }
        let mut rec = Recorder::new(&self.gpu);
        let mut found = Vec::new();
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
                let used = &self.recipe.merge[*index].models[*i];
                models.push(self.input(&stage.models[*i], &used.source, name, keep).await?);
                minus.push(match (&stage.minus[*i], &used.minus) {
                    (Some(other), Some(named)) => Some(self.input(other, named, name, keep).await?),
                    _ => None,
                });
            }
            let models: Vec<&Flat> = models.iter().collect();
            let minus: Vec<Option<&Flat>> = minus.iter().map(Option::as_ref).collect();
            let origin = (at > 0).then_some(&pristine).filter(|_| stage.method.uses_origin());
            let known = self.cache.as_ref().filter(|_| keep);
            let known = known.map(|cache| Known::new(cache, self.inputs_text(&plans[..at], *index, plan)));
            let inputs =
                Inputs { base: &current, origin, models: &models, minus: &minus, uniforms: &[], known: known.as_ref() };
            let next = Flat::empty(&self.gpu, name, current.len, next_kind)?;
            if plan.strength == 1.0 {
                stage.method.record(&mut rec, &inputs, &plan.settings, &next)?;
            } else {
                let whole = Flat::temporary(&mut rec, current.len, Kind::F32)?;
                stage.method.record(&mut rec, &inputs, &plan.settings, &whole)?;
                linear(&mut rec, 1.0 - plan.strength, &current, &[&whole], &[plan.strength], &next)?;
            }
            found.extend(known);
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
        found.into_iter().for_each(Known::settle);
        Ok(current)
    }

    /// The effective value of a tensor, on the device, in the checkpoint's layout, rounded to the base's type (or [`Mixer::with_dtype`]'s).
    pub async fn effective(&self, name: &str) -> Result<Effective, MixError> {
        let (dtype, shape) = self.target(name)?;
        let flat = match output_kind(dtype, true) {
            Some(kind) => self.compute(name, &shape, kind, true).await?,
            None => {
                // 8-bit floats are rounded on the host; the networks get the rounded values.
                let exact = self.compute(name, &shape, Kind::F32, true).await?.read_f32(&self.gpu).await?;
                Flat::upload_f32(&self.gpu, name, &dtype.decode_f32(&dtype.encode_f32(&exact)))?
            }
        };
        Ok(Effective { source: flat.source(), dtype, shape })
    }

    /// Starts the computation of a tensor's bytes; [`Mixer::file_bytes`] makes a file's of them when they were read back.
    pub(crate) async fn start_bytes(&self, name: &str) -> Result<Flat, MixError> {
        let (dtype, shape) = self.target(name)?;
        let kind = output_kind(dtype, false).unwrap_or(Kind::F32);
        self.compute(name, &shape, kind, false).await
    }

    /// The bytes of a tensor as a file holds them, from those that were read back. Errors: a value that is not finite.
    pub(crate) fn file_bytes(&self, name: &str, raw: Vec<u8>, dtype: DType) -> Result<Vec<u8>, MixError> {
        let refuse = |at: usize| MixError::Tensor {
            place: "result".into(),
            tensor: name.into(),
            reason: format!(
                "element {at} is not finite in {dtype}; lower the weights or write a wider type (--dtype f32)"
            ),
        };
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
}
