//! A technique's knob as the studio draws it, whichever registry it comes from, and its value in a recipe.

use admix_engine::mix::method::{self, KnobKind};
use admix_engine::mix::recipe::Knobs;
use admix_engine::sample;
use serde_json::Value;

/// Name, range and help of something that can be turned.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Name in recipes.
    pub name: &'static str,
    /// Name for people.
    pub label: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Value where a recipe says nothing.
    pub default: f64,
    /// Whole numbers only.
    pub is_whole: bool,
    /// On or off.
    pub is_switch: bool,
    /// Names of the values 0, 1, ...; empty for a number.
    pub choices: &'static [&'static str],
    /// Takes text in place of a number.
    pub is_text: bool,
}

impl From<&method::Knob> for Knob {
    fn from(k: &method::Knob) -> Knob {
        let (is_whole, is_switch) = (k.kind == KnobKind::Whole, k.kind == KnobKind::Switch);
        let (name, label, help) = (k.name, k.label, k.help);
        Knob {
            name,
            label,
            help,
            min: k.min,
            max: k.max,
            default: k.default,
            is_whole,
            is_switch,
            choices: k.choices,
            is_text: false,
        }
    }
}

impl From<&sample::Knob> for Knob {
    fn from(k: &sample::Knob) -> Knob {
        let (name, label, help) = (k.name, k.label, k.help);
        let (min, max, default, choices) = (k.min, k.max, k.default, k.choices);
        Knob { name, label, help, min, max, default, is_whole: k.whole, is_switch: false, choices, is_text: k.text }
    }
}

impl Knob {
    /// The part of the range that people use, for rails and strips: an open end stops somewhere.
    pub fn rail(&self) -> (f64, f64) {
        let top = if self.max > 1e4 { (self.default * 4.0).max(100.0) } else { self.max };
        (if self.min < -1e4 { (self.default * 4.0).min(-10.0) } else { self.min }, top)
    }

    /// Its value in a recipe; a choice is the number of its name.
    pub fn get(&self, knobs: &Knobs) -> f64 {
        let read = |value: &Value| match value {
            Value::Bool(on) => Some(f64::from(u8::from(*on))),
            Value::String(text) => self.choices.iter().position(|c| c == text).map(|i| i as f64),
            other => other.as_f64(),
        };
        knobs.get(self.name).and_then(read).unwrap_or(self.default)
    }

    /// Its text in a recipe, empty where there is none.
    pub fn get_text(&self, knobs: &Knobs) -> String {
        knobs.get(self.name).map_or(String::new(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_string))
    }

    /// Puts text into a recipe; none needs no entry.
    pub fn set_text(&self, knobs: &mut Knobs, text: &str) {
        if text.trim().is_empty() {
            knobs.shift_remove(self.name);
        } else {
            knobs.insert(self.name.into(), text.into());
        }
    }

    /// Puts a value into a recipe; the default needs no entry.
    pub fn set(&self, knobs: &mut Knobs, value: f64) {
        if value == self.default {
            knobs.shift_remove(self.name);
            return;
        }
        let json = match self.choices.get(value.max(0.0) as usize) {
            Some(word) => (*word).into(),
            None if self.is_switch => (value != 0.0).into(),
            None if self.is_whole => (value.round() as i64).into(),
            None => value.into(),
        };
        knobs.insert(self.name.into(), json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_in_and_out() {
        const CHOICE: sample::Knob = sample::Knob::choice("kind", "Kind", &["a", "b"], "");
        const SWITCH: method::Knob = method::Knob::switch("on", "On", true, "");
        const OPEN: method::Knob = method::Knob::number("x", "X", 0.0, f64::MAX, 1.0, "");
        let mut knobs = Knobs::new();
        let (choice, switch, open) = (Knob::from(&CHOICE), Knob::from(&SWITCH), Knob::from(&OPEN));
        choice.set(&mut knobs, 1.0);
        switch.set(&mut knobs, 0.0);
        open.set(&mut knobs, 2.5);
        assert_eq!((choice.get(&knobs), switch.get(&knobs), open.get(&knobs)), (1.0, 0.0, 2.5));
        assert_eq!(serde_json::json!(knobs), serde_json::json!({"kind": "b", "on": false, "x": 2.5}));
        switch.set(&mut knobs, 1.0);
        assert!(!knobs.contains_key("on"));
        assert_eq!(open.rail(), (0.0, 100.0));
    }
}
