//! peft's settings: `adapter_config.json`, or the same fields in a file's `lora_adapter_metadata`.

use super::family::Scaling;
use crate::config::{Fields, parse_object};
use crate::error::{Error, Result};
use regex_lite::Regex;
use serde_json::{Map, Value};

/// The fields that determine scales.
#[derive(Clone, Debug, Default)]
pub(super) struct PeftSettings {
    alpha: Option<f64>,
    rank_stabilised: bool,
    alpha_pattern: Vec<(Regex, f64)>,
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
        let mut alpha_pattern = Vec::new();
        if let Some(value) = f.get("alpha_pattern") {
            let Value::Object(patterns) = value else {
                return Err(f.wrong("alpha_pattern", value, "an object of numbers"));
            };
            for (pattern, alpha) in patterns {
                let alpha = alpha.as_f64().ok_or_else(|| f.wrong("alpha_pattern", value, "an object of numbers"))?;
                // peft: re.match(rf"(.*\.)?({key})$", path)
                let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
                    .map_err(|e| Error::config(file, format!("`alpha_pattern` key `{pattern}` cannot be read: {e}")))?;
                alpha_pattern.push((regex, alpha));
            }
        }
        Ok(PeftSettings {
            alpha,
            rank_stabilised: f.bool("use_rslora", false)?,
            alpha_pattern,
            peft_type: f.opt_string("peft_type")?,
        })
    }

    /// The scaling of a module, by its path within the component.
    pub fn scaling(&self, path: &str) -> Scaling {
        let stated = self.alpha_pattern.iter().find(|(regex, _)| regex.is_match(path)).map(|(_, alpha)| *alpha);
        Scaling { alpha: stated.or(self.alpha), rank_stabilised: self.rank_stabilised }
    }
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
        assert!(s.scaling("a.b").rank_stabilised);
        for (path, alpha) in [
            ("x.ff.net.2", 5.0),
            ("ff.net.2", 5.0),
            ("xff.net.2", 3.0),
            ("x.ff.net.20", 3.0),
            ("unet.down_blocks.0.attn1.to_q", 7.0),
            ("up_blocks.0.attn1.to_q", 3.0),
        ] {
            assert_eq!(s.scaling(path).alpha, Some(alpha), "{path}");
        }
        assert!(PeftSettings::from_json("x", br#"{"alpha_pattern": {"(": 1}}"#).is_err());
        assert!(PeftSettings::from_json("x", br#"{"alpha_pattern": [1]}"#).is_err());
        assert!(PeftSettings::from_json("x", br#"{"lora_alpha": "3"}"#).is_err());
    }
}
