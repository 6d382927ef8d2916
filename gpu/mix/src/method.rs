//! What a merge method is, and the registry of all of them. One published algorithm = one name = one file in `methods/`.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub use admix_knob::{Knob, KnobKind};
use admix_tensor::{Recorder, Tensor};
use serde_json::Value;

use crate::MixError;
use crate::cache::Known;
use crate::flat::Flat;
use crate::recipe::{Knobs, Stage};

/// The number that a recipe's `value` stands for, if it is one that the knob takes.
fn accept(knob: &Knob, value: &Value, place: &str) -> Result<f64, MixError> {
    let number = match value {
        Value::String(word) if knob.kind == KnobKind::Choice => {
            let unknown = || MixError::recipe(place, format!("unknown: {word}; known: {}", knob.choices.join(", ")));
            knob.choices.iter().position(|c| c == word).ok_or_else(unknown)? as f64
        }
        Value::Bool(on) if knob.kind == KnobKind::Switch => f64::from(u8::from(*on)),
        other => match other.as_f64() {
            Some(number) => number,
            None => return Err(MixError::recipe(place, "expected a number, or true or false for a switch")),
        },
    };
    knob.check(number).map_err(|e| MixError::recipe(place, e.why))
}

/// What a stage asks of a method for one tensor, apart from the data.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Canonical name of the tensor (random methods depend on it).
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Weights of the models for this tensor, block factors included.
    pub weights: Vec<f64>,
    /// Knobs of the stage as the recipe gives them.
    pub knobs: &'a Knobs,
    /// Knobs of each model as the recipe gives them.
    pub model_knobs: Vec<&'a Knobs>,
    /// Seed of random methods.
    pub seed: u64,
    /// What the method's survey found, if it asked for one.
    pub facts: Option<Arc<Facts>>,
}

/// What a survey of several tensors found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Numbers, in the order that the method knows.
    pub numbers: Vec<f64>,
    /// Reorderings of axes of tensors, by name.
    pub orders: HashMap<String, Vec<Order>>,
}

/// A part of an axis in a new order: entry k of the part is the old entry `from[k]` of the part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The axis.
    pub axis: usize,
    /// Where the part begins.
    pub offset: usize,
    /// Old places.
    pub from: Vec<u32>,
}

/// Looks at several tensors on the host before a method records: what has to be known of the whole model, or of a tensor's partners.
pub trait Survey {
    /// How often it looks at all of them.
    fn passes(&self) -> usize {
        1
    }
    /// A tensor. `pass` counts from 0.
    fn visit(&mut self, pass: usize, name: &str, shape: &[usize], inputs: &HostInputs<'_>);
    /// All tensors have been seen once more.
    fn pass_ended(&mut self, _pass: usize) {}
    /// What came out.
    fn finish(self: Box<Self>) -> Facts;
}

/// A survey that a method asks for.
pub struct SurveyPlan {
    /// Equal for tensors that share its result.
    pub key: String,
    /// The tensors it looks at; `None`: all that the base and every model have.
    pub names: Option<Vec<String>>,
    /// The survey.
    pub survey: Box<dyn Survey>,
}

impl Settings<'_> {
    /// A stage knob: the recipe's value or the default of `table`.
    pub fn knob(&self, table: &[Knob], name: &str) -> f64 {
        read(self.knobs, table, name)
    }

    /// Number `i` of what the survey found.
    pub fn fact(&self, i: usize) -> Option<f64> {
        self.facts.as_ref()?.numbers.get(i).copied()
    }

    /// A stage switch.
    pub fn switch(&self, table: &[Knob], name: &str) -> bool {
        self.knob(table, name) != 0.0
    }

    /// A knob of model `i`; a stage knob of the same name stands in for all models.
    pub fn model_knob(&self, table: &[Knob], i: usize, name: &str) -> f64 {
        let own = self.model_knobs.get(i).filter(|k| k.contains_key(name));
        read(own.copied().unwrap_or(self.knobs), table, name)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for tensors without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn read(knobs: &Knobs, table: &[Knob], name: &str) -> f64 {
    let default = table.iter().find(|k| k.name == name).map_or(0.0, |k| k.default);
    let choices = table.iter().find(|k| k.name == name).map_or(&[][..], |k| k.choices);
    match knobs.get(name) {
        Some(Value::Bool(on)) => f64::from(u8::from(*on)),
        Some(Value::String(word)) => choices.iter().position(|c| c == word).map_or(default, |at| at as f64),
        Some(value) => value.as_f64().unwrap_or(default),
        None => default,
    }
}

/// The tensors of one merge on the device.
pub struct Inputs<'a> {
    /// The result of the stages before.
    pub base: &'a Flat,
    /// What task vectors start from, where it is not `base`.
    pub origin: Option<&'a Flat>,
    /// The models.
    pub models: &'a [&'a Flat],
    /// What each model is compared with, where it is neither `origin` nor, without one, `base`.
    pub minus: &'a [Option<&'a Flat>],
    /// Random numbers in [0, 1) of each model to use in place of the generator's (tests against outside oracles).
    pub uniforms: &'a [Tensor],
    /// What is known of these inputs from merges before, where something is kept.
    pub known: Option<&'a Known>,
}

impl Inputs<'_> {
    /// The small tensor that `record` makes of these inputs, unless it is known. `what` names everything it depends on beside them.
    pub(crate) fn known(
        &self,
        rec: &mut Recorder,
        what: &str,
        record: impl FnOnce(&mut Recorder) -> Result<Tensor, MixError>,
    ) -> Result<Tensor, MixError> {
        match self.known {
            Some(known) => known.or_record(rec, what, record),
            None => record(rec),
        }
    }
}

/// The same in host memory, for the twins.
pub struct HostInputs<'a> {
    /// The result of the stages before.
    pub base: &'a [f32],
    /// What task vectors start from.
    pub origin: &'a [f32],
    /// The models.
    pub models: &'a [&'a [f32]],
    /// What each model is compared with.
    pub minus: &'a [&'a [f32]],
    /// Random numbers of each model.
    pub uniforms: &'a [&'a [f32]],
}

/// What recipes, lists and interfaces have to know of a method. Every method has one of its own, a `static` beside its code.
#[derive(Clone, Copy, Debug)]
pub struct About {
    name: &'static str,
    label: &'static str,
    citation: &'static str,
    knobs: &'static [Knob],
    model_knobs: &'static [Knob],
    /// Least and most.
    models: (usize, usize),
    weighted: bool,
    is_between: bool,
    uses_minus: bool,
    uses_origin: bool,
    on_host: bool,
}

impl About {
    /// A method on the device, without knobs, of one or more weighted models that it compares with the base: name in recipes, name for people,
    /// paper or program that the algorithm is from, exactly.
    pub const fn new(name: &'static str, label: &'static str, citation: &'static str) -> About {
        About {
            name,
            label,
            citation,
            knobs: &[],
            model_knobs: &[],
            models: (1, usize::MAX),
            weighted: true,
            is_between: false,
            uses_minus: false,
            uses_origin: false,
            on_host: false,
        }
    }

    /// With knobs of the stage.
    pub const fn knobs(self, knobs: &'static [Knob]) -> About {
        About { knobs, ..self }
    }

    /// With knobs of each model beside its weight.
    pub const fn model_knobs(self, model_knobs: &'static [Knob]) -> About {
        About { model_knobs, ..self }
    }

    /// Takes `least` to `most` models.
    pub const fn models(self, least: usize, most: usize) -> About {
        About { models: (least, most), ..self }
    }

    /// Models have no weights: see [`Method::weighted`].
    pub const fn without_weights(self) -> About {
        About { weighted: false, ..self }
    }

    /// One model's weight is its share: see [`Method::is_between`].
    pub const fn between(self) -> About {
        About { is_between: true, ..self }
    }

    /// Compares models with `minus`.
    pub const fn with_minus(self) -> About {
        About { uses_minus: true, ..self }
    }

    /// Reads the origin.
    pub const fn with_origin(self) -> About {
        About { uses_origin: true, ..self }
    }

    /// Computed on the host: see [`Method::on_host`].
    pub const fn on_host(self) -> About {
        About { on_host: true, ..self }
    }
}

/// A merge method. Implementations are unit structs in `methods/`, one file each.
pub trait Method: Sync {
    /// Its names, its knobs and what it takes: everything but the algorithm.
    fn about(&self) -> &About;
    /// Name in recipes.
    fn name(&self) -> &'static str {
        self.about().name
    }
    /// Name for people.
    fn label(&self) -> &'static str {
        self.about().label
    }
    /// Paper or program that the algorithm is from, exactly.
    fn citation(&self) -> &'static str {
        self.about().citation
    }
    /// Knobs of the stage.
    fn knobs(&self) -> &'static [Knob] {
        self.about().knobs
    }
    /// Knobs of each model beside its weight.
    fn model_knobs(&self) -> &'static [Knob] {
        self.about().model_knobs
    }
    /// How many models it takes.
    fn models(&self) -> RangeInclusive<usize> {
        let (least, most) = self.about().models;
        least..=most
    }
    /// True when models have weights. Without, a block factor f gives B + f (result - B).
    fn weighted(&self) -> bool {
        self.about().weighted
    }
    /// True when one model's weight is its share of the result: 0 gives B, 1 the model. Interfaces then show both as percentages.
    fn is_between(&self) -> bool {
        self.about().is_between
    }
    /// True when the method compares models with `minus` (only `add_difference` and its kin).
    fn uses_minus(&self) -> bool {
        self.about().uses_minus
    }
    /// True when the method reads the origin, so that stages after the first must supply it.
    fn uses_origin(&self) -> bool {
        self.about().uses_origin
    }
    /// True when it is computed on the host, by `reference`, because it makes no sense on the device: the method's file says why.
    fn on_host(&self) -> bool {
        self.about().on_host
    }
    /// True when the result is B whatever the models are.
    fn keeps_base(&self, settings: &Settings<'_>) -> bool {
        self.weighted() && settings.weights.iter().all(|w| *w == 0.0)
    }
    /// What it has to know of other tensors, or of this one, before it records this one.
    fn survey(&self, _settings: &Settings<'_>) -> Option<SurveyPlan> {
        None
    }
    /// Records the merge of one tensor into `out`, which has `base`'s length and any kind.
    fn record(
        &self,
        _rec: &mut Recorder,
        _inputs: &Inputs<'_>,
        _settings: &Settings<'_>,
        _out: &Flat,
    ) -> Result<(), MixError> {
        let reason = "computed on the host; it has no passes to record".into();
        Err(MixError::Method { method: self.name().into(), reason })
    }
    /// CPU twin; the method itself where it is computed on the host.
    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32>;
}

/// All methods, in the order in which lists show them.
pub fn methods() -> &'static [&'static dyn Method] {
    crate::methods::ALL
}

/// The method of that name. Errors name those that exist.
pub fn method(name: &str) -> Result<&'static dyn Method, MixError> {
    methods().iter().copied().find(|m| m.name() == name).ok_or_else(|| {
        let known: Vec<_> = methods().iter().map(|m| m.name()).collect();
        MixError::Method { method: name.into(), reason: format!("unknown; known: {}", known.join(", ")) }
    })
}

/// Checks a stage of a recipe against its method.
pub(crate) fn check_stage(stage: &Stage, place: &str) -> Result<(), MixError> {
    let method = method(&stage.method).map_err(|e| MixError::recipe(format!("{place}.method"), e.to_string()))?;
    let range = method.models();
    if !range.contains(&stage.models.len()) {
        let wanted = match (*range.start(), *range.end()) {
            (1, usize::MAX) => "at least one model".to_string(),
            (low, usize::MAX) => format!("at least {low} models"),
            (low, high) if low == high => format!("exactly {low} model{}", if low == 1 { "" } else { "s" }),
            (low, high) => format!("{low} to {high} models"),
        };
        let reason = format!("{} takes {wanted}, found {}", stage.method, stage.models.len());
        return Err(MixError::recipe(format!("{place}.models"), reason));
    }
    let find = |tables: &[&[Knob]], key: &str, path: String, also: &str| -> Result<Knob, MixError> {
        let all = || tables.iter().flat_map(|t| t.iter());
        all().find(|k| k.name == key).copied().ok_or_else(|| {
            let names: Vec<_> = all().map(|k| k.name).collect();
            let known = format!("{also}{}", names.join(", "));
            let known = if known.is_empty() { "none".into() } else { known };
            MixError::recipe(path, format!("unknown field for method {}; known here: {known}", stage.method))
        })
    };
    for (key, value) in &stage.params {
        let path = format!("{place}.params.{key}");
        // A per-model knob may stand in `params` for all models.
        accept(&find(&[method.knobs(), method.model_knobs()], key, path.clone(), "")?, value, &path)?;
    }
    for (i, model) in stage.models.iter().enumerate() {
        for (key, value) in &model.params {
            let path = format!("{place}.models[{i}].{key}");
            let also = "ref, sha256, weight, text_weight, minus, blocks, ";
            accept(&find(&[method.model_knobs()], key, path.clone(), also)?, value, &path)?;
        }
        if model.minus.is_some() && !method.uses_minus() {
            let path = format!("{place}.models[{i}].minus");
            return Err(MixError::recipe(path, format!("method {} has no use for it", stage.method)));
        }
    }
    Ok(())
}
