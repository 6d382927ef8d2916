//! Typed settings of a technique: the one type that every registry uses, and from which the command line, recipes and the studio make their own.

use serde::Serialize;

/// One setting. Its value is a number; that of a choice is the place of the word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Knob {
    /// As typed and in recipes.
    pub name: &'static str,
    /// As shown.
    pub label: &'static str,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Value where nothing is said.
    pub default: f64,
    /// One line on what it does.
    pub help: &'static str,
    /// How it is entered.
    pub kind: KnobKind,
    /// Words of the values 0, 1, ... of a choice; empty for the others.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub choices: &'static [&'static str],
}

/// How a knob is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KnobKind {
    /// Any number in the range.
    Number,
    /// Whole numbers in the range.
    Whole,
    /// On or off, 1 or 0, `true` or `false`.
    Switch,
    /// One of a few words.
    Choice,
    /// Text (a list of numbers, names of blocks): the help says which. Empty by default.
    Text,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct KnobError {
    /// The knob's name.
    pub name: &'static str,
    /// What is wrong, and what would be right.
    pub why: String,
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
        Knob { name, label, min, max, default, help, kind: KnobKind::Number, choices: &[] }
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
        Knob { kind: KnobKind::Whole, ..Knob::number(name, label, min, max, default, help) }
    }

    /// A switch.
    pub const fn switch(name: &'static str, label: &'static str, default: bool, help: &'static str) -> Knob {
        let default = if default { 1.0 } else { 0.0 };
        Knob { kind: KnobKind::Switch, ..Knob::number(name, label, 0.0, 1.0, default, help) }
    }

    /// One of several words; the first is the default.
    pub const fn choice(
        name: &'static str,
        label: &'static str,
        choices: &'static [&'static str],
        help: &'static str,
    ) -> Knob {
        let last = choices.len() as f64 - 1.0;
        Knob { kind: KnobKind::Choice, choices, ..Knob::number(name, label, 0.0, last, 0.0, help) }
    }

    /// Text, empty by default.
    pub const fn text(name: &'static str, label: &'static str, help: &'static str) -> Knob {
        Knob { kind: KnobKind::Text, ..Knob::number(name, label, 0.0, 0.0, 0.0, help) }
    }

    /// Takes text in place of a number.
    pub const fn is_text(&self) -> bool {
        matches!(self.kind, KnobKind::Text)
    }

    /// On or off.
    pub const fn is_switch(&self) -> bool {
        matches!(self.kind, KnobKind::Switch)
    }

    /// Whole numbers only.
    pub const fn is_whole(&self) -> bool {
        matches!(self.kind, KnobKind::Whole)
    }

    fn wrong(&self, why: String) -> KnobError {
        KnobError { name: self.name, why }
    }

    /// The value that `text` stands for. A choice may be shortened as long as it stays the only one (`v` for `v_prediction`), and `true` and
    /// `false` are `on` and `off`.
    ///
    /// # Errors
    /// Not a number, out of range, or not one of the choices.
    pub fn parse(&self, text: &str) -> Result<f64, KnobError> {
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
            Err(_) if self.choices.is_empty() => Err(self.wrong(format!("`{text}` is not a number"))),
            Err(_) => Err(self.wrong(format!("`{text}` is not known; choose {}", self.choices.join(", ")))),
        }
    }

    /// `value` if it is in range, and whole where it must be.
    ///
    /// # Errors
    /// Out of range or not a number.
    pub fn check(&self, value: f64) -> Result<f64, KnobError> {
        if self.is_whole() && value.is_finite() && value.fract() != 0.0 {
            return Err(self.wrong(format!("{value} is no whole number")));
        }
        let whole = !matches!(self.kind, KnobKind::Choice | KnobKind::Switch) || value.fract() == 0.0;
        // Written so that NaN fails.
        if value >= self.min && value <= self.max && whole {
            Ok(value)
        } else {
            Err(self.wrong(format!("{value} is outside {} to {}", self.min, self.max)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_checked() {
        const KIND: Knob = Knob::choice("kind", "Kind", &["auto", "epsilon", "edm"], "");
        assert_eq!((KIND.parse("EDM"), KIND.parse("a"), KIND.parse("2")), (Ok(2.0), Ok(0.0), Ok(2.0)));
        let why = |knob: Knob, text: &str| knob.parse(text).expect_err(text).to_string();
        assert_eq!(why(KIND, "e"), "kind: `e` is not known; choose auto, epsilon, edm");
        const ON: Knob = Knob::choice("on", "On", &["off", "on"], "");
        assert_eq!((ON.parse("true"), ON.parse("false")), (Ok(1.0), Ok(0.0)));
        const STEPS: Knob = Knob::whole("n", "N", 1.0, 9.0, 5.0, "");
        assert_eq!(why(STEPS, "1.5"), "n: 1.5 is no whole number");
        assert_eq!(why(STEPS, "10"), "n: 10 is outside 1 to 9");
        assert_eq!(why(STEPS, "x"), "n: `x` is not a number");
        for knob in [KIND, STEPS, Knob::number("f", "F", 0.0, 1.0, 0.5, ""), Knob::switch("s", "S", true, "")] {
            assert!(knob.check(f64::NAN).is_err() && knob.check(knob.default).is_ok(), "{}", knob.name);
        }
    }
}
