//! Typed access to one JSON object, with errors that name the file, the field and what was found there.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// The fields of one configuration file.
///
/// A field that is absent or `null` takes its default, as in diffusers.
pub struct Fields<'a> {
    file: &'a str,
    map: &'a Map<String, Value>,
}

/// Parses a JSON object.
pub(crate) fn parse_object(file: &str, text: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Error::config(file, format!("expected a JSON object, found {}", describe(&other)))),
        Err(e) => Err(Error::config(file, format!("not valid JSON: {e}"))),
    }
}

fn describe(v: &Value) -> String {
    let kind = match v {
        Value::Null => return "null".into(),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let mut text = v.to_string();
    if text.len() > 60 {
        text = text.chars().take(57).collect::<String>() + "...";
    }
    format!("{text} ({kind})")
}

impl<'a> Fields<'a> {
    /// The fields of `map`, read from `file`.
    pub fn new(file: &'a str, map: &'a Map<String, Value>) -> Self {
        Fields { file, map }
    }

    /// Name of the file, for errors.
    pub fn file(&self) -> &str {
        self.file
    }

    /// The raw value, unless absent or null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    /// An error about a field's value.
    pub fn wrong(&self, field: &str, value: &Value, expected: &str) -> Error {
        Error::config(self.file, format!("`{field}` is {}; expected {expected}", describe(value)))
    }

    fn typed<T>(&self, field: &str, expected: &str, f: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        self.get(field).map(|v| f(v).ok_or_else(|| self.wrong(field, v, expected))).transpose()
    }

    /// A whole number not below zero.
    pub fn opt_usize(&self, field: &str) -> Result<Option<usize>> {
        self.typed(field, "a whole number", whole)
    }

    /// A whole number not below zero, or the default.
    pub fn usize(&self, field: &str, default: usize) -> Result<usize> {
        Ok(self.opt_usize(field)?.unwrap_or(default))
    }

    /// A whole number above zero, or the default.
    pub fn size(&self, field: &str, default: usize) -> Result<usize> {
        Ok(self.typed(field, "a whole number above zero", size)?.unwrap_or(default))
    }

    /// Any finite number.
    pub fn opt_f64(&self, field: &str) -> Result<Option<f64>> {
        self.typed(field, "a number", |v| v.as_f64().filter(|x| x.is_finite()))
    }

    /// Any finite number, or the default.
    pub fn f64(&self, field: &str, default: f64) -> Result<f64> {
        Ok(self.opt_f64(field)?.unwrap_or(default))
    }

    /// True or false, or the default.
    pub fn bool(&self, field: &str, default: bool) -> Result<bool> {
        Ok(self.typed(field, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A string.
    pub fn opt_string(&self, field: &str) -> Result<Option<String>> {
        self.typed(field, "a string", |v| v.as_str().map(str::to_owned))
    }

    /// A string, or the default.
    pub fn string(&self, field: &str, default: &str) -> Result<String> {
        Ok(self.opt_string(field)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A list of strings, or the default.
    pub fn strings(&self, field: &str, default: &[&str]) -> Result<Vec<String>> {
        let list = self.typed(field, "a list of strings", |v| {
            v.as_array()?.iter().map(|s| s.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        })?;
        Ok(list.unwrap_or_else(|| default.iter().map(|s| (*s).to_owned()).collect()))
    }

    /// A list of numbers.
    pub fn opt_f64s(&self, field: &str) -> Result<Option<Vec<f64>>> {
        self.typed(field, "a list of numbers", |v| v.as_array()?.iter().map(Value::as_f64).collect())
    }

    /// A non-empty list of whole numbers above zero, or the default.
    pub fn sizes(&self, field: &str, default: &[usize]) -> Result<Vec<usize>> {
        let list = self.typed(field, "a list of whole numbers above zero", |v| {
            v.as_array().filter(|a| !a.is_empty())?.iter().map(size).collect::<Option<Vec<usize>>>()
        })?;
        Ok(list.unwrap_or_else(|| default.to_vec()))
    }

    /// One whole number above zero for all levels, or a list with one for each.
    pub fn opt_per_level(&self, field: &str, levels: usize) -> Result<Option<Vec<usize>>> {
        let Some(v) = self.get(field) else { return Ok(None) };
        if let Some(one) = size(v) {
            return Ok(Some(vec![one; levels]));
        }
        let expected = "a whole number above zero or a list of them";
        let list = v.as_array().and_then(|a| a.iter().map(size).collect::<Option<Vec<usize>>>());
        let list = list.ok_or_else(|| self.wrong(field, v, expected))?;
        if list.len() != levels {
            let why = format!("`{field}` has {} entries for {levels} levels of `block_out_channels`", list.len());
            return Err(Error::config(self.file, why));
        }
        Ok(Some(list))
    }

    /// As [`Fields::opt_per_level`], or the default for all levels.
    pub fn per_level(&self, field: &str, levels: usize, default: usize) -> Result<Vec<usize>> {
        Ok(self.opt_per_level(field, levels)?.unwrap_or_else(|| vec![default; levels]))
    }

    /// True or false for all levels, or a list with one for each.
    pub fn bool_per_level(&self, field: &str, levels: usize, default: bool) -> Result<Vec<bool>> {
        let Some(v) = self.get(field) else { return Ok(vec![default; levels]) };
        if let Some(one) = v.as_bool() {
            return Ok(vec![one; levels]);
        }
        let list = v.as_array().and_then(|a| a.iter().map(Value::as_bool).collect::<Option<Vec<bool>>>());
        match list {
            Some(list) if list.len() == levels => Ok(list),
            _ => Err(self.wrong(field, v, &format!("true, false, or a list of {levels} of them"))),
        }
    }

    /// A size that may be written as one number or as [height, width].
    pub fn opt_extent(&self, field: &str) -> Result<Option<[usize; 2]>> {
        self.typed(field, "a whole number or two of them", |v| match v {
            Value::Array(a) => match &a[..] {
                [h, w] => Some([whole(h)?, whole(w)?]),
                _ => None,
            },
            one => whole(one).map(|n| [n, n]),
        })
    }
}

fn whole(v: &Value) -> Option<usize> {
    // Some writers store whole numbers as floats.
    let from_float = || v.as_f64().filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x)).map(|x| x as u64);
    v.as_u64().or_else(from_float).and_then(|n| usize::try_from(n).ok())
}

/// Most blocks (residual blocks, transformer blocks, layers) that a configuration may imply. The deepest published model, SDXL's U-Net, has 96;
/// a stranger's file must not make us list millions of tensors.
const MOST_BLOCKS: usize = 4096;

/// Refuses a configuration of `file` that implies more than [`MOST_BLOCKS`], before anything is listed; `fields` name what makes it so deep.
pub(super) fn check_depth(file: &str, blocks: usize, fields: &str) -> Result<()> {
    if blocks <= MOST_BLOCKS {
        return Ok(());
    }
    let why = format!(
        "its {fields} imply more than {MOST_BLOCKS} blocks, which no model has; the configuration is damaged or hostile"
    );
    Err(Error::config(file, why))
}

/// Layer sizes: above zero, and small enough that products of a few of them fit in 64 bits.
fn size(v: &Value) -> Option<usize> {
    whole(v).filter(|n| (1..=1 << 20).contains(n))
}
