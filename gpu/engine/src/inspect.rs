//! What a file is: a checkpoint, an adapter, a picture with its texts, or a recipe.

use std::sync::Arc;

use admix_files::Bundle;
use admix_files::inspect::Inspected;
use admix_mix::Recipe;
use serde_json::{Map, Value, json};

use crate::EngineError;
use crate::metadata::is_picture;
use crate::picture::{self, texts};
use crate::understand::{Stack, open_against};

/// Longest picture or recipe that is read whole.
const MAX_WHOLE: u64 = 256 << 20;

/// What a file is held against.
pub struct Against {
    /// The model's reference and files.
    pub model: (String, Bundle),
    /// What lies on it beside the file: references, files and weights.
    pub with: Vec<(String, Bundle, f64)>,
    /// The weight of the file itself.
    pub weight: f64,
}

/// The JSON object of `admix inspect --json`. With `against`, an adapter's `fit`, and the figures of how the file's change of that model looks, alone
/// and beside others (`mix`).
///
/// # Errors
/// Damaged files, files of another kind, and `against` for what is no adapter and no checkpoint.
pub async fn describe(bundle: Bundle, against: Option<Against>) -> Result<Value, EngineError> {
    if !bundle.is_folder()
        && let Some((name, source)) = bundle.first()
    {
        let (name, len) = (name.to_string(), source.len());
        let start = source.read(0..len.min(12)).await?;
        let is_json = name.to_ascii_lowercase().ends_with(".json");
        if is_picture(&start) || is_json {
            refuse_against(against.is_some(), &name)?;
            if len > MAX_WHOLE {
                return Err(EngineError::Input(format!(
                    "{name}: it has {} MB, too many for a picture or a recipe",
                    len >> 20
                )));
            }
            let bytes = source.read(0..len).await?;
            return if is_json { describe_recipe(&name, &bytes) } else { describe_picture(&name, &bytes) };
        }
    }
    let inspected = Inspected::load(bundle).await?;
    let Some(against) = against else { return Ok(inspected.describe(None).await?) };
    let (reference, files) = against.model;
    let model = open_against(files).await?;
    let mut about = inspected.describe(Some(&model)).await?;
    let mut stack = Stack::new(&reference, model.clone());
    let name = about["name"].as_str().unwrap_or_default().to_string();
    let looks = match inspected {
        Inspected::Adapter(adapter) => {
            let fits = about["fit"]["matched"].as_u64().is_some_and(|n| n > 0);
            // An adapter that says nothing of its own belongs to what it fits.
            if about["family"].is_null() && fits {
                about["family"] = model.family.id().into();
            }
            // Textual inversions change no weight.
            let changes = fits && adapter.check_supported().is_ok() && adapter.kind != "embedding";
            stack.add_adapter(&name, Arc::new(*adapter), against.weight);
            changes
        }
        Inspected::Checkpoint(checkpoint) => {
            stack.add_model(&name, Arc::new(*checkpoint), against.weight);
            true
        }
    };
    if looks {
        for (reference, files, weight) in against.with {
            stack.add(&reference, files, weight).await?;
        }
        // What cannot be applied can still be inspected.
        match stack.understand().await {
            Ok(found) => about["mix"] = serde_json::to_value(found).unwrap_or(Value::Null),
            Err(e) => about["mix_problem"] = e.to_string().into(),
        }
    }
    Ok(about)
}

fn refuse_against(asked: bool, name: &str) -> Result<(), EngineError> {
    if !asked {
        return Ok(());
    }
    Err(EngineError::Input(format!("--against is for adapters and checkpoints, but {name} is none; leave it away")))
}

fn describe_picture(name: &str, bytes: &[u8]) -> Result<Value, EngineError> {
    let texts = texts(bytes).map_err(|e| EngineError::Input(format!("{name}: {e}")))?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    let size = picture::size(bytes);
    // A damaged recipe is shown as it stands, with what is wrong.
    let recipe = find("admix").map(|text| match Recipe::from_json(text) {
        Ok(_) => serde_json::from_str(text).unwrap_or(Value::Null),
        Err(e) => json!({ "problem": e.to_string(), "text": text }),
    });
    let others: Map<String, Value> = texts
        .iter()
        .filter(|(k, _)| k != "parameters" && k != "admix")
        .map(|(k, t)| (k.clone(), t.as_str().into()))
        .collect();
    Ok(json!({
        "kind": "picture",
        "name": name,
        "width": size.map(|s| s[0]),
        "height": size.map(|s| s[1]),
        "parameters": find("parameters"),
        "recipe": recipe,
        "metadata": others
    }))
}

fn describe_recipe(name: &str, bytes: &[u8]) -> Result<Value, EngineError> {
    let text = std::str::from_utf8(bytes).map_err(|_| EngineError::Input(format!("{name}: this is no UTF-8 text")))?;
    let recipe = Recipe::from_json(text).map_err(|e| EngineError::Input(format!("{name}: {e}")))?;
    let value: Value = serde_json::from_str(&recipe.to_json(false)).unwrap_or(Value::Null);
    Ok(json!({ "kind": "recipe", "name": name, "recipe": value }))
}
