//! peft's settings: `adapter_config.json`, or the same fields in a file's `lora_adapter_metadata`.

use super::family::Settings;
use crate::config::{Fields, parse_object};
use crate::error::{Error, Result};
use regex_lite::Regex;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The fields that determine scales.
#[derive(Clone, Debug, Default)]
pub(super) struct PeftSettings {
    alpha: Option<f64>,
    rank_stabilised: bool,
    rank: Option<f64>,
    alpha_pattern: Vec<(Regex, f64)>,
    rank_pattern: Vec<(Regex, f64)>,
    fields: Arc<Map<String, Value>>,
    /// peft's name of the method, e.g. `LORA`.
    pub peft_type: Option<String>,
}

impl PeftSettings {
    /// Reads `adapter_config.json`.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        Self::from_map(file, &parse_object(file, text)?)
    }

    /// Reads a parsed object.
    pub fn from_map(file: &str, map: &Map<String, Value>) -> Result<Self> {
        let f = Fields::new(file, map);
        // LoHa and LoKr call it `alpha`.
        let alpha = match f.opt_f64("lora_alpha")? {
            Some(alpha) => Some(alpha),
            None => f.opt_f64("alpha")?,
        };
        Ok(PeftSettings {
            alpha,
            rank_stabilised: f.bool("use_rslora", false)?,
            rank: f.opt_f64("r")?,
            alpha_pattern: patterns(&f, "alpha_pattern")?,
            rank_pattern: patterns(&f, "rank_pattern")?,
            fields: Arc::new(map.clone()),
            peft_type: f.opt_string("peft_type")?,
        })
    }

    /// What applies to a module, by its path within the component.
    pub fn of(&self, path: &str) -> Settings {
        let stated = |patterns: &[(Regex, f64)]| patterns.iter().find(|(r, _)| r.is_match(path)).map(|(_, v)| *v);
        Settings {
            alpha: stated(&self.alpha_pattern).or(self.alpha),
            rank_stabilised: self.rank_stabilised,
            rank: stated(&self.rank_pattern).or(self.rank),
            peft: Some(self.fields.clone()),
        }
    }
}

/// An object of numbers by regular expression.
fn patterns(f: &Fields, field: &str) -> Result<Vec<(Regex, f64)>> {
    let mut found = Vec::new();
    let Some(value) = f.get(field) else { return Ok(found) };
    let wrong = || f.wrong(field, value, "an object of numbers");
    for (pattern, number) in value.as_object().ok_or_else(wrong)? {
        let number = number.as_f64().ok_or_else(wrong)?;
        // peft: re.match(rf"(.*\.)?({key})$", path)
        let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
            .map_err(|e| Error::config(f.file(), format!("`{field}` key `{pattern}` cannot be read: {e}")))?;
        found.push((regex, number));
    }
    Ok(found)
}

/// The settings in diffusers' metadata, by component (empty for fields without one).
pub(super) fn from_metadata(file: &str, text: &str) -> Result<Vec<(String, PeftSettings)>> {
    let file = format!("{file}, metadata `lora_adapter_metadata`");
    let map = parse_object(&file, text.as_bytes())?;
    let mut out = Vec::new();
    for component in ["unet", "text_encoder", "text_encoder_2", ""] {
        let prefix = if component.is_empty() { String::new() } else { format!("{component}.") };
        let fields: Map<String, Value> = map
            .iter()
            .filter_map(|(k, v)| k.strip_prefix(&prefix).map(|k| (k.to_owned(), v.clone())))
            .filter(|(k, _)| !component.is_empty() || !k.contains('.'))
            .collect();
        if !fields.is_empty() {
            out.push((component.to_owned(), PeftSettings::from_map(&file, &fields)?));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_peft() {
        let text =
            r#"{"lora_alpha": 3, "use_rslora": true, "alpha_pattern": {"ff.net.2": 5, "down_blocks.*attn1.to_q": 7}}"#;
        let s = PeftSettings::from_json("x", text.as_bytes()).unwrap();
        assert!(s.of("a.b").rank_stabilised);
        for (path, alpha) in [
            ("x.ff.net.2", 5.0),
            ("ff.net.2", 5.0),
            ("xff.net.2", 3.0),
            ("x.ff.net.20", 3.0),
            ("unet.down_blocks.0.attn1.to_q", 7.0),
            ("up_blocks.0.attn1.to_q", 3.0),
        ] {
            assert_eq!(s.of(path).alpha, Some(alpha), "{path}");
        }
        assert!(PeftSettings::from_json("x", br#"{"alpha_pattern": {"(": 1}}"#).is_err());
        assert!(PeftSettings::from_json("x", br#"{"alpha_pattern": [1]}"#).is_err());
        assert!(PeftSettings::from_json("x", br#"{"lora_alpha": "3"}"#).is_err());
    }
}
