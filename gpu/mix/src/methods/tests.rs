//! Every method against its oracle (tests/golden/merges*.safetensors, made with mergekit) on the device and in its CPU twin.
//!
//! The bound is the largest difference relative to the tensor's largest expected value: 1e-5, eighty units in the last place of f32. A few
//! additions in f32 in another order stay below 1e-6; sums over whole tensors (norms, cosines) are what needs the rest.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use admix_tensor::{Gpu, Recorder, Tensor};
use serde_json::Value;

use crate::flat::{Flat, Kind};
use crate::method::{Facts, HostInputs, Inputs, Method, Settings, method};
use crate::recipe::Knobs;
use crate::testing::devices;

const BOUND: f64 = 1e-5;

/// Tensors of a golden file: (shape, f32 values), and its description.
struct Golden {
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    info: Value,
}

fn golden(file: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(file);
    let bytes = std::fs::read(&path).expect("the golden file is in the repository");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let head: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a JSON header");
    let mut tensors = HashMap::new();
    for (name, info) in head.as_object().expect("an object") {
        if name == "__metadata__" {
            continue;
        }
        assert_eq!(info["dtype"], "F32");
        let shape = info["shape"].as_array().expect("a shape").iter().map(|v| v.as_u64().expect("a size") as usize);
        let at = |i: usize| info["data_offsets"][i].as_u64().expect("an offset") as usize + 8 + header;
        tensors.insert(name.clone(), (shape.collect(), bytemuck::pod_collect_to_vec(&bytes[at(0)..at(1)])));
    }
    let info = head["__metadata__"]["admix_golden"].as_str().expect("the cases");
    Golden { tensors, info: serde_json::from_str(info).expect("cases in JSON") }
}

/// Largest difference relative to the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs())).max(1e-30);
    let worst = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
    assert!(found.iter().all(|v| v.is_finite()), "finite results");
    worst.fold(0.0, f64::max) / f64::from(scale)
}

/// One case of one method, ready to run.
struct Case<'a> {
    method: &'static dyn Method,
    settings: Settings<'a>,
    base: &'a [f32],
    models: Vec<&'a [f32]>,
    minus: Vec<&'a [f32]>,
    uniforms: Vec<&'a [f32]>,
}

impl Case<'_> {
    fn on_device(&self, gpu: &Arc<Gpu>) -> Vec<f32> {
        let upload = |v: &[f32]| Flat::upload_f32(gpu, "test", v).expect("small");
        let base = upload(self.base);
        let models: Vec<Flat> = self.models.iter().map(|m| upload(m)).collect();
        let minus: Vec<Option<Flat>> =
            self.minus.iter().map(|c| if std::ptr::eq(*c, self.base) { None } else { Some(upload(c)) }).collect();
        let uniforms: Vec<Tensor> = self.uniforms.iter().map(|u| upload(u).data).collect();
        let models: Vec<&Flat> = models.iter().collect();
        let minus: Vec<Option<&Flat>> = minus.iter().map(Option::as_ref).collect();
        let inputs =
            Inputs { base: &base, origin: None, models: &models, minus: &minus, uniforms: &uniforms, known: None };
        let mut rec = Recorder::new(gpu);
        let out = Flat::empty(gpu, "out", base.len, Kind::F32).expect("small");
        self.method.record(&mut rec, &inputs, &self.settings, &out).expect("records");
        rec.finish().submit();
        pollster::block_on(out.read_f32(gpu)).expect("reads back")
    }

    fn on_host(&self) -> Vec<f32> {
        let inputs = HostInputs {
            base: self.base,
            origin: self.base,
            models: &self.models,
            minus: &self.minus,
            uniforms: &self.uniforms,
        };
        self.method.reference(&inputs, &self.settings)
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().map(|a| a.iter().map(|v| v.as_f64().expect("a number")).collect()).unwrap_or_default()
}

/// A case as the fixtures state it, made into what the method of this name takes.
struct Stated {
    base: String,
    models: Vec<String>,
    minus: Vec<String>,
    weights: Vec<f64>,
    knobs: Knobs,
    model_knobs: Vec<Knobs>,
    uniforms: Vec<String>,
}

impl Stated {
    fn read(case: &Value) -> Stated {
        let names = |value: &Value| -> Vec<String> {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().map(|m| m.as_str().expect("a name").to_string()).collect()
        };
        let models = names(&case["models"]);
        let mut stated = Stated {
            base: "B".into(),
            minus: names(&case["minus"]),
            weights: numbers(&case["weight"]),
            knobs: Knobs::new(),
            model_knobs: vec![Knobs::new(); models.len()],
            uniforms: models.clone(),
            models,
        };
        // Lists are one value a model, beside or inside `params`.
        for (key, value) in case.as_object().into_iter().chain(case["params"].as_object()).flatten() {
            match value {
                Value::Array(list) if key == "weight" => stated.weights = numbers(&Value::Array(list.clone())),
                Value::Array(list) if ["density", "gamma", "epsilon"].contains(&key.as_str()) => {
                    for (knobs, value) in stated.model_knobs.iter_mut().zip(list) {
                        knobs.insert(key.clone(), value.clone());
                    }
                }
                _ => {}
            }
        }
        for (key, value) in case["params"].as_object().into_iter().flatten() {
            if !value.is_array() {
                stated.knobs.insert(key.clone(), value.clone());
            }
        }
        stated.weights.resize(stated.models.len(), 1.0);
        // mergekit without a base: our base is the first model.
        if case["base"] == Value::Bool(false) {
            stated.base = stated.models.remove(0);
            let sum: f64 = stated.weights.iter().sum();
            stated.weights.remove(0);
            stated.weights.iter_mut().for_each(|w| *w /= sum);
            stated.model_knobs.remove(0);
        }
        // Ours calls slerp's t the model's weight.
        if case["method"] == "slerp" {
            let t = stated.knobs.shift_remove("t").and_then(|t| t.as_f64()).expect("t");
            stated.weights = vec![t];
        }
        stated
    }
}

/// What the survey of a case finds over all its tensors, for methods that ask for one.
fn facts(data: &Golden, case: &Value, stated: &Stated, settings: Settings<'_>) -> Option<Arc<Facts>> {
    let method = method(case["method"].as_str().expect("a method")).expect("it exists");
    let plan = method.survey(&settings)?;
    let all = data.info["tensors"].as_array().expect("tensors").iter().map(|t| t.as_str().expect("a name").to_string());
    let names = plan.names.unwrap_or_else(|| all.collect());
    let mut survey = plan.survey;
    for pass in 0..survey.passes() {
        for name in &names {
            let input = |model: &String| data.tensors[&format!("in.{model}.{name}")].1.as_slice();
            let base = input(&stated.base);
            let models: Vec<&[f32]> = stated.models.iter().map(input).collect();
            let minus = vec![base; models.len()];
            let shape = &data.tensors[&format!("in.{}.{name}", stated.base)].0;
            survey.visit(
                pass,
                name,
                shape,
                &HostInputs { base, origin: base, models: &models, minus: &minus, uniforms: &[] },
            );
        }
        survey.pass_ended(pass);
    }
    Some(Arc::new(survey.finish()))
}

/// Runs every case of `file` that `wanted` takes by method and name.
fn check(file: &str, wanted: impl Fn(&str, &str) -> bool) {
    check_but(file, wanted, |_, _| false);
}

/// The same without those (case, tensor) that `skip` names.
fn check_but(file: &str, wanted: impl Fn(&str, &str) -> bool, skip: impl Fn(&str, &str) -> bool) {
    let data = golden(file);
    let mut count = 0;
    for case in data.info["cases"].as_array().expect("cases") {
        let (name, method_name) = (case["name"].as_str().expect("a name"), case["method"].as_str().expect("a method"));
        if !wanted(method_name, name) {
            continue;
        }
        let stated = Stated::read(case);
        for tensor in data.info["tensors"].as_array().expect("tensors").iter().map(|t| t.as_str().expect("a name")) {
            let Some((shape, expected)) = data.tensors.get(&format!("{name}.{tensor}")) else { continue };
            if skip(name, tensor) {
                continue;
            }
            let input = |model: &String| data.tensors[&format!("in.{model}.{tensor}")].1.as_slice();
            let uniform = |model: &String| data.tensors.get(&format!("u.{model}.{tensor}")).map(|u| u.1.as_slice());
            let base = input(&stated.base);
            let mut minus: Vec<&[f32]> = stated.minus.iter().map(input).collect();
            minus.resize(stated.models.len(), base);
            let settings = Settings {
                name: tensor,
                shape,
                weights: stated.weights.clone(),
                knobs: &stated.knobs,
                model_knobs: stated.model_knobs.iter().collect(),
                seed: 0,
                facts: None,
            };
            let settings = Settings { facts: facts(&data, case, &stated, settings.clone()), ..settings };
            let case = Case {
                method: method(method_name).expect("it exists"),
                settings,
                base,
                models: stated.models.iter().map(input).collect(),
                minus,
                uniforms: stated.uniforms.iter().filter_map(uniform).collect(),
            };
            let twin = difference(&case.on_host(), expected);
            assert!(twin <= BOUND, "{name} {tensor}: the twin differs by {twin:.1e}");
            // What is computed on the host is its own twin.
            for gpu in devices().into_iter().filter(|_| !case.method.on_host()) {
                let found = difference(&case.on_device(&gpu), expected);
                assert!(found <= BOUND, "{name} {tensor} ({:?}): {found:.1e}", gpu.tier);
            }
            count += 1;
        }
    }
    assert!(count > 0, "no case ran");
}

#[test]
fn weighted_sum_is_mergekits_linear() {
    check("merges.safetensors", |m, _| m == "weighted_sum");
}

#[test]
fn add_difference_is_mergekits_task_arithmetic() {
    check("merges.safetensors", |m, _| m == "add_difference");
}

#[test]
fn ties_is_mergekits() {
    check("merges.safetensors", |m, _| m == "ties");
}

#[test]
fn slerp_is_mergekits() {
    check("merges_more.safetensors", |m, _| m == "slerp");
}

#[test]
fn nuslerp_is_mergekits() {
    // ties_sign with a base has exactly opposite changes: the arc between them has no direction, the oracle's follows its rounding errors.
    let undefined = |case: &str, tensor: &str| case == "nuslerp_base_0" && tensor == "ties_sign";
    check_but("merges_more.safetensors", |_, name| name == "nuslerp_0" || name == "nuslerp_base_0", undefined);
}

#[test]
fn multislerp_is_mergekits() {
    check("merges_more.safetensors", |_, name| name == "multislerp_base");
}

#[test]
fn karcher_is_mergekits() {
    check("merges_more.safetensors", |m, _| m == "karcher");
}

#[test]
fn model_stock_is_mergekits() {
    check("merges_more.safetensors", |m, name| m == "model_stock" && name != "model_stock_rows");
}

#[test]
fn dare_is_mergekits_with_the_same_masks() {
    check("merges_more.safetensors", |m, _| m == "dare_linear" || m == "dare_ties");
}

#[test]
fn breadcrumbs_are_mergekits() {
    check("merges_more.safetensors", |m, _| m == "breadcrumbs" || m == "breadcrumbs_ties");
}

#[test]
fn della_is_mergekits_with_the_same_masks() {
    check("merges_more.safetensors", |m, _| m == "della" || m == "della_linear");
}

#[test]
fn sce_is_mergekits() {
    // Of equal variances (changes in eighths) the oracle takes those first that its own rounding makes larger.
    check_but(
        "merges_more.safetensors",
        |m, _| m == "sce",
        |case, tensor| case == "sce_top" && tensor.starts_with("ties_"),
    );
}

#[test]
fn arcee_fusion_is_mergekits() {
    check("merges_more.safetensors", |m, _| m == "arcee_fusion");
}

#[test]
fn nearswap_is_mergekits() {
    check("merges_more.safetensors", |m, _| m == "nearswap");
}

#[test]
fn ram_is_mergekits() {
    check("merges_more.safetensors", |m, _| m == "ram");
}

#[test]
fn whole_model_and_plain_methods_are_their_authors() {
    let here = |m: &str| !["rotate", "crossover", "rank_truncate", "smooth_add"].contains(&m);
    // A tensor of zeros has no cosine: the oracle gives NaN, this keeps the base. Equal inputs have no direction either.
    check("methods.safetensors", |m, _| here(m));
}

#[test]
fn spectra_and_filters_are_those_of_mecha_and_scipy() {
    check("methods.safetensors", |m, _| m == "crossover" || m == "smooth_add");
}

#[test]
fn singular_vectors_give_the_products_of_mecha() {
    // Wider than high: the turn of directions that centring takes away follows the oracle's rounding errors.
    let undefined =
        |case: &str, tensor: &str| case.starts_with("rotate") && ["mat", "row", "ties_magnitude"].contains(&tensor);
    check_but("methods.safetensors", |m, _| m == "rotate" || m == "rank_truncate", undefined);
}

/// Inputs as f16 and bf16 pairs give what their values as f32 give; results are rounded as the host rounds.
#[test]
fn half_inputs_and_results_round_to_nearest_even() {
    let count = 4099;
    // Every f16 there is among the inputs' bits, first part; subnormals included.
    let patterns = |from: u32| -> Vec<u16> {
        (0..count).map(|i| ((from + i * 16) & 0xffff) as u16).filter(|b| b & 0x7c00 != 0x7c00).collect()
    };
    let (a, b) = (patterns(3), patterns(40_001));
    let len = a.len().min(b.len());
    let bytes = |v: &[u16]| -> Vec<u8> { v[..len].iter().flat_map(|h| h.to_le_bytes()).collect() };
    let values = |v: &[u16]| -> Vec<f32> { v[..len].iter().map(|h| half::f16::from_bits(*h).to_f32()).collect() };
    let weights = [0.37];
    let knobs = Knobs::new();
    for gpu in devices() {
        let base = Flat::upload(&gpu, "a", &bytes(&a), Kind::F16).expect("small");
        let wide = Flat::upload_f32(&gpu, "b", &values(&b)).expect("small");
        let settings = Settings {
            name: "t",
            shape: &[len],
            weights: weights.to_vec(),
            knobs: &knobs,
            model_knobs: vec![&knobs],
            seed: 0,
            facts: None,
        };
        let run = |base: &Flat, model: &Flat, kind: Kind| {
            let inputs = Inputs { base, origin: None, models: &[model], minus: &[None], uniforms: &[], known: None };
            let out = Flat::empty(&gpu, "out", len, kind).expect("small");
            let mut rec = Recorder::new(&gpu);
            method("weighted_sum").expect("exists").record(&mut rec, &inputs, &settings, &out).expect("records");
            rec.finish().submit();
            pollster::block_on(out.read_bytes(&gpu)).expect("reads back")
        };
        let exact: Vec<f32> = bytemuck::pod_collect_to_vec(&run(&base, &wide, Kind::F32));
        let expanded = Flat::upload_f32(&gpu, "a", &values(&a)).expect("small");
        let same: Vec<f32> = bytemuck::pod_collect_to_vec(&run(&expanded, &wide, Kind::F32));
        assert_eq!(exact, same, "f16 pairs read as their values");
        let halves: Vec<u16> = bytemuck::pod_collect_to_vec(&run(&base, &wide, Kind::F16));
        let expected: Vec<u16> = exact.iter().map(|v| half::f16::from_f32(*v).to_bits()).collect();
        assert_eq!(halves, expected, "f16 results");
        let brains: Vec<u16> = bytemuck::pod_collect_to_vec(&run(&base, &wide, Kind::Bf16));
        let expected: Vec<u16> = exact.iter().map(|v| half::bf16::from_f32(*v).to_bits()).collect();
        assert_eq!(brains, expected, "bf16 results");
        let rounded: Vec<f32> = bytemuck::pod_collect_to_vec(&run(&base, &wide, Kind::RoundedBf16));
        let expected: Vec<f32> = exact.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
        assert_eq!(rounded, expected, "bf16 results as f32");
    }
}
