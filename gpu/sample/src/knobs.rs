//! What a registry shows of a technique, and values of its knobs.

use std::collections::{BTreeMap, BTreeSet};

pub use admix_knob::Knob;
use serde::Serialize;

use crate::{Result, SampleError};

/// What a registry shows of a technique.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Info {
    /// As typed.
    pub name: &'static str,
    /// As shown.
    pub label: &'static str,
    /// Paper or program that defines it.
    pub citation: &'static str,
    /// Its own settings.
    pub knobs: &'static [Knob],
    /// Other names people type, in lower case.
    #[serde(skip)]
    pub aliases: &'static [&'static str],
}

/// Values set by name; what is not set has its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnobValues {
    numbers: BTreeMap<String, f64>,
    texts: BTreeMap<String, String>,
}

impl KnobValues {
    /// No value set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one value; ranges are checked when a plan is made.
    pub fn set(&mut self, name: impl Into<String>, value: f64) -> &mut Self {
        self.numbers.insert(name.into(), value);
        self
    }

    /// Sets a value from text, as in `--set name=value`: a number, or the name of a choice of the knob called so in any registry.
    ///
    /// # Errors
    /// No such knob, or not one of its values.
    pub fn set_text(&mut self, name: &str, text: &str) -> Result<()> {
        let all = crate::registry::all_knobs();
        let Some(knob) = all.iter().find(|k| k.name == name) else {
            let known: BTreeSet<&str> = all.iter().map(|k| k.name).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(SampleError::Unknown { kind: "knob", name: name.to_owned(), known });
        };
        if knob.is_text() {
            self.texts.insert(name.to_owned(), text.trim().to_owned());
            return Ok(());
        }
        // Two techniques may give one name different ranges; the plan checks against the one in use.
        let value = if knob.choices.is_empty() { text.trim().parse().ok() } else { None };
        self.set(
            name,
            match value {
                Some(value) => value,
                None => knob.parse(text)?,
            },
        );
        Ok(())
    }

    /// Value of `knob`, or its default.
    pub fn get(&self, knob: &Knob) -> f64 {
        self.numbers.get(knob.name).copied().unwrap_or(knob.default)
    }

    /// True if a value was set.
    pub fn is_set(&self, knob: &Knob) -> bool {
        self.has(knob.name)
    }

    /// True if a value was set for the knob of that name.
    pub fn has(&self, name: &str) -> bool {
        self.numbers.contains_key(name) || self.texts.contains_key(name)
    }

    /// Text of `knob`; empty if it is not set.
    pub fn text(&self, knob: &Knob) -> &str {
        self.texts.get(knob.name).map_or("", String::as_str)
    }

    /// The numbers in the text of `knob`, separated by commas or spaces (brackets around them are ignored).
    ///
    /// # Errors
    /// Something else than a finite number.
    pub fn list(&self, knob: &Knob) -> Result<Vec<f64>> {
        let text = self.text(knob).trim_matches(['[', ']']);
        let parts = text.split([',', ' ']).map(str::trim).filter(|t| !t.is_empty());
        parts
            .map(|t| match t.parse::<f64>() {
                Ok(v) if v.is_finite() => Ok(v),
                _ => Err(SampleError::setting(
                    knob.name,
                    format!("`{t}` is not a number; give numbers separated by commas"),
                )),
            })
            .collect()
    }

    /// Checks every value against `knobs`.
    ///
    /// # Errors
    /// A value out of range, or a name that none of the knobs has.
    pub fn check(&self, knobs: &[Knob]) -> Result<()> {
        let find = |name: &str| {
            knobs.iter().find(|k| k.name == name).ok_or_else(|| {
                let known: Vec<&str> = knobs.iter().map(|k| k.name).collect();
                SampleError::Unknown { kind: "knob", name: name.to_owned(), known: known.join(", ") }
            })
        };
        for (name, value) in &self.numbers {
            find(name)?.check(*value)?;
        }
        self.texts.keys().try_for_each(|name| find(name).map(|_| ()))
    }
}
