//! What holds for every method of the registry, on real checkpoints: the order of models, keys that are missing or too many, other shapes, mixed
//! types, values that are not finite.

mod common;

use std::sync::Arc;

use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, Checkpoint, DType, MemSource, ready};
use admix_mix::{Method, Mixer, methods};
use common::{golden, open, values};
use serde_json::{Value, json};

const TINY: &str = "models/sd1_tiny";
/// A bias, a matrix, a kernel, and a tensor of a text encoder.
const LOOKED_AT: [&str; 4] = [
    "unet.conv_in.bias",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
    "unet.conv_in.weight",
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight",
];

/// How a model is made from the base.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    /// Type it is stored in, with values that every type here holds exactly.
    dtype: DType,
    /// It lacks the text encoder.
    lacks: bool,
    /// It has a tensor the base has not.
    extra: bool,
    /// Element 3 of the kernel is this.
    spoilt: Option<f32>,
    /// The kernel has other numbers of rows.
    cut: bool,
}

fn plain(name: &'static str, dtype: DType) -> Variant {
    Variant { name, dtype, lacks: false, extra: false, spoilt: None, cut: false }
}

fn base() -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(golden(TINY)).expect("the golden model opens"))
}

/// The base's values, moved; multiples of 1/64 below 2, which f16, bf16 and f32 hold exactly.
fn model(v: Variant) -> Arc<Checkpoint> {
    let base = base();
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    let kept = base.tensors.iter().filter(|(key, _)| !(v.lacks && key.starts_with("text_encoder.")));
    for (key, tensor) in kept {
        let mut values = ready(async { base.read_f32(key).await }).expect("reads");
        let (mut shape, seed) = (tensor.shape.clone(), v.name.bytes().map(usize::from).sum::<usize>());
        for (i, value) in values.iter_mut().enumerate() {
            let moved = f64::from(*value) + ((i * 37 + seed * 11) % 101) as f64 / 400.0 - 0.125;
            *value = ((moved * 64.0).round() / 64.0).clamp(-1.9, 1.9) as f32;
        }
        if key == LOOKED_AT[2] {
            if let Some(spoilt) = v.spoilt {
                values[3] = spoilt;
            }
            if v.cut {
                shape[0] -= 1;
                values.truncate(shape.iter().product());
            }
        }
        specs.push(TensorSpec { name: key.clone(), dtype: v.dtype, shape });
        data.push(v.dtype.encode_f32(&values));
    }
    if v.extra {
        specs.push(TensorSpec { name: "unet.nobody.knows.weight".into(), dtype: v.dtype, shape: vec![2, 2] });
        data.push(v.dtype.encode_f32(&[1.0; 4]));
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).expect("fits");
    let bundle = Bundle::file(v.name, Arc::new(MemSource::new(bytes)));
    Arc::new(ready(Checkpoint::load(bundle, &Default::default())).expect("opens"))
}

/// As many models as the method takes, two where it may.
fn count(method: &dyn Method) -> usize {
    2.clamp(*method.models().start(), *method.models().end())
}

/// A stage with uneven weights and, where there are such knobs, densities.
fn stage(method: &dyn Method, names: &[&str]) -> Value {
    let one = |name: &&str| {
        let number = f64::from(name.bytes().last().unwrap_or(b'a') - b'a');
        let mut entry = json!({ "ref": name });
        if method.weighted() {
            entry["weight"] = json!(0.4 + 0.2 * number);
        }
        for knob in method.model_knobs() {
            let value = if knob.name == "density" { 0.4 + 0.1 * number } else { knob.default };
            entry[knob.name] = json!(value.max(knob.min));
        }
        entry
    };
    json!({ "method": method.name(), "models": names.iter().map(one).collect::<Vec<_>>(), "seed": 5 })
}

fn mix(method: &dyn Method, models: &[(&str, Arc<Checkpoint>)]) -> Result<Mixer, admix_mix::MixError> {
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).collect();
    let recipe = json!({ "admix": 1, "base": TINY, "merge": [stage(method, &names)] });
    let all = std::iter::once((TINY, base())).chain(models.iter().cloned()).collect();
    Ok(open(&recipe, all, vec![])?.with_dtype(Some(DType::F32)))
}

fn all(method: &dyn Method, models: &[(&str, Arc<Checkpoint>)]) -> Vec<Vec<f32>> {
    let mixer = mix(method, models).expect("opens");
    LOOKED_AT.iter().map(|name| values(&mixer, name)).collect()
}

/// Largest difference relative to the tensor's largest value.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Methods whose models have places of their own: the order is part of what they are. Random ones draw a stream for every place.
const ORDERED: [&str; 9] = [
    "sum_twice",
    "slerp",
    "nuslerp",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
    "train_difference",
    "add_perpendicular",
];

#[test]
fn models_may_come_in_any_order() {
    let [a, b] = ["a", "b"].map(|name| (name, model(plain(name, DType::F32))));
    let mut seen = 0;
    for method in methods().iter().filter(|m| count(**m) == 2 && !ORDERED.contains(&m.name())) {
        let (one, other) = (all(*method, &[a.clone(), b.clone()]), all(*method, &[b.clone(), a.clone()]));
        for (at, name) in LOOKED_AT.iter().enumerate() {
            // Sums in another order.
            let found = distance(&one[at], &other[at]);
            assert!(found <= 1e-6, "{} {name}: {found:e}", method.name());
        }
        seen += 1;
    }
    assert!(seen >= 12, "{seen} methods take two models in any order");
}

#[test]
fn types_may_be_mixed() {
    let of = |types: [DType; 2]| [("a", model(plain("a", types[0]))), ("b", model(plain("b", types[1])))];
    let (wide, mixed) = (of([DType::F32; 2]), of([DType::BF16, DType::F16]));
    for method in methods() {
        let used = count(*method);
        let (one, other) = (all(*method, &wide[..used]), all(*method, &mixed[..used]));
        assert!(one == other, "{}: the values are the same, so the result is", method.name());
        let base = base();
        for (name, found) in LOOKED_AT.iter().zip(&one) {
            assert!(found.iter().all(|v| v.is_finite()), "{} {name}", method.name());
            let pristine = ready(async { base.read_f32(name).await }).expect("reads");
            assert_eq!(found.len(), pristine.len());
        }
    }
}

#[test]
fn missing_and_extra_keys_are_told_and_harmless() {
    let lacks = |name: &'static str| Variant { lacks: true, extra: true, ..plain(name, DType::F16) };
    let (partial, whole) =
        (["a", "b"].map(|n| (n, model(lacks(n)))), ["a", "b"].map(|n| (n, model(plain(n, DType::F16)))));
    let pristine = ready(async { base().read_f32(LOOKED_AT[3]).await }).expect("reads");
    for method in methods() {
        let used = count(*method);
        let mixer = mix(*method, &partial[..used]).expect("opens");
        let report = &mixer.model_reports()[0];
        assert!(report.missing.iter().any(|k| k == LOOKED_AT[3]) && report.extra == ["unet.nobody.knows.weight"]);
        assert!(!mixer.is_touched(LOOKED_AT[3]) && values(&mixer, LOOKED_AT[3]) == pristine, "{}", method.name());
        // What is there is merged as it is beside what is not, but for methods that look at the whole model.
        let global = ["ties_paper", "cosine_a", "cosine_b"].contains(&method.name());
        if !global {
            let with = mix(*method, &whole[..used]).expect("opens");
            assert!(values(&mixer, LOOKED_AT[1]) == values(&with, LOOKED_AT[1]), "{}", method.name());
        }
    }
}

#[test]
fn other_shapes_are_refused_by_name() {
    let cut = ("a", model(Variant { cut: true, ..plain("a", DType::F16) }));
    let fine = ("b", model(plain("b", DType::F16)));
    for method in methods() {
        let models = [cut.clone(), fine.clone()];
        let error = mix(*method, &models[..count(*method)]).err().expect("refused").to_string();
        assert!(error.contains(LOOKED_AT[2]) && error.contains("shape"), "{}: {error}", method.name());
    }
}

#[test]
fn values_that_are_not_finite_are_refused_by_name() {
    for spoilt in [f32::NAN, f32::NEG_INFINITY] {
        let bad = ("a", model(Variant { spoilt: Some(spoilt), ..plain("a", DType::F32) }));
        let fine = ("b", model(plain("b", DType::F32)));
        for method in methods() {
            let models = [bad.clone(), fine.clone()];
            let mixer = mix(*method, &models[..count(*method)]).expect("headers are sound");
            let error = pollster::block_on(mixer.effective(LOOKED_AT[2])).expect_err("refused").to_string();
            assert!(error.contains(LOOKED_AT[2]) && error.contains("element 3"), "{}: {error}", method.name());
        }
    }
}
