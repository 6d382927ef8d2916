//! A technique's knob, whichever registry it comes from, and its value in a recipe.

use std::ops::RangeInclusive;

pub use admix_engine::mix::Knob;
use admix_engine::mix::recipe::Knobs;
use serde_json::Value;

/// What an adapter's weight can be set to: concept sliders go far.
pub const ADAPTER_WEIGHT: RangeInclusive<f64> = -20.0..=20.0;
/// What a model's weight in a merge can be set to.
pub const MODEL_WEIGHT: RangeInclusive<f64> = -10.0..=10.0;

/// A knob as the studio turns it: its value in a recipe.
pub trait InRecipe {
    /// The part of the range that people use, for rails and strips: an open end stops somewhere.
    fn rail(&self) -> (f64, f64);
    /// Its value in a recipe; a choice is the number of its name.
    fn get(&self, knobs: &Knobs) -> f64;
    /// Its text in a recipe, empty where there is none.
    fn get_text(&self, knobs: &Knobs) -> String;
    /// Puts text into a recipe; none needs no entry.
    fn set_text(&self, knobs: &mut Knobs, text: &str);
    /// Puts a value into a recipe; the default needs no entry.
    fn set(&self, knobs: &mut Knobs, value: f64);
}

impl InRecipe for Knob {
    fn rail(&self) -> (f64, f64) {
        let top = if self.max > 1e4 { (self.default * 4.0).max(100.0) } else { self.max };
        (if self.min < -1e4 { (self.default * 4.0).min(-10.0) } else { self.min }, top)
    }

    fn get(&self, knobs: &Knobs) -> f64 {
        let read = |value: &Value| match value {
            Value::Bool(on) => Some(f64::from(u8::from(*on))),
            Value::String(text) => self.choices.iter().position(|c| c == text).map(|i| i as f64),
            other => other.as_f64(),
        };
        knobs.get(self.name).and_then(read).unwrap_or(self.default)
    }

    fn get_text(&self, knobs: &Knobs) -> String {
        knobs.get(self.name).map_or(String::new(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_string))
    }

    fn set_text(&self, knobs: &mut Knobs, text: &str) {
        if text.trim().is_empty() {
            knobs.shift_remove(self.name);
        } else {
            knobs.insert(self.name.into(), text.into());
        }
    }

    fn set(&self, knobs: &mut Knobs, value: f64) {
        if value == self.default {
            knobs.shift_remove(self.name);
            return;
        }
        let json = match self.choices.get(value.max(0.0) as usize) {
            Some(word) => (*word).into(),
            None if self.is_switch() => (value != 0.0).into(),
            None if self.is_whole() => (value.round() as i64).into(),
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
        const CHOICE: Knob = Knob::choice("kind", "Kind", &["a", "b"], "");
        const SWITCH: Knob = Knob::switch("on", "On", true, "");
        const OPEN: Knob = Knob::number("x", "X", 0.0, f64::MAX, 1.0, "");
        let mut knobs = Knobs::new();
        let (choice, switch, open) = (CHOICE, SWITCH, OPEN);
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
