//! What a file is: a checkpoint, an adapter, a picture with its texts, or a recipe.

use admix_files::Bundle;
use admix_files::checkpoint::{Checkpoint, OpenOptions};
use admix_files::inspect::Inspected;
use admix_mix::Recipe;
use serde_json::{Map, Value, json};

use crate::EngineError;
use crate::picture::png_texts;

/// Longest picture or recipe that is read whole.
const MAX_WHOLE: u64 = 256 << 20;

/// The JSON object of `admix inspect --json`. `against` is a model to hold an adapter against.
///
/// # Errors
/// Damaged files, files of another kind, and `against` for anything but an adapter.
pub async fn describe(bundle: Bundle, against: Option<Bundle>) -> Result<Value, EngineError> {
    if !bundle.is_folder()
        && let Some((name, source)) = bundle.first()
    {
        let (name, len) = (name.to_string(), source.len());
        let start = source.read(0..len.min(8)).await?;
        let is_json = name.to_ascii_lowercase().ends_with(".json");
        if start.starts_with(b"\x89PNG") || is_json {
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
    match &inspected {
        Inspected::Adapter(_) => {
            let model = Checkpoint::load(against, &OpenOptions::default()).await?;
            let mut about = inspected.describe(Some(&model)).await?;
            // An adapter that says nothing of its own belongs to what it fits.
            if about["family"].is_null() && about["fit"]["matched"].as_u64().is_some_and(|n| n > 0) {
                about["family"] = model.family.id().into();
            }
            Ok(about)
        }
        Inspected::Checkpoint(c) => {
            refuse_against(true, &c.name)?;
            Ok(inspected.describe(None).await?)
        }
    }
}

fn refuse_against(asked: bool, name: &str) -> Result<(), EngineError> {
    if !asked {
        return Ok(());
    }
    Err(EngineError::Input(format!("--against is for adapters, but {name} is none; leave it away")))
}

fn describe_picture(name: &str, bytes: &[u8]) -> Result<Value, EngineError> {
    let texts = png_texts(bytes).map_err(|e| EngineError::Input(format!("{name}: {e}")))?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    let size = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
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
        "width": size(16),
        "height": size(20),
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
