//! Recipes: the contract's example reads, writes and reads again; what is wrong is named with its place.

use admix_mix::Recipe;
use serde_json::{Value, json};

fn example() -> Value {
    json!({ "admix": 1,
      "base": {"ref": "builtin:mini", "sha256": "ab".repeat(32)},
      "merge": [ { "method": "ties",
                   "models": [ {"ref": "a.safetensors", "weight": 0.7, "density": 0.3}, {"ref": "b.safetensors", "weight": 0.4, "density": 0.3} ],
                   "params": {"lambda": 1.0}, "blocks": {"unet.down.0": 0.5, "unet.mid": 1.0, "text": 0.0}, "seed": 7 } ],
      "adapters": [ {"ref": "ink.safetensors", "weight": 0.8, "text_weight": 0.5, "blocks": {"unet.up": 1.0}, "start": 0.0, "stop": 0.6} ],
      "sample": { "sampler": "dpmpp_2m", "schedule": "karras", "steps": 20, "cfg": 7.0, "seed": 1, "rng": "cpu", "width": 128, "height": 128 } })
}

#[test]
fn the_example_of_the_contract_reads_and_writes() {
    let recipe = Recipe::from_value(&example()).expect("reads");
    assert_eq!(recipe.merge[0].models[1].params["density"], json!(0.3));
    assert_eq!(recipe.adapters[0].text_weight, Some(0.5));
    assert_eq!(recipe.sample.steps, Some(20));
    for pretty in [false, true] {
        assert_eq!(Recipe::from_json(&recipe.to_json(pretty)).expect("reads"), recipe);
    }
    assert_eq!(recipe.checkpoint_refs(), ["builtin:mini", "a.safetensors", "b.safetensors"]);
    let through_serde: Recipe = serde_json::from_value(example()).expect("reads");
    assert_eq!(through_serde, recipe);
}

#[test]
fn errors_name_the_field_and_its_place() {
    let broken = |pointer: &str, value: Value| {
        let mut recipe = example();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = recipe.pointer_mut(parent).expect("it exists");
        match parent {
            Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
            other => other[key] = value,
        }
        Recipe::from_value(&recipe).expect_err("refused").to_string()
    };
    for (pointer, value, words) in [
        ("/admix", json!(2), vec!["admix", "version 2"]),
        ("/bass", json!(1), vec!["bass: unknown field", "base, merge"]),
        ("/base/url", json!("x"), vec!["base.url: unknown field"]),
        ("/base/ref", json!(""), vec!["base.ref"]),
        ("/base/sha256", json!("abc"), vec!["base.sha256", "64"]),
        ("/merge/0/method", json!("tise"), vec!["merge[0].method", "tise", "ties"]),
        ("/merge/0/models/1/densty", json!(0.3), vec!["merge[0].models[1].densty", "density"]),
        ("/merge/0/models/1/density", json!(1.5), vec!["merge[0].models[1].density", "0 to 1"]),
        ("/merge/0/models/0/weight", json!("much"), vec!["merge[0].models[0].weight", "a text"]),
        ("/merge/0/models/0/minus", json!("c"), vec!["merge[0].models[0].minus", "no use"]),
        ("/merge/0/models", json!([]), vec!["merge[0].models", "at least one"]),
        ("/merge/0/params/lamda", json!(1.0), vec!["merge[0].params.lamda", "lambda"]),
        ("/merge/0/blocks/unet.mid", json!(null), vec!["merge[0].blocks.unet.mid"]),
        ("/merge/0/seed", json!(-1), vec!["merge[0].seed", "-1"]),
        ("/adapters/0/strength", json!(1.0), vec!["adapters[0].strength: unknown field", "weight"]),
        ("/adapters/0/start", json!(0.7), vec!["adapters[0].stop", "before start"]),
        ("/adapters/0/stop", json!(1.5), vec!["adapters[0].stop", "0 to 1"]),
        ("/sample/steps", json!(0), vec!["sample.steps", "1 to 1000"]),
        ("/sample/steps", json!(2.5), vec!["sample.steps", "whole"]),
        ("/sample/width", json!(9000), vec!["sample.width", "8", "8192"]),
        ("/sample/height", json!(-8), vec!["sample.height"]),
        ("/sample/rng", json!("gpu"), vec!["sample.rng", "comfy"]),
        ("/sample/scheduler", json!("karras"), vec!["sample.scheduler: unknown field", "schedule"]),
        ("/sample", json!([]), vec!["sample", "an object", "a list"]),
    ] {
        let text = broken(pointer, value);
        for word in words {
            assert!(text.contains(word), "{pointer}: {text} lacks {word}");
        }
        assert!(!text.contains('\n'));
    }
    assert!(Recipe::from_json("{").expect_err("refused").to_string().starts_with("recipe, JSON"));
    assert!(Recipe::from_json("[]").is_err());
}
