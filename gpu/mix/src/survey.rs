//! What the mixer does on the host for a merge stage: surveys of several tensors, methods that are computed there, and bases whose first
//! convolution takes more channels than the models'.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use admix_files::Checkpoint;
use admix_tensor::Recorder;

use crate::flat::{Flat, Kind};
use crate::method::{Facts, HostInputs, Inputs, Settings};
use crate::methods::linear;
use crate::mixer::{Mixer, StagePlan, Work};
use crate::{MixError, method};

/// What a survey will have found; boxed, because surveys need each other.
type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<Facts>>, MixError>> + 'a>>;

/// Results of surveys by stage and key: they hold as long as the mixer does.
pub(crate) type SharedFacts = Mutex<HashMap<(usize, String), Arc<Facts>>>;

/// Channels that inpainting (9) and pix2pix (8) models share with ordinary ones.
const SHARED_CHANNELS: usize = 4;

/// True for the first convolution of an inpainting or pix2pix base and of an ordinary model: it is merged on channels 0 to 3.
pub(crate) fn takes_first_channels(name: &str, own: &[usize], other: &[usize]) -> bool {
    let same_but_channels = own.len() == 4 && other.len() == 4 && own[0] == other[0] && own[2..] == other[2..];
    name == "unet.conv_in.weight" && same_but_channels && own[1] > SHARED_CHANNELS && other[1] == SHARED_CHANNELS
}

/// The first `keep` of `channels` channels, `taps` values each, of every row.
fn first_channels(values: &[f32], channels: usize, keep: usize, taps: usize) -> Vec<f32> {
    values.chunks(channels * taps).flat_map(|row| row[..keep * taps].to_vec()).collect()
}

/// The tensors of one merge in host memory.
struct Hosted {
    base: Vec<f32>,
    origin: Vec<f32>,
    models: Vec<Vec<f32>>,
    minus: Vec<Vec<f32>>,
}

impl Hosted {
    fn with<R>(&self, run: impl FnOnce(&HostInputs<'_>) -> R) -> R {
        let models: Vec<&[f32]> = self.models.iter().map(Vec::as_slice).collect();
        let minus: Vec<&[f32]> = self.minus.iter().map(Vec::as_slice).collect();
        run(&HostInputs { base: &self.base, origin: &self.origin, models: &models, minus: &minus, uniforms: &[] })
    }
}

impl Mixer {
    /// A checkpoint's tensor as f32. Errors: values that are not finite.
    async fn host_values(&self, checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, MixError> {
        let bytes = self.finite_bytes(checkpoint, name).await?;
        Ok(checkpoint.tensor(name)?.info.dtype.decode_f32(&bytes))
    }

    /// The inputs of a stage for the tensor of `plan`; `base` is the result of the stages before. Tensors with more channels than some
    /// model has are cut to those they share.
    async fn hosted(&self, index: usize, plan: &StagePlan<'_>, base: Vec<f32>) -> Result<Hosted, MixError> {
        let (name, stage) = (plan.settings.name, &self.stages[index]);
        let pristine = self.host_values(self.base(), name).await?;
        let (mut models, mut minus) = (Vec::new(), Vec::new());
        for i in &plan.taking_part {
            models.push(self.host_values(&stage.models[*i], name).await?);
            minus.push(match &stage.minus[*i] {
                Some(other) => self.host_values(other, name).await?,
                None => pristine.clone(),
            });
        }
        let mut hosted = Hosted { base, origin: pristine, models, minus };
        if let Some(keep) = self.narrowed(index, plan) {
            let shape = &self.base().tensor(name)?.shape;
            let (rows, taps) = (shape[0], shape[2] * shape[3]);
            let all = [&mut hosted.base, &mut hosted.origin].into_iter();
            for values in all.chain(&mut hosted.models).chain(&mut hosted.minus) {
                *values = first_channels(values, values.len() / rows / taps, keep, taps);
            }
        }
        Ok(hosted)
    }

    /// Channels that a stage merges of the first convolution, where not all.
    fn narrowed(&self, index: usize, plan: &StagePlan<'_>) -> Option<usize> {
        let (name, stage) = (plan.settings.name, &self.stages[index]);
        let own = self.base().tensors.get(name)?;
        let others = plan.taking_part.iter().flat_map(|i| std::iter::once(&stage.models[*i]).chain(&stage.minus[*i]));
        let narrow =
            |c: &Arc<Checkpoint>| c.tensors.get(name).is_some_and(|t| takes_first_channels(name, &own.shape, &t.shape));
        others.into_iter().any(narrow).then_some(SHARED_CHANNELS)
    }

    /// True where a stage merges only a part of the channels of `plan`'s tensor.
    pub(crate) fn narrows(&self, index: usize, plan: &StagePlan<'_>, _shape: &[usize]) -> bool {
        self.narrowed(index, plan).is_some()
    }

    /// What the survey of a stage's method finds, if it asks for one.
    pub(crate) fn facts<'a>(&'a self, index: usize, plan: &'a StagePlan<'_>) -> Found<'a> {
        // Boxed: a survey needs the results of earlier stages, which may need surveys of their own.
        Box::pin(async move {
            let method = self.stages[index].method;
            let Some(wanted) = method.survey(&plan.settings) else { return Ok(None) };
            // Models that lack some tensors make groups of tensors with different models: each group has facts of its own.
            let key = (index, format!("{} of {:?}", wanted.key, plan.taking_part));
            let known = |map: &SharedFacts| map.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
            if let Some(facts) = known(&self.facts) {
                return Ok(Some(facts));
            }
            let lasting = format!("{}|{}", self.survey_text(index), key.1);
            if let Some(facts) = self.cache.as_ref().and_then(|cache| cache.facts(&lasting)) {
                return Ok(Some(facts));
            }
            let names: Vec<String> = match wanted.names {
                Some(names) => names,
                None => self.base().tensors.keys().cloned().collect(),
            };
            let mut survey = wanted.survey;
            let earlier = || Work { stages: index, merged: Vec::new(), transforms: Vec::new(), keep: false };
            for pass in 0..survey.passes() {
                for name in &names {
                    let Some(tensor) = self.base().tensors.get(name).filter(|t| t.info.dtype.is_float()) else {
                        continue;
                    };
                    let taking_part = self.taking_part(index, name);
                    if taking_part != plan.taking_part {
                        continue;
                    }
                    let base = self.compute_stages(name, &tensor.shape, Kind::F32, earlier()).await?;
                    let base = base.read_f32(self.gpu()).await?;
                    let settings = Settings { name, shape: &tensor.shape, ..plan.settings.clone() };
                    let part = StagePlan { taking_part, settings, strength: plan.strength };
                    let hosted = self.hosted(index, &part, base).await?;
                    hosted.with(|inputs| survey.visit(pass, name, &tensor.shape, inputs));
                }
                survey.pass_ended(pass);
            }
            let facts = Arc::new(survey.finish());
            self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, facts.clone());
            if let Some(cache) = &self.cache {
                cache.keep_facts(lasting, facts.clone());
            }
            Ok(Some(facts))
        })
    }

    /// The result of a stage that is computed on the host, or that merges a part of the channels only, as f32 on the device.
    pub(crate) async fn on_host(&self, index: usize, plan: &StagePlan<'_>, current: &Flat) -> Result<Flat, MixError> {
        let (name, gpu) = (plan.settings.name, self.gpu());
        let mut rec = Recorder::new(gpu);
        let wide = Flat::empty(gpu, name, current.len, Kind::F32)?;
        linear(&mut rec, 1.0, current, &[], &[], &wide)?;
        rec.finish().submit();
        let whole = wide.read_f32(gpu).await?;
        let method = self.stages[index].method;
        let hosted = self.hosted(index, plan, whole.clone()).await?;
        let keep = self.narrowed(index, plan);
        let mut shape = plan.settings.shape.to_vec();
        if let Some(keep) = keep {
            shape[1] = keep;
        }
        let settings = Settings { shape: &shape, ..plan.settings.clone() };
        let mut merged = if method.on_host() {
            hosted.with(|inputs| method.reference(inputs, &settings))
        } else {
            self.on_device(method, &hosted, &settings).await?
        };
        if plan.strength != 1.0 {
            let pairs = merged.iter_mut().zip(&hosted.base);
            pairs.for_each(|(m, b)| *m = (f64::from(*b) + plan.strength * (f64::from(*m) - f64::from(*b))) as f32);
        }
        let Some(keep) = keep else { return Ok(Flat::upload_f32(gpu, name, &merged)?) };
        let (channels, taps) = (plan.settings.shape[1], shape[2] * shape[3]);
        let mut result = whole;
        for (row, part) in result.chunks_mut(channels * taps).zip(merged.chunks(keep * taps)) {
            row[..keep * taps].copy_from_slice(part);
        }
        Ok(Flat::upload_f32(gpu, name, &result)?)
    }

    /// A method's passes over tensors from the host, and back.
    async fn on_device(
        &self,
        method: &dyn method::Method,
        hosted: &Hosted,
        settings: &Settings<'_>,
    ) -> Result<Vec<f32>, MixError> {
        let upload = |values: &Vec<f32>| Flat::upload_f32(self.gpu(), settings.name, values);
        let (base, origin) = (upload(&hosted.base)?, upload(&hosted.origin)?);
        let models = hosted.models.iter().map(upload).collect::<Result<Vec<Flat>, _>>()?;
        let minus = hosted.minus.iter().map(upload).collect::<Result<Vec<Flat>, _>>()?;
        let out = Flat::empty(self.gpu(), settings.name, base.len, Kind::F32)?;
        let inputs = Inputs {
            base: &base,
            origin: method.uses_origin().then_some(&origin),
            models: &models.iter().collect::<Vec<_>>(),
            minus: &minus.iter().map(Some).collect::<Vec<_>>(),
            uniforms: &[],
            known: None,
        };
        let mut rec = Recorder::new(self.gpu());
        method.record(&mut rec, &inputs, settings, &out)?;
        rec.finish().submit();
        Ok(out.read_f32(self.gpu()).await?)
    }
}
