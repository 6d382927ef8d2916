//! The settings that a strip or an axis of a grid can run through: the recipe's own, and every knob of the registries in use.

use std::rc::Rc;

use admix_engine::mix::recipe::limits;
use admix_engine::mix::{method, methods};
use admix_engine::sample::registry;
use serde::{Deserialize, Serialize};

use crate::io::catalogue::short;
use crate::studio::document::Document;
use crate::studio::knob::{ADAPTER_WEIGHT, InRecipe as _, Knob, MODEL_WEIGHT};

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Setting {
    /// Words of the prompt, one after the other in the place of the first.
    Words,
    /// Steps.
    Steps,
    /// Guidance scale.
    Cfg,
    /// Guidance rescale.
    Rescale,
    /// Seed.
    Seed,
    /// Layer of the text encoder.
    ClipSkip,
    /// Solver.
    Sampler,
    /// Noise schedule.
    Schedule,
    /// A knob of sampling.
    Sampling(String),
    /// The model at the bottom.
    Base,
    /// Merge method of a stage.
    Method(usize),
    /// Weight of a model of a stage.
    Share(usize, usize),
    /// A knob of a stage's method.
    Merging(usize, String),
    /// A knob of a model of a stage.
    OfModel(usize, usize, String),
    /// Weight of an adapter.
    Adapter(usize),
    /// Text weight of an adapter.
    AdapterText(usize),
    /// Where in sampling an adapter begins.
    AdapterStart(usize),
    /// Where in sampling an adapter stops.
    AdapterStop(usize),
    /// Which adapter stands in a place.
    WhichAdapter(usize),
}

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A seed, whose 64 bits no float holds.
    Seed(u64),
    /// A name of a registry, a reference of the shelf, or words.
    Word(String),
}

/// What a setting may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// A number between two ends, perhaps a whole one.
    Numbers {
        /// The part of the range people use.
        rail: (f64, f64),
        /// Whole numbers only.
        is_whole: bool,
    },
    /// A seed, from this one on.
    Seeds(u64),
    /// One of these: value, name for people.
    Names(Vec<(String, String)>),
    /// Any words.
    Text,
}

/// References and names of the shelf's models and adapters.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// Models that can stand at the bottom.
    pub models: Rc<Vec<(String, String)>>,
    /// Adapters.
    pub adapters: Rc<Vec<(String, String)>>,
}

/// Knobs under a title: title, citation, knobs.
pub type Titled = (&'static str, &'static str, Vec<Knob>);

/// The knobs of sampling that act with the settings as they are: those of sampler and schedule, and under their titles those every run has.
pub fn sampling_knobs_by_title(document: &Document) -> (Vec<Knob>, Vec<Titled>) {
    let s = &document.recipe.sample;
    let sampler = registry::sampler(s.sampler.as_deref().unwrap_or_default()).map(|x| x.info().knobs);
    let schedule = registry::schedule(s.schedule.as_deref().unwrap_or_default()).map(|x| x.info().knobs);
    let mut own: Vec<Knob> = Vec::new();
    for knob in [sampler, schedule].into_iter().flatten().flatten().copied() {
        if !own.iter().any(|k| k.name == knob.name) {
            own.push(knob);
        }
    }
    let of = |knobs: &[Knob]| {
        let new = knobs.iter().copied().filter(|knob| !own.iter().any(|k| k.name == knob.name));
        new.collect::<Vec<_>>()
    };
    let mut shared: Vec<_> = registry::guidance().map(|g| (g.label, g.citation, of(g.knobs))).collect();
    let citation = "stable-diffusion-webui, modules/rng.py";
    shared.push(("Variation seed", citation, of(admix_engine::variation::ALL)));
    shared.push(("Noise and steps", "What every sampler has", of(&registry::RUN)));
    let about = "docs/prompts.md";
    shared.push(("How prompts are read", about, of(admix_engine::settings::PROMPT_KNOBS)));
    shared.push(("Second pass (hires fix)", about, of(admix_engine::upscale::ALL)));
    shared.push(("Model", about, of(&[admix_engine::settings::FAMILY])));
    shared.retain(|(_, _, knobs)| !knobs.is_empty());
    (own, shared)
}

/// The same in one list.
pub fn sampling_knobs(document: &Document) -> Vec<Knob> {
    let (mut own, shared) = sampling_knobs_by_title(document);
    own.extend(shared.into_iter().flat_map(|(_, _, knobs)| knobs));
    own
}

fn stage_knobs(name: &str) -> (Vec<Knob>, Vec<Knob>) {
    method(name).map_or_else(|_| Default::default(), |m| (m.knobs().to_vec(), m.model_knobs().to_vec()))
}

impl Setting {
    /// True for what a quick look would change itself: steps, sampler and the knobs of samplers are shown as they are.
    pub fn is_about_steps(&self) -> bool {
        match self {
            Setting::Steps | Setting::Sampler => true,
            Setting::Sampling(name) => registry::samplers().any(|s| s.knobs.iter().any(|k| k.name == name)),
            _ => false,
        }
    }

    /// Everything that can be varied of these settings.
    pub fn all(document: &Document) -> Vec<Setting> {
        let mut out = vec![
            Setting::Cfg,
            Setting::Steps,
            Setting::Seed,
            Setting::Sampler,
            Setting::Schedule,
            Setting::Words,
            Setting::Rescale,
            Setting::ClipSkip,
            Setting::Base,
        ];
        out.extend(sampling_knobs(document).iter().map(|k| Setting::Sampling(k.name.into())));
        for (s, stage) in document.recipe.merge.iter().enumerate() {
            out.extend((0..stage.models.len()).map(|m| Setting::Share(s, m)));
            out.push(Setting::Method(s));
            let (own, of_models) = stage_knobs(&stage.method);
            out.extend(own.iter().map(|k| Setting::Merging(s, k.name.into())));
            let models = 0..stage.models.len();
            out.extend(models.flat_map(|m| of_models.iter().map(move |k| Setting::OfModel(s, m, k.name.into()))));
        }
        for at in 0..document.recipe.adapters.len() {
            out.extend([
                Setting::Adapter(at),
                Setting::AdapterText(at),
                Setting::AdapterStart(at),
                Setting::AdapterStop(at),
                Setting::WhichAdapter(at),
            ]);
        }
        out
    }

    /// The registry's knob behind it, if it is one.
    fn knob(&self, document: &Document) -> Option<Knob> {
        let stage = |s: &usize| document.recipe.merge.get(*s).map(|stage| stage_knobs(&stage.method));
        let (knobs, name) = match self {
            Setting::Sampling(name) => (sampling_knobs(document), name),
            Setting::Merging(s, name) => (stage(s)?.0, name),
            Setting::OfModel(s, _, name) => (stage(s)?.1, name),
            _ => return None,
        };
        knobs.into_iter().find(|k| k.name == name)
    }

    /// Its name for people.
    pub fn label(&self, document: &Document) -> String {
        let adapter =
            |at: &usize| document.recipe.adapters.get(*at).map_or("adapter".into(), |a| short(&a.source.reference));
        let model = |s: &usize, m: &usize| {
            let found = document.recipe.merge.get(*s).and_then(|stage| stage.models.get(*m));
            found.map_or("model".into(), |m| short(&m.source.reference))
        };
        let knob = || self.knob(document).map_or("knob", |k| k.label);
        match self {
            Setting::Words => "Words of the prompt".into(),
            Setting::Steps => "Steps".into(),
            Setting::Cfg => "CFG".into(),
            Setting::Rescale => "CFG rescale".into(),
            Setting::Seed => "Seed".into(),
            Setting::ClipSkip => "Clip skip".into(),
            Setting::Sampler => "Sampler".into(),
            Setting::Schedule => "Schedule".into(),
            Setting::Base => "Model A".into(),
            Setting::Sampling(_) | Setting::Merging(..) => knob().into(),
            Setting::Method(_) => "Merge method".into(),
            Setting::Share(s, m) => format!("Share of {}", model(s, m)),
            Setting::OfModel(s, m, _) => format!("{} of {}", knob(), model(s, m)),
            Setting::Adapter(at) => format!("Weight of {}", adapter(at)),
            Setting::AdapterText(at) => format!("Text weight of {}", adapter(at)),
            Setting::AdapterStart(at) => format!("Start of {}", adapter(at)),
            Setting::AdapterStop(at) => format!("Stop of {}", adapter(at)),
            Setting::WhichAdapter(at) => format!("Adapter in place of {}", adapter(at)),
        }
    }

    /// What it may be.
    pub fn span(&self, document: &Document, stock: &Stock) -> Span {
        let numbers = |low, high, is_whole| Span::Numbers { rail: (low, high), is_whole };
        let named = |infos: &mut dyn Iterator<Item = admix_engine::sample::Info>| {
            Span::Names(infos.map(|i| (i.name.to_string(), i.label.to_string())).collect())
        };
        match self {
            Setting::Words => Span::Text,
            Setting::Steps => numbers(2.0, 30.0, true),
            Setting::Cfg => numbers(1.0, 13.0, false),
            Setting::Rescale => numbers(0.0, 1.0, false),
            Setting::Seed => Span::Seeds(document.recipe.sample.seed.unwrap_or(0)),
            Setting::ClipSkip => numbers(1.0, 4.0, true),
            Setting::Sampler => named(&mut registry::samplers()),
            Setting::Schedule => named(&mut registry::schedules()),
            Setting::Base => Span::Names(stock.models.to_vec()),
            Setting::WhichAdapter(_) => Span::Names(stock.adapters.to_vec()),
            Setting::Method(s) => {
                let count = document.recipe.merge.get(*s).map_or(1, |stage| stage.models.len());
                let fits = methods().iter().filter(|m| m.models().contains(&count));
                Span::Names(fits.map(|m| (m.name().to_string(), m.label().to_string())).collect())
            }
            Setting::Sampling(_) | Setting::Merging(..) | Setting::OfModel(..) => match self.knob(document) {
                Some(k) if k.is_text() => Span::Text,
                Some(k) if !k.choices.is_empty() => {
                    Span::Names(k.choices.iter().map(|c| (c.to_string(), c.to_string())).collect())
                }
                Some(k) => {
                    let (low, high) = k.rail();
                    numbers(low, high, k.is_whole() || k.is_switch())
                }
                None => numbers(0.0, 1.0, false),
            },
            Setting::Share(s, _) if document.is_between_at(*s) => numbers(0.0, 1.0, false),
            Setting::Share(..) => numbers(0.0, 1.5, false),
            Setting::Adapter(_) | Setting::AdapterText(_) => numbers(-0.5, 1.5, false),
            Setting::AdapterStart(_) => numbers(0.0, 0.9, false),
            Setting::AdapterStop(_) => numbers(0.1, 1.0, false),
        }
    }

    /// What it is now, where that is a number or a name.
    pub fn get(&self, document: &Document) -> Option<Value> {
        let recipe = &document.recipe;
        let s = &recipe.sample;
        let number = |v: f64| Some(Value::Number(v));
        let word = |v: &str| Some(Value::Word(v.to_string()));
        let from_knob = |knobs: &admix_engine::mix::recipe::Knobs| {
            let knob = self.knob(document)?;
            let value = knob.get(knobs);
            match knob.choices.get(value as usize) {
                Some(name) => word(name),
                None => number(value),
            }
        };
        match self {
            Setting::Words => None,
            Setting::Steps => number(f64::from(s.steps?)),
            Setting::Cfg => number(s.cfg?),
            Setting::Rescale => number(s.cfg_rescale.unwrap_or(0.0)),
            Setting::Seed => Some(Value::Seed(s.seed?)),
            Setting::ClipSkip => number(f64::from(s.clip_skip.unwrap_or(1))),
            Setting::Sampler => word(s.sampler.as_deref()?),
            Setting::Schedule => word(s.schedule.as_deref()?),
            Setting::Base => word(&recipe.base.reference),
            Setting::Sampling(_) => from_knob(&s.set),
            Setting::Method(at) => word(&recipe.merge.get(*at)?.method),
            Setting::Share(at, m) => number(recipe.merge.get(*at)?.models.get(*m)?.weight),
            Setting::Merging(at, _) => from_knob(&recipe.merge.get(*at)?.params),
            Setting::OfModel(at, m, _) => from_knob(&recipe.merge.get(*at)?.models.get(*m)?.params),
            Setting::Adapter(at) => number(recipe.adapters.get(*at)?.weight),
            Setting::AdapterText(at) => {
                let a = recipe.adapters.get(*at)?;
                number(a.text_weight.unwrap_or(a.weight))
            }
            Setting::AdapterStart(at) => number(recipe.adapters.get(*at)?.start),
            Setting::AdapterStop(at) => number(recipe.adapters.get(*at)?.stop),
            Setting::WhichAdapter(at) => word(&recipe.adapters.get(*at)?.source.reference),
        }
    }

    /// Sets it. `first` is the axis's first value: words of the prompt are looked for by it. Errors: the value does not suit, or what it belongs to
    /// is gone.
    pub fn set(&self, document: &mut Document, value: &Value, first: &Value) -> Result<(), String> {
        let label = self.label(document);
        let wrong = || format!("{label}: {} does not suit", value.text());
        let gone = || format!("{label}: what it belongs to is no longer in the mix");
        let knob = self.knob(document);
        let recipe = &mut document.recipe;
        let into_knob = |knobs: &mut admix_engine::mix::recipe::Knobs| -> Result<(), String> {
            let knob = knob.ok_or_else(gone)?;
            if knob.is_text() {
                knob.set_text(knobs, &value.text());
                return Ok(());
            }
            let number = match value {
                Value::Number(v) => *v,
                Value::Word(w) => knob.choices.iter().position(|c| c == w).ok_or_else(wrong)? as f64,
                Value::Seed(seed) => *seed as f64,
            };
            if !(knob.min..=knob.max).contains(&number) {
                return Err(format!("{label}: {number} is outside {} to {}", knob.min, knob.max));
            }
            knob.set(knobs, number);
            Ok(())
        };
        let ranged = |low: f64, high: f64| match value {
            Value::Number(v) if (low..=high).contains(v) => Ok(*v),
            Value::Number(v) => Err(format!("{label}: {v} is outside {low} to {high}")),
            Value::Word(_) | Value::Seed(_) => Err(wrong()),
        };
        let of_adapter = || ranged(*ADAPTER_WEIGHT.start(), *ADAPTER_WEIGHT.end());
        let word = || if let Value::Word(w) = value { Ok(w.clone()) } else { Err(wrong()) };
        match self {
            Setting::Words => {
                let prompt = recipe.sample.prompt.get_or_insert_default();
                let Value::Word(first) = first else { return Err(wrong()) };
                if !prompt.contains(first.as_str()) {
                    return Err(format!("the prompt does not contain \"{first}\", the axis's first words"));
                }
                *prompt = prompt.replace(first.as_str(), &word()?);
            }
            Setting::Steps => recipe.sample.steps = Some(ranged(limits::STEPS.min, limits::STEPS.max)?.round() as u32),
            Setting::Cfg => recipe.sample.cfg = Some(ranged(limits::CFG.min, limits::CFG.max)?),
            Setting::Rescale => recipe.sample.cfg_rescale = Some(ranged(0.0, 1.0)?).filter(|v| *v > 0.0),
            Setting::Seed => match value {
                Value::Seed(seed) => recipe.sample.seed = Some(*seed),
                _ => return Err(wrong()),
            },
            Setting::ClipSkip => {
                recipe.sample.clip_skip = Some(ranged(limits::CLIP_SKIP.min, limits::CLIP_SKIP.max)?.round() as u32)
            }
            Setting::Sampler => {
                recipe.sample.sampler = Some(word()?);
                document.keep_fitting_knobs();
            }
            Setting::Schedule => {
                recipe.sample.schedule = Some(word()?);
                document.keep_fitting_knobs();
            }
            Setting::Base => document.set_base(&word()?),
            Setting::Sampling(_) => into_knob(&mut recipe.sample.set)?,
            Setting::Method(at) => document.set_method(*at, &word()?, &[]),
            Setting::Share(at, m) => {
                let model = recipe.merge.get_mut(*at).and_then(|s| s.models.get_mut(*m)).ok_or_else(gone)?;
                model.weight = ranged(*MODEL_WEIGHT.start(), *MODEL_WEIGHT.end())?;
            }
            Setting::Merging(at, _) => into_knob(&mut recipe.merge.get_mut(*at).ok_or_else(gone)?.params)?,
            Setting::OfModel(at, m, _) => {
                into_knob(&mut recipe.merge.get_mut(*at).and_then(|s| s.models.get_mut(*m)).ok_or_else(gone)?.params)?
            }
            Setting::Adapter(at) => recipe.adapters.get_mut(*at).ok_or_else(gone)?.weight = of_adapter()?,
            Setting::AdapterText(at) => {
                recipe.adapters.get_mut(*at).ok_or_else(gone)?.text_weight = Some(of_adapter()?)
            }
            Setting::AdapterStart(at) => {
                let adapter = recipe.adapters.get_mut(*at).ok_or_else(gone)?;
                adapter.start = ranged(0.0, 1.0)?;
                adapter.stop = adapter.stop.max(adapter.start);
            }
            Setting::AdapterStop(at) => {
                let adapter = recipe.adapters.get_mut(*at).ok_or_else(gone)?;
                adapter.stop = ranged(0.0, 1.0)?;
                adapter.start = adapter.start.min(adapter.stop);
            }
            Setting::WhichAdapter(at) => {
                let source = admix_engine::mix::recipe::Reference::new(word()?);
                recipe.adapters.get_mut(*at).ok_or_else(gone)?.source = source;
            }
        }
        Ok(())
    }
}

impl Value {
    /// For labels: at most three places, no trailing zeros; references by their short names.
    pub fn text(&self) -> String {
        match self {
            Value::Number(v) => {
                let text = format!("{v:.3}");
                let text = text.trim_end_matches('0').trim_end_matches('.');
                (if text == "-0" { "0" } else { text }).to_string()
            }
            Value::Seed(seed) => seed.to_string(),
            Value::Word(w) if w.contains([':', '/', '\\']) => short(w),
            Value::Word(w) => w.clone(),
        }
    }
}
