//! Recipes that follow one another on one cache: the same bits as without, sparse adapters in and out of the weights exactly.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::adapter::Adapter;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, Checkpoint, DType, MemSource, ready};
use admix_mix::{Cache, Mixer, Recipe};
use common::{golden, gpu};
use serde_json::{Value, json};

const TINY: &str = "models/sd1_tiny";

fn base() -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(golden(TINY)).expect("the golden model opens"))
}

/// The base's tensors, each value moved a little.
fn tune(name: &str) -> Arc<Checkpoint> {
    let base = base();
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (key, tensor) in base.tensors.iter().filter(|(_, t)| t.info.dtype.is_float()) {
        let mut values = ready(async { base.read_f32(key).await }).expect("reads");
        for (i, v) in values.iter_mut().enumerate() {
            *v += ((i * 37 + name.len() * 11) % 101) as f32 / 1000.0 - 0.05;
        }
        specs.push(TensorSpec { name: key.clone(), dtype: DType::F16, shape: tensor.shape.clone() });
        data.push(DType::F16.encode_f32(&values));
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).expect("fits");
    let bundle = Bundle::file(name, Arc::new(MemSource::new(bytes)));
    Arc::new(ready(Checkpoint::load(bundle, &Default::default())).expect("opens"))
}

fn open(recipe: &Value, models: &HashMap<String, Arc<Checkpoint>>, cache: Option<&Arc<Cache>>) -> Mixer {
    let shira = Arc::new(Adapter::open(golden("families/peft_shira")).expect("the fixture opens"));
    let adapters = HashMap::from([("shira".to_string(), shira)]);
    let recipe = Recipe::from_value(recipe).expect("sound");
    let device = gpu();
    let opened = Mixer::open(&device, &recipe, models, &adapters, false, false);
    pollster::block_on(opened).expect("opens").with_cache(cache.cloned())
}

/// Everything that the networks would read of the tensors that the recipe changes, as bits.
fn bits(mixer: &Mixer) -> HashMap<String, Vec<u32>> {
    let names: Vec<String> = mixer.base().tensors.keys().filter(|n| mixer.is_touched(n)).cloned().collect();
    let one = |name: String| {
        let effective = pollster::block_on(mixer.effective(&name)).expect("computes");
        let raw = pollster::block_on(effective.source.data.read(&gpu())).expect("reads");
        (name, raw.iter().map(|v| v.to_bits()).collect())
    };
    names.into_iter().map(one).collect()
}

/// First merge, a moved weight, a moved density, a moved block: from a cache the same bits as from files, and nothing is read twice.
#[test]
fn kept_inputs_and_thresholds_give_the_same_bits() {
    let models: HashMap<String, Arc<Checkpoint>> =
        [(TINY.to_string(), base()), ("one".into(), tune("one")), ("other".into(), tune("other"))].into();
    let cache = Arc::new(Cache::new(1 << 30));
    for method in ["ties", "dare_ties", "slerp", "sce", "cosine_a"] {
        let single = matches!(method, "slerp" | "cosine_a");
        let recipe = |weight: f64, density: f64, block: f64| {
            let mut used = vec![json!({ "ref": "one" }), json!({ "ref": "other" })];
            used.truncate(if single { 1 } else { 2 });
            for model in &mut used {
                if method != "sce" {
                    model["weight"] = json!(weight);
                }
                if method.ends_with("ties") {
                    model["density"] = json!(density);
                }
            }
            json!({ "admix": 1, "base": TINY, "merge": [{ "method": method, "models": used, "seed": 3, "blocks": { "unet.mid": block } }] })
        };
        let steps = [(0.5, 0.4, 1.0), (0.7, 0.4, 1.0), (0.7, 0.6, 1.0), (0.7, 0.6, 0.5), (0.5, 0.4, 1.0)];
        for (at, (weight, density, block)) in steps.into_iter().enumerate() {
            let recipe = recipe(weight, density, block);
            let before = cache.counts();
            let live = bits(&open(&recipe, &models, Some(&cache)));
            let after = cache.counts();
            assert!(live == bits(&open(&recipe, &models, None)), "{method}, step {at}");
            assert!(at == 0 || after.read == before.read, "{method}, step {at}: inputs are read once");
            // The last step is the first again: everything is known.
            assert!(at < 4 || after.found == before.found, "{method}, step {at}: thresholds are found once");
        }
    }
}

/// A sparse adapter changes its own places and no others, and leaves no trace.
#[test]
fn sparse_adapters_go_in_and_out_exactly() {
    let models: HashMap<String, Arc<Checkpoint>> = [(TINY.to_string(), base())].into();
    let cache = Arc::new(Cache::new(1 << 30));
    let with = |weight: f64| {
        let recipe = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": "shira", "weight": weight }] });
        open(&recipe, &models, Some(&cache))
    };
    let plain = open(&json!({ "admix": 1, "base": TINY }), &models, Some(&cache));
    let within = bits(&with(0.7));
    assert!(!within.is_empty());
    let pristine = |name: &String| {
        let effective = pollster::block_on(plain.effective(name)).expect("computes");
        let raw = pollster::block_on(effective.source.data.read(&gpu())).expect("reads");
        raw.iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
    };
    for (name, changed) in &within {
        let before = pristine(name);
        let places = before.iter().zip(changed).filter(|(a, b)| a != b).count();
        // A part of the weight; whatever shares a word of two halves with it counts as well.
        assert!(places > 0 && places < before.len(), "{name}: {places} of {} words", before.len());
    }
    // Stronger, then out, then in again.
    assert!(bits(&with(1.3)) != within);
    assert!(bits(&with(0.0)).is_empty(), "at weight 0 nothing is touched");
    for (name, changed) in &within {
        assert_ne!(pristine(name), *changed);
    }
    assert!(bits(&with(0.7)) == within);
}
