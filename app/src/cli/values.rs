//! What flags accept. Every refusal says what would be right.

use admix_engine::mix::Knob;
use admix_engine::mix::recipe::{AdapterUse, limits};
use admix_engine::sample::rng::Kind;
use admix_engine::select;
use serde_json::Value;

/// A number that a knob of the table of limits takes.
fn number(text: &str, knob: &Knob) -> Result<f64, String> {
    let kind = if knob.is_whole() { "whole number" } else { "number" };
    let refuse = || format!("it must be a {kind} from {} to {}", knob.min, knob.max);
    knob.check(text.trim().parse().map_err(|_| refuse())?).map_err(|_| refuse())
}

/// Pixels along an edge.
pub fn edge(text: &str) -> Result<u32, String> {
    number(text, &limits::WIDTH).map(|v| v as u32)
}

/// Sampling steps.
pub fn steps(text: &str) -> Result<u32, String> {
    number(text, &limits::STEPS).map(|v| v as u32)
}

/// Pictures at once.
pub fn batch(text: &str) -> Result<u32, String> {
    number(text, &limits::BATCH).map(|v| v as u32)
}

/// Which layer of the text encoder, from the end.
pub fn clip_skip(text: &str) -> Result<u32, String> {
    number(text, &limits::CLIP_SKIP).map(|v| v as u32)
}

/// A seed.
pub fn seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("it must be a whole number from 0 to {}", u64::MAX))
}

/// Guidance scale.
pub fn cfg(text: &str) -> Result<f64, String> {
    number(text, &limits::CFG)
}

/// A share, 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, &limits::STRENGTH)
}

/// Whose random numbers.
pub fn rng(text: &str) -> Result<String, String> {
    match Kind::from_name(text) {
        Some(kind) => Ok(kind.name().to_string()),
        None => Err(format!("known are {}", Kind::NAMES.join(", "))),
    }
}

/// `REF` or `REF@WEIGHT`. The last `@` counts, and only where a number follows: a path may contain one.
pub fn adapter(text: &str) -> Result<AdapterUse, String> {
    let (reference, weight) = match text.rsplit_once('@') {
        Some((reference, weight)) => match weight.trim().parse::<f64>() {
            Ok(weight) => (reference, weight),
            Err(_) => (text, 1.0),
        },
        None => (text, 1.0),
    };
    if reference.is_empty() {
        return Err("it must be a path or builtin:NAME, with @WEIGHT behind it where the weight is not 1".into());
    }
    if !weight.is_finite() {
        return Err("the weight behind @ must be a finite number".into());
    }
    Ok(AdapterUse::new(reference, weight))
}

/// `knob=value`: the value is a number, true, false or a word.
pub fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) =
        text.split_once('=').ok_or("it must look like knob=value; `admix list knobs` shows the knobs")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || value.is_empty() {
        return Err("it must look like knob=value; `admix list knobs` shows the knobs".into());
    }
    let parsed = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match value.parse::<f64>() {
            Ok(v) if !v.is_finite() => return Err("the value must be finite".into()),
            Ok(v) if v.fract() == 0.0 && v.abs() < 1e15 => Value::from(v as i64),
            Ok(v) => Value::from(v),
            Err(_) => Value::from(value),
        },
    };
    Ok((name.to_string(), parsed))
}

/// What an adapter is for.
pub fn kind(text: &str) -> Result<select::Kind, String> {
    select::Kind::named(text)
        .ok_or_else(|| format!("there are {}", select::Kind::ALL.map(select::Kind::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_with_and_without_weight() {
        for (text, reference, weight) in [
            ("ink.safetensors", "ink.safetensors", 1.0),
            ("ink.safetensors@0.8", "ink.safetensors", 0.8),
            ("me@home/ink.safetensors", "me@home/ink.safetensors", 1.0),
            ("me@home/ink@-0.5", "me@home/ink", -0.5),
            ("builtin:pixel@2", "builtin:pixel", 2.0),
        ] {
            let used = adapter(text).expect(text);
            assert_eq!((used.source.reference.as_str(), used.weight), (reference, weight), "{text}");
        }
        for text in ["", "@1", "a@nan", "a@inf"] {
            assert!(adapter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        assert!(edge("-64").is_err() && edge("0").is_err() && edge("12.5").is_err() && edge("64").is_ok());
        assert!(cfg("NaN").is_err() && cfg("-1").is_err() && cfg("7.5").is_ok());
        assert!(steps("0").is_err() && batch("0").is_err() && share("1.01").is_err());
        assert_eq!(assignment("eta=0.5"), Ok(("eta".into(), Value::from(0.5))));
        assert_eq!(assignment("spacing=leading"), Ok(("spacing".into(), Value::from("leading"))));
        assert!(assignment("eta").is_err() && assignment("=1").is_err() && assignment("eta=nan").is_err());
    }
}
