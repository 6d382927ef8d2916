//! SuperMerger's `sd_merge_recipe` and `sd_merge_models`, which it writes into the metadata of what it saves:
//! <https://github.com/hako-mikan/sd-webui-supermerger/blob/main/scripts/mergers/mergers.py>.

use serde_json::Value;

use super::Imported;
use crate::blocks::from_list;
use crate::recipe::{Blocks, ModelUse, Reference, Stage};
use crate::{MixError, Recipe};

type Result<T> = std::result::Result<T, MixError>;

fn refuse<T>(place: &str, reason: impl Into<String>) -> Result<T> {
    Err(MixError::recipe(format!("sd_merge_recipe, {place}"), reason))
}

/// A recipe field in JSON, parsed.
fn parse(text: &str, place: &str) -> Result<Value> {
    serde_json::from_str(text).or_else(|e| refuse(place, format!("no JSON: {e}")))
}

/// The name of a model by its sha256, without the short hash the web UI shows behind it.
fn reference(recipe: &Value, key: &str, models: &Value) -> Result<Reference> {
    let Some(sum) = recipe[key].as_str().filter(|s| !s.is_empty()) else { return refuse(key, "missing") };
    let name = models[sum]["name"].as_str().unwrap_or(sum);
    let name = name.rsplit_once(" [").map_or(name, |(name, _)| name);
    let known = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(Reference { reference: name.into(), sha256: known.then(|| sum.to_lowercase()) })
}

/// The values of the blocks, as a list or as SuperMerger's text of commas; `BASE` comes from a field of its own.
fn values(value: &Value, base: f64, place: &str) -> Result<Blocks> {
    let listed: Option<Vec<f64>> = match value {
        Value::String(text) => text.split(',').map(|v| v.trim().parse().ok()).collect(),
        Value::Array(items) => items.iter().map(Value::as_f64).collect(),
        _ => None,
    };
    let Some(mut listed) = listed else { return refuse(place, "expected a list of numbers") };
    if listed.len() == 25 || listed.len() == 19 {
        listed.insert(0, base);
    }
    from_list(&listed, place)
}

/// SuperMerger's words for layers of the original code, in ours.
fn element(word: &str) -> Vec<&str> {
    match word {
        "in_layers" => vec!["norm1", "conv1"],
        "emb_layers" => vec!["time_emb_proj"],
        "out_layers" => vec!["norm2", "conv2"],
        "skip_connection" => vec!["conv_shortcut"],
        "time_embed" => vec!["time_embedding"],
        other => vec![other],
    }
}

/// Blocks of a rule, `IN00-IN05` standing for all between.
fn rule_blocks(text: &str, place: &str) -> Result<Vec<String>> {
    let names = crate::blocks::MBW26;
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let ends = word.split_once('-').unwrap_or((word, word));
        let at = |name: &str| names.iter().position(|n| n.eq_ignore_ascii_case(name));
        match (at(ends.0), at(ends.1)) {
            (Some(first), Some(last)) if first <= last => {
                found.extend(names[first..=last].iter().map(|n| n.to_string()))
            }
            _ => return refuse(place, format!("unknown block {word}")),
        }
    }
    Ok(if found.is_empty() { vec![String::new()] } else { found })
}

/// Adds elemental rules, `blocks:elements:ratio` each; later ones win.
fn add_rules(value: &Value, blocks: &mut Blocks) -> Result<()> {
    let place = "elemental_merge";
    let text = match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        Value::String(text) => text.clone(),
        _ => return Ok(()),
    };
    for rule in text.split(['\n', ',']).map(str::trim).filter(|r| !r.is_empty()) {
        let parts: Vec<&str> = rule.split(':').collect();
        let [inside, elements, ratio] = parts[..] else { continue };
        let Ok(ratio) = ratio.trim().parse::<f64>() else {
            return refuse(place, format!("{ratio} in {rule} is no number"));
        };
        if inside.contains("NOT") || elements.contains("NOT") {
            return refuse(place, format!("{rule}: NOT has no counterpart here; name the blocks and elements"));
        }
        for block in rule_blocks(inside, place)? {
            let words: Vec<&str> = elements.split_whitespace().flat_map(element).collect();
            for word in if words.is_empty() { vec![""] } else { words } {
                let key = format!("{block}:{word}");
                // The last rule for a place must stand last.
                blocks.shift_remove(&key);
                blocks.insert(key, ratio);
            }
        }
    }
    Ok(())
}

/// Reads a recipe of SuperMerger: the texts of `sd_merge_recipe` and, if there, `sd_merge_models`.
///
/// # Errors
/// Recipes of other programs, calculation modes that do not exist here, fields that are not what they should be.
pub fn from_supermerger(recipe: &str, models: Option<&str>) -> Result<Imported> {
    let recipe = parse(recipe, "the whole text")?;
    let models = models.map(|m| parse(m, "sd_merge_models")).transpose()?.unwrap_or(Value::Null);
    match recipe["type"].as_str() {
        Some("sd-webui-supermerger") => {}
        other => return refuse("type", format!("{} is not sd-webui-supermerger", other.unwrap_or("missing"))),
    }
    let mode = recipe["mode"].as_str().unwrap_or("Weight sum");
    let calculation = recipe["calcmode"].as_str().unwrap_or("normal");
    let field = |key: &str| recipe[key].as_f64().unwrap_or(0.0);
    let (alpha, beta) = (field("base_alpha"), field("base_beta"));
    let by_block = recipe["mbw"].as_bool().unwrap_or(false);
    let mut notes = Vec::new();
    let two = mode.contains("Triple") || mode.contains("Twice");
    let method = match (calculation, mode) {
        ("normal", m) if m.contains("Add") => "add_difference",
        ("normal", m) if m.contains("Triple") => "triple_sum",
        ("normal", m) if m.contains("Twice") => "sum_twice",
        ("normal", _) => "weighted_sum",
        ("cosineA", _) => "cosine_a",
        ("cosineB", _) => "cosine_b",
        ("trainDifference", _) => "train_difference",
        ("smoothAdd" | "smoothAdd MT", _) => "smooth_add",
        ("tensor", _) => "tensor_sum",
        ("extract", _) => "extract",
        (other, _) => return refuse("calcmode", format!("{other} does not exist here")),
    };
    // Values by block stand for the ratio itself: the weight is then 1.
    let used = |key: &str, list: &str, ratio: f64| -> Result<ModelUse> {
        let mut model = ModelUse::new("", if by_block { 1.0 } else { ratio });
        model.source = reference(&recipe, key, &models)?;
        if by_block {
            model.blocks = values(&recipe[list], ratio, list)?;
        }
        Ok(model)
    };
    let mut stage = Stage {
        method: method.into(),
        models: Vec::new(),
        params: Default::default(),
        blocks: Blocks::new(),
        seed: None,
    };
    let mut first = used("model_b", "weights_alpha", alpha)?;
    match method {
        "add_difference" | "train_difference" | "smooth_add" => {
            first.minus = Some(reference(&recipe, "model_c", &models)?);
            stage.models.push(first);
        }
        "extract" => {
            if by_block {
                return refuse("mbw", "extract by block has no counterpart here");
            }
            stage.params.insert("alpha".into(), alpha.into());
            stage.params.insert("beta".into(), beta.into());
            notes.push("the smoothness of extract is not in SuperMerger's recipe; gamma is left at 1".into());
            first.weight = 1.0;
            stage.models =
                vec![first, ModelUse { source: reference(&recipe, "model_c", &models)?, ..ModelUse::new("", 1.0) }];
        }
        _ => {
            if method == "tensor_sum" {
                stage.params.insert("beta".into(), beta.into());
            }
            stage.models.push(first);
            if two {
                stage.models.push(used("model_c", "weights_beta", beta)?);
            }
        }
    }
    let rules = &recipe["elemental_merge"];
    let mut own = Blocks::new();
    add_rules(rules, &mut own)?;
    if !own.is_empty() {
        // A rule is a ratio, blocks are factors on the weight.
        let weight = stage.models[0].weight;
        if weight == 0.0 {
            return refuse("elemental_merge", "rules beside a ratio of 0 cannot be said as factors; set mbw");
        }
        own.values_mut().for_each(|ratio| *ratio /= weight);
        stage.models[0].blocks.extend(own);
    }
    let mut imported = Recipe::new("");
    imported.base = reference(&recipe, "model_a", &models)?;
    imported.merge.push(stage);
    imported.check()?;
    Ok(Imported { recipe: imported, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::factor;
    use serde_json::json;

    #[test]
    fn a_block_merge_comes_over_with_its_ratios() {
        let sums = ["a".repeat(64), "b".repeat(64)];
        let alphas: Vec<f64> = (1..26).map(|i| f64::from(i) / 100.0).collect();
        let recipe = json!({
            "type": "sd-webui-supermerger", "weights_alpha": alphas, "weights_beta": null, "model_a": sums[0], "model_b": sums[1], "model_c": "",
            "base_alpha": 0.5, "base_beta": 0.25, "mode": "Weight sum", "mbw": true, "elemental_merge": ["IN01-IN02:attn2:0.9", ":emb_layers:0.7"],
            "calcmode": "normal", "Off": []
        });
        let names = json!({ &sums[0]: {"name": "one.safetensors [abc]", "legacy_hash": "x"}, &sums[1]: {"name": "two.safetensors"} });
        let found = from_supermerger(&recipe.to_string(), Some(&names.to_string())).expect("reads").recipe;
        assert_eq!(
            (found.base.reference.as_str(), found.base.sha256.as_deref()),
            ("one.safetensors", Some(sums[0].as_str()))
        );
        let model = &found.merge[0].models[0];
        assert_eq!((model.source.reference.as_str(), model.weight), ("two.safetensors", 1.0));
        let at = |name: &str| factor(&model.blocks, name);
        assert_eq!(at("text_encoder.text_model.final_layer_norm.bias"), 0.5);
        assert_eq!(at("unet.conv_in.weight"), 0.01);
        assert_eq!(at("unet.conv_out.weight"), 0.25);
        assert_eq!(at("unet.down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_q.weight"), 0.9);
        assert_eq!(at("unet.mid_block.resnets.0.time_emb_proj.weight"), 0.7);
        // What was imported is a recipe like any other.
        assert_eq!(Recipe::from_json(&found.to_json(false)).expect("reads back"), found);
    }

    #[test]
    fn modes_find_their_methods_or_are_refused() {
        let recipe = |mode: &str, calculation: &str| {
            let value = json!({
                "type": "sd-webui-supermerger", "model_a": "a", "model_b": "b", "model_c": "c", "base_alpha": 0.5, "base_beta": 0.25, "mode": mode,
                "mbw": false, "elemental_merge": "", "calcmode": calculation
            });
            from_supermerger(&value.to_string(), None).map(|i| i.recipe.merge[0].clone())
        };
        let stage = recipe("Add difference", "trainDifference").expect("reads");
        assert_eq!(
            (stage.method.as_str(), stage.models[0].minus.as_ref().map(|m| m.reference.as_str())),
            ("train_difference", Some("c"))
        );
        let stage = recipe("sum Twice", "normal").expect("reads");
        assert_eq!((stage.method.as_str(), stage.models[0].weight, stage.models[1].weight), ("sum_twice", 0.5, 0.25));
        assert_eq!(recipe("Weight sum", "tensor").expect("reads").params["beta"], 0.25);
        assert!(recipe("Weight sum", "self").is_err_and(|e| e.to_string().contains("self")));
        assert!(from_supermerger("{\"type\": \"other\"}", None).is_err());
        assert!(from_supermerger("[", None).is_err());
    }
}
