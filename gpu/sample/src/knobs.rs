//! Typed settings of a technique, the same list for the command line, recipes and the studio.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Result, SampleError};

/// One numeric setting, or a choice between names (then its value is the index of the name).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Knob {
    /// As typed in `--set name=value`.
    pub name: &'static str,
    /// As shown.
    pub label: &'static str,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// Value when nothing is said.
    pub default: f64,
    /// One line on what it does.
    pub help: &'static str,
    /// Names of the values 0, 1, ... of a choice; empty for a number.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub choices: &'static [&'static str],
    /// Takes text (a list of numbers, names of blocks) instead of a number; the help says which. Empty by default.
    #[serde(skip_serializing_if = "is_false")]
    pub text: bool,
    /// Whole numbers only.
    #[serde(skip_serializing_if = "is_false")]
    pub whole: bool,
}

fn is_false(b: &bool) -> bool {
    !b
}

impl Knob {
    /// A number between `min` and `max`.
    pub const fn number(
        name: &'static str,
        label: &'static str,
        min: f64,
        max: f64,
        default: f64,
        help: &'static str,
    ) -> Knob {
        Knob { name, label, min, max, default, help, choices: &[], text: false, whole: false }
    }

    /// A whole number between `min` and `max`.
    pub const fn whole(
        name: &'static str,
        label: &'static str,
        min: f64,
        max: f64,
        default: f64,
        help: &'static str,
    ) -> Knob {
        Knob { whole: true, ..Knob::number(name, label, min, max, default, help) }
    }

    /// One of several names; the first is the default.
    pub const fn choice(
        name: &'static str,
        label: &'static str,
        choices: &'static [&'static str],
        help: &'static str,
    ) -> Knob {
        Knob {
            name,
            label,
            min: 0.0,
            max: choices.len() as f64 - 1.0,
            default: 0.0,
            help,
            choices,
            text: false,
            whole: false,
        }
    }

    /// Text, empty by default.
    pub const fn text(name: &'static str, label: &'static str, help: &'static str) -> Knob {
        Knob { name, label, min: 0.0, max: 0.0, default: 0.0, help, choices: &[], text: true, whole: false }
    }

    /// The value that `text` stands for. A choice may be shortened as long as it stays the only one (`v` for `v_prediction`), and `true` and
    /// `false` are `on` and `off`.
    ///
    /// # Errors
    /// Not a number, out of range, or not one of the choices.
    pub fn parse(&self, text: &str) -> Result<f64> {
        let wanted = match text.trim() {
            "true" if self.choices.contains(&"on") => "on",
            "false" if self.choices.contains(&"off") => "off",
            wanted => wanted,
        };
        if let Some(i) = self.choices.iter().position(|c| c.eq_ignore_ascii_case(wanted)) {
            return Ok(i as f64);
        }
        let begins = |choice: &str| choice.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted));
        let mut shortened = self.choices.iter().enumerate().filter(|(_, c)| !wanted.is_empty() && begins(c));
        if let (Some((i, _)), None) = (shortened.next(), shortened.next()) {
            return Ok(i as f64);
        }
        match wanted.parse::<f64>() {
            Ok(v) => self.check(v),
            Err(_) if self.choices.is_empty() => {
                Err(SampleError::setting(self.name, format!("`{text}` is not a number")))
            }
            Err(_) => Err(SampleError::setting(
                self.name,
                format!("`{text}` is not known; choose {}", self.choices.join(", ")),
            )),
        }
    }

    /// `value` if it is in range (and whole, for a choice).
    ///
    /// # Errors
    /// Out of range or not a number.
    pub fn check(&self, value: f64) -> Result<f64> {
        if self.whole && value.is_finite() && value.fract() != 0.0 {
            return Err(SampleError::setting(self.name, format!("{value} is no whole number")));
        }
        let whole = self.choices.is_empty() || value.fract() == 0.0;
        // Written so that NaN fails.
        if value >= self.min && value <= self.max && whole {
            Ok(value)
        } else {
            Err(SampleError::setting(self.name, format!("{value} is outside {} to {}", self.min, self.max)))
        }
    }
}

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
        if knob.text {
            self.texts.insert(name.to_owned(), text.trim().to_owned());
            return Ok(());
        }
        // Two techniques may give one name different ranges; the plan checks against the one in use.
        let value = if knob.choices.is_empty() { text.trim().parse().ok() } else { None };
        self.set(name, value.map_or_else(|| knob.parse(text), Ok)?);
        Ok(())
    }

    /// Value of `knob`, or its default.
    pub fn get(&self, knob: &Knob) -> f64 {
        self.numbers.get(knob.name).copied().unwrap_or(knob.default)
    }

    /// True if a value was set.
    pub fn is_set(&self, knob: &Knob) -> bool {
        self.numbers.contains_key(knob.name) || self.texts.contains_key(knob.name)
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
