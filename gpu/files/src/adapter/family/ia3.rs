//! (IA)3: factors for a layer's outputs or inputs (Liu et al., arXiv 2205.05638).
//!
//! LyCORIS stores what is added to 1 (`weight`, with `on_input` for inputs) and leaves the bias alone. peft stores the factor (`ia3_l`):
//! for the outputs, the bias included, or for the inputs of feed-forward layers.

use super::{BiasUse, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};
use serde_json::Value;

pub(super) struct Ia3;

/// Whether peft's configuration counts the module among its feed-forward ones, whose inputs are scaled: a list of endings, or a pattern.
fn is_feed_forward(settings: &Settings, name: &str) -> Option<bool> {
    match settings.field("feedforward_modules")? {
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).any(|ending| name.ends_with(ending))),
        Value::String(pattern) => {
            let path = name.strip_prefix("base_model.model.").unwrap_or(name);
            regex_lite::Regex::new(&format!("^(?:{pattern})$")).ok().map(|r| r.is_match(path))
        }
        _ => None,
    }
}

impl Family for Ia3 {
    fn id(&self) -> &'static str {
        "ia3"
    }

    fn label(&self) -> &'static str {
        "IA3"
    }

    fn citation(&self) -> &'static str {
        "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning, arXiv 2205.05638"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".on_input", "on_input"), (".ia3_l", "ia3_l"), (".ia3_l.weight", "ia3_l"), (".weight", "weight")]
    }

    fn takes(&self, group: &Group, role: &str) -> bool {
        if group.has("ia3_l") { role == "ia3_l" } else { matches!(role, "on_input" | "weight") }
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("on_input") || group.has("ia3_l")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let role = if group.has("ia3_l") { "ia3_l" } else { "weight" };
        let shape = group.need(role)?;
        let count: usize = shape.iter().product();
        if count == 0 || shape.iter().filter(|d| **d != 1).count() > 1 {
            return Err(format!("its factors have shape {shape:?}; expected one for every output or input"));
        }
        // peft's matrices say by their shape which side they are for; everything else is told later.
        let (fits, bias) = match (role, shape) {
            ("ia3_l", [_, 1]) if count > 1 => (Fits::Rows(count), BiasUse::IfThere),
            ("ia3_l", [1, _]) if count > 1 => (Fits::Columns(count), BiasUse::Untouched),
            ("ia3_l", _) => (Fits::RowsOrColumns(count), BiasUse::IfThere),
            _ => (Fits::RowsOrColumns(count), BiasUse::Untouched),
        };
        Ok(Built { bias, ..Built::new(fits, None, 1.0) })
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        if let Some(l) = values.get("ia3_l") {
            let n = l.data.len();
            let stated = is_feed_forward(&module.settings, &module.name);
            let inputs = match (&l.shape[..], stated) {
                ([_, 1], _) if n > 1 => false,
                ([1, _], _) if n > 1 => true,
                (_, Some(inputs)) => inputs,
                _ if extent.rows != extent.columns => extent.rows != n,
                _ => {
                    return Err(
                        "its adapter_config.json is missing, which says whether it scales inputs or outputs".into()
                    );
                }
            };
            check(n, inputs, extent)?;
            let factors = Some(l.data.clone());
            if inputs {
                return Ok(Changes { weight: Some(Change::Scale { rows: None, columns: factors }), bias: None });
            }
            let rows = Change::Scale { rows: factors, columns: None };
            return Ok(Changes { weight: Some(rows.clone()), bias: Some(rows) });
        }
        let more = values.need("weight")?;
        let inputs = values.get("on_input").and_then(|a| a.data.first()).is_some_and(|v| *v != 0.0);
        check(more.data.len(), inputs, extent)?;
        let factors = Some(more.data.iter().map(|v| 1.0 + v).collect());
        let weight = if inputs {
            Change::Scale { rows: None, columns: factors }
        } else {
            Change::Scale { rows: factors, columns: None }
        };
        Ok(Changes { weight: Some(weight), bias: None })
    }
}

fn check(n: usize, inputs: bool, extent: Extent) -> Result<(), String> {
    let (side, expected) = if inputs { ("inputs", extent.columns) } else { ("outputs", extent.rows) };
    if n == expected {
        return Ok(());
    }
    Err(format!("it has {n} factors; the weight has {expected} {side}"))
}
