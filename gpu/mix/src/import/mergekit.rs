//! mergekit's YAML: <https://github.com/arcee-ai/mergekit/blob/main/README.md#merge-configuration>.

use serde_json::{Map, Value};

use super::{Imported, yaml};
use crate::recipe::{Knobs, ModelUse, Stage};
use crate::{MixError, Recipe, method};

type Result<T> = std::result::Result<T, MixError>;

/// Fields that say how mergekit runs, not what it computes.
const WITHOUT_MEANING: &[&str] =
    &["dtype", "out_dtype", "tokenizer_source", "tokenizer", "chat_template", "int8_mask", "name"];

fn refuse<T>(place: &str, reason: impl Into<String>) -> Result<T> {
    Err(MixError::recipe(format!("mergekit, {place}"), reason))
}

fn map<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().map_or_else(|| refuse(place, "expected fields below it"), Ok)
}

/// A model's path: a text, or a map with `path`.
fn reference(value: &Value, place: &str) -> Result<String> {
    let found = match value {
        Value::Object(fields) => fields.get("model").or(fields.get("path")).map(|v| v.get("path").unwrap_or(v)),
        other => Some(other),
    };
    match found.and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.into()),
        _ => refuse(place, "expected the path of a model"),
    }
}

/// A number: mergekit's gradients over layers and filters by layer name mean language models' layers.
fn number(value: &Value, place: &str) -> Result<f64> {
    match value {
        Value::Bool(on) => Ok(f64::from(u8::from(*on))),
        Value::Number(n) => n.as_f64().map_or_else(|| refuse(place, "expected a number"), Ok),
        Value::Array(_) => {
            refuse(place, "values by layer are those of language models; give one number and `blocks` in the recipe")
        }
        _ => refuse(place, "expected a number"),
    }
}

/// One input with its parameters.
struct Input {
    reference: String,
    weight: Option<f64>,
    params: Knobs,
}

/// Reads a recipe of mergekit.
///
/// # Errors
/// What is no YAML, methods that do not exist here, slices of layers, values by layer, unknown parameters: each with its place.
pub fn from_mergekit(text: &str) -> Result<Imported> {
    let value = yaml::read(text)?;
    let top = map(&value, "the whole file")?;
    let mut notes = Vec::new();
    for key in top.keys() {
        match key.as_str() {
            "models" | "merge_method" | "base_model" | "parameters" => {}
            "slices" | "modules" => {
                return refuse(key, "slices of layers cannot be merged here; list whole models under `models`");
            }
            other if WITHOUT_MEANING.contains(&other) => {
                notes.push(format!("{other} is mergekit's own and not used; --dtype sets the type"))
            }
            other => return refuse(other, "unknown field"),
        }
    }
    let Some(name) = top.get("merge_method").and_then(Value::as_str) else { return refuse("merge_method", "missing") };
    let shared = top.get("parameters").filter(|v| !v.is_null()).map(|v| map(v, "parameters")).transpose()?;
    let mut params = Knobs::new();
    for (key, value) in shared.into_iter().flatten() {
        params.insert(key.clone(), number(value, &format!("parameters.{key}"))?.into());
    }
    let mut inputs = Vec::new();
    let models = top.get("models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (i, model) in models.iter().enumerate() {
        let place = format!("models[{i}]");
        let mut input = Input { reference: reference(model, &place)?, weight: None, params: Knobs::new() };
        let own = model.get("parameters").filter(|v| !v.is_null()).map(|v| map(v, &place)).transpose()?;
        for (key, value) in own.into_iter().flatten() {
            let found = number(value, &format!("{place}.parameters.{key}"))?;
            if key == "weight" {
                input.weight = Some(found);
            } else {
                input.params.insert(key.clone(), found.into());
            }
        }
        inputs.push(input);
    }
    let base = top.get("base_model").filter(|v| !v.is_null()).map(|v| reference(v, "base_model")).transpose()?;
    let shared_weight = params.shift_remove("weight").and_then(|w| w.as_f64());
    let weigh = |input: &Input| input.weight.or(shared_weight).unwrap_or(1.0);
    params.retain(|key, _| {
        let drop = WITHOUT_MEANING.contains(&key.as_str());
        if drop {
            notes.push(format!("parameters.{key} is mergekit's own and not used"));
        }
        !drop
    });
    let on = |params: &Knobs, key: &str, default: bool| {
        params.get(key).and_then(Value::as_f64).map_or(default, |v| v != 0.0)
    };
    if inputs.is_empty() {
        return refuse("models", "missing or empty");
    }
    // Methods without a base take the first model as ours.
    let own_base = base.clone().unwrap_or_else(|| inputs[0].reference.clone());
    let others: Vec<&Input> = match &base {
        Some(base) => inputs.iter().filter(|i| i.reference != *base).collect(),
        None => inputs.iter().skip(1).collect(),
    };
    let mut stage = Stage {
        method: name.into(),
        models: others
            .iter()
            .map(|i| ModelUse { params: i.params.clone(), ..ModelUse::new(&*i.reference, weigh(i)) })
            .collect(),
        params: params.clone(),
        blocks: Default::default(),
        seed: None,
    };
    let scale = |stage: &mut Stage, factor: f64| stage.models.iter_mut().for_each(|m| m.weight *= factor);
    match name {
        "linear" => {
            let sum: f64 = inputs.iter().map(weigh).sum();
            stage.params.shift_remove("normalize");
            let divides = on(&params, "normalize", true);
            if divides && sum == 0.0 || !divides && (sum - 1.0).abs() > 1e-9 {
                return refuse(
                    "parameters.normalize",
                    format!("weights that add up to {sum} are no weighted sum; set normalize: true"),
                );
            }
            // Whether or not it is listed, the base gets what the others leave.
            stage.method = "weighted_sum".into();
            scale(&mut stage, if divides { 1.0 / sum } else { 1.0 });
            let listed = base.is_none() || inputs.iter().any(|i| Some(&i.reference) == base.as_ref());
            if !listed {
                let (first, rest) = (stage.models[0].source.reference.clone(), stage.models.split_off(1));
                stage.models = rest;
                return finish(first, stage, notes);
            }
        }
        "task_arithmetic" => {
            let sum: f64 = others.iter().map(|i| weigh(i)).sum();
            let lambda = params.get("lambda").and_then(Value::as_f64).unwrap_or(1.0);
            let divisor = if on(&params, "normalize", false) && sum.abs() >= 1e-8 { sum } else { 1.0 };
            stage.method = "add_difference".into();
            stage.params.retain(|key, _| !["lambda", "normalize"].contains(&key.as_str()));
            scale(&mut stage, lambda / divisor);
        }
        "slerp" => {
            let Some(t) = stage.params.shift_remove("t").and_then(|t| t.as_f64()) else {
                return refuse("parameters.t", "missing");
            };
            stage.models.iter_mut().for_each(|m| m.weight = t);
        }
        "nuslerp" if base.is_none() => {
            let sum: f64 = inputs.iter().map(weigh).sum();
            stage.models.iter_mut().for_each(|m| m.weight = if sum.abs() < 1e-6 { 0.5 } else { m.weight / sum });
        }
        "multislerp" if base.is_none() => {
            return refuse("base_model", "multislerp is computed from a base here; name one");
        }
        _ => {}
    }
    finish(own_base, stage, notes)
}

/// A recipe of one stage, checked.
fn finish(base: String, stage: Stage, notes: Vec<String>) -> Result<Imported> {
    method(&stage.method)?;
    let mut recipe = Recipe::new(base);
    if !stage.models.is_empty() {
        recipe.merge.push(stage);
    }
    recipe.check()?;
    Ok(Imported { recipe, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(text: &str) -> Stage {
        from_mergekit(text).expect(text).recipe.merge.remove(0)
    }

    #[test]
    fn methods_that_exist_here_are_taken_over() {
        let text = "merge_method: ties\nbase_model: base\nmodels:\n  - model: base\n  - model: a\n    parameters:\n      weight: 0.7\n      density: 0.3\n  - model: b\nparameters:\n  normalize: false\n  int8_mask: true\n  weight: 0.4\ndtype: float16\n";
        let found = from_mergekit(text).expect("reads");
        assert_eq!(found.recipe.base.reference, "base");
        assert_eq!(found.notes.len(), 2);
        let stage = &found.recipe.merge[0];
        assert_eq!(stage.models.iter().map(|m| m.weight).collect::<Vec<_>>(), [0.7, 0.4]);
        assert_eq!(stage.models[0].params["density"], 0.3);
        assert_eq!(stage.params["normalize"], 0.0);
    }

    #[test]
    fn linear_and_arithmetic_become_our_weights() {
        let linear = "merge_method: linear\nmodels:\n- model: a\n  parameters: {weight: 1}\n- model: b\n  parameters: {weight: 3}\n";
        let found = from_mergekit(linear).expect("reads").recipe;
        assert_eq!((found.base.reference.as_str(), found.merge[0].method.as_str()), ("a", "weighted_sum"));
        assert_eq!(found.merge[0].models[0].weight, 0.75);
        let sum = stage(
            "merge_method: task_arithmetic\nbase_model: o\nmodels:\n- model: a\n  parameters: {weight: 0.5}\nparameters: {lambda: 0.4}\n",
        );
        assert_eq!((sum.method.as_str(), sum.models[0].weight), ("add_difference", 0.2));
        let arc = stage("merge_method: slerp\nbase_model: o\nmodels: [{model: o}, {model: a}]\nparameters: {t: 0.3}\n");
        assert_eq!((arc.method.as_str(), arc.models[0].weight), ("slerp", 0.3));
    }

    #[test]
    fn what_has_no_place_here_is_refused_by_name() {
        for (text, word) in [
            ("merge_method: passthrough\nmodels: [{model: a}]\n", "passthrough"),
            ("merge_method: ties\nbase_model: o\nslices: []\n", "slices"),
            ("merge_method: ties\nbase_model: o\nmodels: [{model: a, parameters: {density: [0, 1]}}]\n", "density"),
            ("merge_method: ties\nbase_model: o\nmodels: [{model: a, parameters: {dens: 1}}]\n", "dens"),
            ("merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {normalize: false}\n", "normalize"),
            ("models: []\n", "merge_method"),
        ] {
            let error = from_mergekit(text).expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
