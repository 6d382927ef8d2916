//! Strict reading of a recipe from JSON: every error names the place.

use serde_json::{Map, Value};

use super::limits::{BATCH, CFG, CFG_RESCALE, CLIP_SKIP, HEIGHT, STEPS, STRENGTH, WIDTH};
use super::{AdapterUse, Blocks, Knobs, ModelUse, Recipe, Reference, Sample, Stage, VERSION};
use crate::adapter_merge::{COMBINE_METHODS, Combine};
use crate::{Knob, MixError};

type Result<T> = std::result::Result<T, MixError>;

/// An object and where it stands.
struct Place<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong<T>(path: &str, wanted: &str, found: &Value) -> Result<T> {
    Err(MixError::recipe(path, format!("expected {wanted}, found {}", kind(found))))
}

fn object<'a>(value: &'a Value, path: &str) -> Result<Place<'a>> {
    match value {
        Value::Object(map) => Ok(Place { map, path: path.to_string() }),
        other => wrong(path, "an object", other),
    }
}

fn finite(value: &Value, path: &str) -> Result<f64> {
    match value.as_f64().filter(|v| v.is_finite()) {
        Some(v) => Ok(v),
        None => wrong(path, "a finite number", value),
    }
}

impl<'a> Place<'a> {
    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`; null counts as absent.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(key) => {
                Err(MixError::recipe(self.at(key), format!("unknown field; known here: {}", known.join(", "))))
            }
        }
    }

    fn number(&self, key: &str, low: f64, high: f64) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = finite(value, &self.at(key))?;
        if (low..=high).contains(&found) {
            return Ok(Some(found));
        }
        Err(MixError::recipe(self.at(key), format!("{found} is out of range; allowed: {low} to {high}")))
    }

    fn weight(&self, key: &str) -> Result<Option<f64>> {
        self.number(key, -1e6, 1e6)
    }

    fn whole(&self, key: &str, low: u64, high: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // 20.0 is the same number as 20 to JSON's writers in other languages.
        let exact = value.as_f64().filter(|v| v.fract() == 0.0 && (0.0..9e15).contains(v)).map(|v| v as u64);
        match value.as_u64().or(exact) {
            Some(v) if (low..=high).contains(&v) => Ok(Some(v)),
            _ if value.is_number() => Err(MixError::recipe(
                self.at(key),
                format!("{value} is not allowed; expected a whole number from {low} to {high}"),
            )),
            _ => wrong(&self.at(key), "a whole number", value),
        }
    }

    fn small(&self, key: &str, low: u32, high: u32) -> Result<Option<u32>> {
        Ok(self.whole(key, low.into(), high.into())?.map(|v| v as u32))
    }

    /// A number of the table of limits.
    fn limited(&self, knob: &Knob) -> Result<Option<f64>> {
        self.number(knob.name, knob.min, knob.max)
    }

    /// A whole one.
    fn limited_whole(&self, knob: &Knob) -> Result<Option<u32>> {
        self.small(knob.name, knob.min as u32, knob.max as u32)
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => wrong(&self.at(key), "a text", other),
        }
    }

    fn list(&self, key: &str) -> Result<&'a [Value]> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => wrong(&self.at(key), "a list", other),
        }
    }

    fn blocks(&self, key: &str) -> Result<Blocks> {
        let Some(value) = self.get(key) else { return Ok(Blocks::new()) };
        match value {
            Value::String(name) => return crate::blocks::from_preset(name, &self.at(key)),
            Value::Array(values) => {
                let values: Vec<f64> = values.iter().map(|v| finite(v, &self.at(key))).collect::<Result<_>>()?;
                return crate::blocks::from_list(&values, &self.at(key));
            }
            _ => {}
        }
        let inner = object(value, &self.at(key))?;
        inner.map.iter().map(|(k, v)| Ok((k.clone(), finite(v, &inner.at(k))?))).collect()
    }

    fn knobs(&self, key: &str) -> Result<Knobs> {
        let Some(value) = self.get(key) else { return Ok(Knobs::new()) };
        let inner = object(value, &self.at(key))?;
        inner.map.iter().map(|(k, v)| Ok((k.clone(), knob(v, &inner.at(k))?))).collect()
    }

    fn reference(&self) -> Result<Reference> {
        let reference = match self.text("ref")? {
            Some(text) if !text.is_empty() => text,
            _ => return Err(MixError::recipe(self.at("ref"), "missing: a path or builtin:NAME")),
        };
        let sha256 = self.text("sha256")?.map(|s| s.to_lowercase());
        if let Some(sum) = &sha256
            && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(MixError::recipe(self.at("sha256"), "expected 64 hexadecimal digits"));
        }
        Ok(Reference { reference, sha256 })
    }
}

fn knob(value: &Value, path: &str) -> Result<Value> {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::String(_) => Ok(value.clone()),
        other => wrong(path, "a number, a text, true or false", other),
    }
}

/// Reads a whole recipe.
pub(super) fn recipe(value: &Value) -> Result<Recipe> {
    let top = match value {
        Value::Object(map) => Place { map, path: String::new() },
        other => return wrong("the whole file", "an object", other),
    };
    top.only(&["admix", "base", "merge", "adapters", "combine", "sample"])?;
    match top.whole("admix", 0, u64::MAX)? {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) => {
            let reason = format!("version {v}, but this program reads version {VERSION}; use a newer program");
            return Err(MixError::recipe("admix", reason));
        }
        None => return Err(MixError::recipe("admix", "missing: every recipe starts with \"admix\": 1")),
    }
    let base = match top.get("base") {
        None => return Err(MixError::recipe("base", "missing: {\"ref\": a path or builtin:NAME}")),
        Some(value) => bare_reference(value, "base")?,
    };
    let merge = top.list("merge")?.iter().enumerate().map(|(i, v)| stage(v, &format!("merge[{i}]")));
    let merge = merge.collect::<Result<Vec<_>>>()?;
    let adapters = top.list("adapters")?.iter().enumerate().map(|(i, v)| adapter(v, &format!("adapters[{i}]")));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let sample = match top.get("sample") {
        None => Sample::default(),
        Some(value) => sample(value)?,
    };
    let combine = top.get("combine").map(combine).transpose()?;
    Ok(Recipe { admix: VERSION, base, merge, adapters, combine, sample })
}

/// A reference as an object, or as the bare text of its `ref`.
fn bare_reference(value: &Value, path: &str) -> Result<Reference> {
    if let Value::String(text) = value {
        if text.is_empty() {
            return Err(MixError::recipe(path, "empty: a path or builtin:NAME"));
        }
        return Ok(Reference::new(text));
    }
    let place = object(value, path)?;
    place.only(&["ref", "sha256"])?;
    place.reference()
}

fn stage(value: &Value, path: &str) -> Result<Stage> {
    let place = object(value, path)?;
    place.only(&["method", "models", "params", "blocks", "seed"])?;
    let method = place.text("method")?.ok_or_else(|| MixError::recipe(place.at("method"), "missing"))?;
    let models = place.list("models")?.iter().enumerate();
    let models = models.map(|(i, v)| model(v, &format!("{path}.models[{i}]"))).collect::<Result<Vec<_>>>()?;
    Ok(Stage {
        method,
        models,
        params: place.knobs("params")?,
        blocks: place.blocks("blocks")?,
        seed: place.whole("seed", 0, u64::MAX)?,
    })
}

/// A model of a stage. What is not a known field is a per-model knob: the registry checks those.
fn model(value: &Value, path: &str) -> Result<ModelUse> {
    let place = object(value, path)?;
    let mut params = Knobs::new();
    for (key, value) in place.map {
        if !["ref", "sha256", "weight", "text_weight", "minus", "blocks"].contains(&key.as_str()) {
            params.insert(key.clone(), knob(value, &place.at(key))?);
        }
    }
    Ok(ModelUse {
        source: place.reference()?,
        weight: place.weight("weight")?.unwrap_or(1.0),
        text_weight: place.weight("text_weight")?,
        minus: place.get("minus").map(|v| bare_reference(v, &place.at("minus"))).transpose()?,
        blocks: place.blocks("blocks")?,
        params,
    })
}

fn adapter(value: &Value, path: &str) -> Result<AdapterUse> {
    let place = object(value, path)?;
    place.only(&["ref", "sha256", "weight", "text_weight", "blocks", "start", "stop"])?;
    let start = place.number("start", 0.0, 1.0)?.unwrap_or(0.0);
    let stop = place.number("stop", 0.0, 1.0)?.unwrap_or(1.0);
    if start > stop {
        return Err(MixError::recipe(place.at("stop"), format!("{stop} lies before start ({start})")));
    }
    Ok(AdapterUse {
        source: place.reference()?,
        weight: place.weight("weight")?.unwrap_or(1.0),
        text_weight: place.weight("text_weight")?,
        blocks: place.blocks("blocks")?,
        start,
        stop,
    })
}

/// How adapters become one.
fn combine(value: &Value) -> Result<Combine> {
    let place = object(value, "combine")?;
    place.only(&["method", "rank", "density", "seed"])?;
    let name = place.text("method")?.ok_or_else(|| MixError::recipe(place.at("method"), "missing"))?;
    let known = || COMBINE_METHODS.map(|(name, ..)| name).join(", ");
    let found = COMBINE_METHODS.iter().find(|(known, ..)| *known == name);
    let (.., method) =
        found.ok_or_else(|| MixError::recipe(place.at("method"), format!("unknown: {name}; known: {}", known())))?;
    Ok(Combine {
        method: *method,
        rank: place.small("rank", 1, 4096)?.map(|r| r as usize),
        density: place.number("density", 0.0, 1.0)?,
        seed: place.whole("seed", 0, u64::MAX)?,
    })
}

fn sample(value: &Value) -> Result<Sample> {
    let place = object(value, "sample")?;
    place.only(&[
        "prompt",
        "negative",
        "sampler",
        "schedule",
        "steps",
        "cfg",
        "cfg_rescale",
        "seed",
        "rng",
        "width",
        "height",
        "batch",
        "clip_skip",
        "strength",
        "set",
    ])?;
    let rng = place.text("rng")?;
    if let Some(name) = &rng
        && !["cpu", "nv", "comfy"].contains(&name.as_str())
    {
        return Err(MixError::recipe("sample.rng", format!("unknown generator {name}; known: cpu, nv, comfy")));
    }
    Ok(Sample {
        prompt: place.text("prompt")?,
        negative: place.text("negative")?,
        sampler: place.text("sampler")?,
        schedule: place.text("schedule")?,
        steps: place.limited_whole(&STEPS)?,
        cfg: place.limited(&CFG)?,
        cfg_rescale: place.limited(&CFG_RESCALE)?,
        seed: place.whole("seed", 0, u64::MAX)?,
        rng,
        width: place.limited_whole(&WIDTH)?,
        height: place.limited_whole(&HEIGHT)?,
        batch: place.limited_whole(&BATCH)?,
        clip_skip: place.limited_whole(&CLIP_SKIP)?,
        strength: place.limited(&STRENGTH)?,
        set: place.knobs("set")?,
    })
}
