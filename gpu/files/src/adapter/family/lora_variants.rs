//! What peft's configuration says of a LoRA that its tensors do not: some variants are no sum of the model's weight and a product, though their
//! files look the same.

use super::Settings;
use serde_json::Value;

/// Ways to begin that take the beginning out of the model's own weights (peft, tuners/lora/layer.py): PiSSA (arXiv 2404.02948), CorDA (2406.05223),
/// OLoRA (2406.01775), LoftQ (2310.08659), LoRA-GA (2407.05000). What was trained is W - s B0 A0 + s B A, and the file has B and A only. peft makes
/// B0 A0 again from the model when it loads some of them; a converted file has the difference, and says `true`.
const CHANGES_BASE: [&str; 5] = ["pissa", "corda", "olora", "loftq", "lora_ga"];

/// Fields that make the module another network (peft, tuners/lora/variants.py).
const OTHERS: [(&str, &str); 6] = [
    ("kasa_config", "KaSA"),
    ("use_bdlora", "BD-LoRA"),
    ("use_qalora", "QALoRA"),
    ("arrow_config", "Arrow"),
    ("alora_invocation_tokens", "aLoRA"),
    ("monteclora_config", "MonteCLoRA"),
];

/// Refuses such a module.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let start = settings.field("init_lora_weights").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    if CHANGES_BASE.iter().any(|name| start.starts_with(name)) {
        return Err(format!(
            "it was trained with `init_lora_weights` = `{start}`, which changes the base too; save it as an ordinary LoRA, with peft's \
             `save_pretrained(.., path_initial_model_for_weight_conversion=..)`"
        ));
    }
    let is_on = |v: &Value| match v {
        Value::Bool(on) => *on,
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    match OTHERS.iter().find(|(field, _)| settings.field(field).is_some_and(is_on)) {
        Some((_, label)) => {
            Err(format!("it was trained as {label}, a variant of LoRA that is recognised but not applied yet"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn of(value: Value) -> Option<String> {
        check(&Settings { peft: Some(Arc::new(value.as_object().unwrap().clone())), ..Settings::default() }).err()
    }

    #[test]
    fn variants_that_are_more_than_a_product_are_refused() {
        for start in ["pissa", "pissa_niter_16", "corda", "OLoRA", "loftq", "lora_ga"] {
            let why = of(json!({ "init_lora_weights": start })).unwrap();
            assert!(why.contains("path_initial_model_for_weight_conversion"), "{why}");
        }
        for start in [json!(true), json!(false), json!("gaussian"), json!("eva"), json!("orthogonal"), json!("mica")] {
            assert_eq!(of(json!({ "init_lora_weights": start, "use_qalora": false, "arrow_config": null })), None);
        }
        assert!(of(json!({ "kasa_config": { "beta": 1 } })).unwrap().contains("KaSA"));
        assert!(of(json!({ "use_qalora": true })).unwrap().contains("QALoRA"));
        assert_eq!(of(json!({ "velora_config": {}, "alora_invocation_tokens": [] })), None);
    }
}
