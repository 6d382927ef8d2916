//! The mixer on real files: adapters against peft's and diffusers' results, merges, export, and what it refuses.

mod common;

use std::sync::Arc;

use admix_files::adapter::Adapter;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, Checkpoint, DType, MemSource, ready};
use admix_mix::{ExportLayout, MixError, Mixer, Recipe};
use common::{Folder, golden, open, values};
use serde_json::{Value, json};

const TINY: &str = "models/sd1_tiny";

fn base() -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(golden(TINY)).expect("the golden model opens"))
}

/// A fine-tune in memory: the base's tensors that `keep` names, each value moved by up to a tenth.
fn fine_tune(name: &str, keep: impl Fn(&str) -> bool, change: impl Fn(&str, &mut Vec<f32>)) -> Arc<Checkpoint> {
    let base = base();
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (key, tensor) in base.tensors.iter().filter(|(k, _)| keep(k)) {
        let mut values = ready(async { base.read_f32(key).await }).expect("reads");
        for (i, v) in values.iter_mut().enumerate() {
            *v += ((i * 37 + name.len() * 11) % 101) as f32 / 1000.0 - 0.05;
        }
        change(key, &mut values);
        specs.push(TensorSpec { name: key.clone(), dtype: DType::F16, shape: tensor.shape.clone() });
        data.push(DType::F16.encode_f32(&values));
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).expect("fits");
    let bundle = Bundle::file(name, Arc::new(MemSource::new(bytes)));
    Arc::new(ready(Checkpoint::load(bundle, &Default::default())).expect("opens"))
}

fn adapter(file: &str) -> Arc<Adapter> {
    Arc::new(Adapter::open(golden(&format!("adapters/{file}"))).expect("the golden adapter opens"))
}

fn description(file: &str) -> (Checkpointless, Value) {
    let bytes = std::fs::read(golden(&format!("adapters/{file}"))).expect("in the repository");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let head: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    let info = serde_json::from_str(head["__metadata__"]["admix_golden"].as_str().expect("a description"));
    (Checkpointless { head, data: bytes[8 + header..].to_vec() }, info.expect("JSON"))
}

/// A golden file's tensors.
struct Checkpointless {
    head: Value,
    data: Vec<u8>,
}

impl Checkpointless {
    fn get(&self, name: &str) -> Vec<f32> {
        let at = |i: usize| self.head[name]["data_offsets"][i].as_u64().expect("an offset") as usize;
        DType::F32.decode_f32(&self.data[at(0)..at(1)])
    }
}

/// Every weight that `expected` describes by checksum: shape, first values, sum, norm. The sums are over up to 1e5 elements in f64;
/// their bound is that of the values, 1e-5 of the norm.
fn check_weights(mixer: &Mixer, expected: &Value) -> usize {
    let expected = expected.as_object().expect("weights by name");
    for (name, want) in expected {
        let found = values(mixer, name);
        let norm = found.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let l2 = want["l2"].as_f64().expect("a norm");
        assert!((norm - l2).abs() <= 1e-5 * l2, "{name}: norm {norm}, expected {l2}");
        let sum: f64 = found.iter().map(|v| f64::from(*v)).sum();
        let root = (found.len() as f64).sqrt();
        assert!((sum - want["sum"].as_f64().expect("a sum")).abs() <= 1e-5 * l2 * root, "{name}: sum {sum}");
        for (i, v) in want["first"].as_array().expect("values").iter().enumerate() {
            let want = v.as_f64().expect("a value");
            assert!((f64::from(found[i]) - want).abs() <= 1e-6 + 1e-5 * want.abs(), "{name}[{i}]: {} {want}", found[i]);
        }
        assert!(mixer.is_touched(name), "{name}");
    }
    expected.len()
}

#[test]
fn merged_adapters_are_what_peft_and_diffusers_fuse() {
    for (file, count) in
        [("kohya.safetensors", 21), ("old_processor.safetensors", 12), ("diffusers.safetensors", 0), ("peft_rslora", 0)]
    {
        let stem = file.trim_end_matches(".safetensors");
        let (tensors, info) = description(&format!("{stem}.golden.safetensors"));
        let recipe = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": file, "weight": info["weight"] }] });
        let mixer = open(&recipe, vec![(TINY, base())], vec![(file, adapter(file))]).expect("opens");
        let mixer = mixer.with_dtype(Some(DType::F32));
        let report = &mixer.reports()[0];
        assert!(report.unmatched.is_empty() && report.mismatched.is_empty(), "{file}: {report:?}");
        let checked = check_weights(&mixer, &info["effective"]);
        assert_eq!(report.matched, checked, "{file}");
        assert!(count == 0 || checked == count);
        for name in info["full"].as_array().expect("names").iter().map(|n| n.as_str().expect("a name")) {
            let (found, want) = (values(&mixer, name), tensors.get(&format!("effective.{name}")));
            let worst = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(worst <= 1e-6 * scale, "{file} {name}: {worst}");
        }
    }
}

#[test]
fn two_adapters_add_up() {
    let (_, info) = description("two.golden.safetensors");
    let used: Vec<(String, f64)> = info["adapters"]
        .as_array()
        .expect("adapters")
        .iter()
        .map(|a| {
            let file = a["file"].as_str().expect("a file").trim_start_matches("adapters/");
            (file.to_string(), a["weight"].as_f64().expect("a weight"))
        })
        .collect();
    let list: Vec<Value> = used.iter().map(|(f, w)| json!({ "ref": f, "weight": w })).collect();
    let recipe = json!({ "admix": 1, "base": TINY, "adapters": list });
    let opened = used.iter().map(|(f, _)| (f.as_str(), adapter(f))).collect();
    let mixer = open(&recipe, vec![(TINY, base())], opened).expect("opens").with_dtype(Some(DType::F32));
    assert!(check_weights(&mixer, &info["effective"]) > 10);
}

#[test]
fn weights_and_blocks_reach_only_their_tensors() {
    let file = "kohya.safetensors";
    let recipe = json!({ "admix": 1, "base": TINY, "adapters": [
        { "ref": file, "weight": 0.5, "text_weight": 0.0, "blocks": { "unet.up": 0.0, "unet.down.0": 2.0 } }] });
    let mixer = open(&recipe, vec![(TINY, base())], vec![(file, adapter(file))]).expect("opens");
    let whole = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": file, "weight": 1.0 }] });
    let whole = open(&whole, vec![(TINY, base())], vec![(file, adapter(file))]).expect("opens");
    let down = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let up = "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_q.weight";
    let text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight";
    assert!(mixer.is_touched(down) && !mixer.is_touched(up) && !mixer.is_touched(text));
    assert_eq!(values(&mixer, down), values(&whole, down), "0.5 times 2 is 1");
    assert_eq!(
        mixer.fingerprint(up),
        open(&json!({ "admix": 1, "base": TINY }), vec![(TINY, base())], vec![]).expect("opens").fingerprint(up)
    );
    // Outside its range of steps an adapter must not act: it stays beside the weights.
    let late = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": file, "stop": 0.5 }] });
    let late = open(&late, vec![(TINY, base())], vec![(file, adapter(file))]).expect("opens");
    assert!(!late.is_touched(down));
    assert_eq!(late.side_parts(down)[0].range, (0.0, 0.5));
}

/// Two stages and an adapter over a model that has only a U-Net: exported bytes are the networks' bits, and everything else is as it was.
#[test]
fn an_export_holds_the_bits_that_pictures_are_made_with() {
    let unet = fine_tune("tune", |k| k.starts_with("unet."), |_, _| {});
    let other = fine_tune("another", |_| true, |_, _| {});
    let recipe = json!({ "admix": 1, "base": TINY, "merge": [
        { "method": "ties", "models": [{ "ref": "tune", "weight": 0.7, "density": 0.3 }, { "ref": "other", "density": 0.5 }],
          "params": { "lambda": 0.9 }, "blocks": { "vae": 0.0 } },
        { "method": "add_difference", "models": [{ "ref": "tune", "weight": 0.25, "minus": "other" }] } ],
        "adapters": [{ "ref": "kohya.safetensors", "weight": 0.8 }] });
    let models = || vec![(TINY, base()), ("tune", unet.clone()), ("other", other.clone())];
    let adapters = || vec![("kohya.safetensors", adapter("kohya.safetensors"))];
    let mixer = open(&recipe, models(), adapters()).expect("opens");
    assert!(mixer.model_reports()[0].missing.iter().all(|n| !n.starts_with("unet.")));
    assert!(!mixer.model_reports()[0].missing.is_empty());
    let folder = Folder::new("export");
    for dtype in [None, Some(DType::BF16), Some(DType::F32), Some(DType::F8E4M3)] {
        let mixer = open(&recipe, models(), adapters()).expect("opens").with_dtype(dtype);
        let out = folder.0.join("mix.safetensors");
        let mut calls = 0;
        let mut progress = |_| {
            calls += 1;
            true
        };
        let report = pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut progress)).expect("writes");
        assert_eq!(report.tensors, calls);
        assert!(report.changed > 100 && report.changed < report.tensors);
        let written = Checkpoint::open(&out).expect("opens again");
        assert_eq!(written.tensors.len(), base().tensors.len());
        for name in
            base().tensors.keys().filter(|n| n.contains("attn1.to_q") || n.contains("conv_in") || n.contains("fc1"))
        {
            let stored = ready(written.read_raw(name)).expect("reads");
            assert_eq!(ready(written.read_f32(name)).expect("reads"), values(&mixer, name), "{name} {dtype:?}");
            if name.starts_with("vae.") && dtype.is_none() {
                assert_eq!(stored, ready(base().read_raw(name)).expect("reads"), "{name} is untouched");
            }
        }
        let again = Recipe::from_json(&written.metadata["admix_recipe"]).expect("reads back");
        assert_eq!(again, mixer.recipe_with_checksums());
        assert!(
            again.base.sha256.is_some() && again.merge[1].models[0].minus.as_ref().is_some_and(|m| m.sha256.is_some())
        );
        let first = std::fs::read(&out).expect("reads");
        pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut |_| true)).expect("writes");
        assert_eq!(first, std::fs::read(&out).expect("reads"), "the same recipe gives the same bytes");
        // Without a path, as a browser tab writes it.
        let mut streamed = Vec::new();
        pollster::block_on(mixer.export_to(&mut streamed, ExportLayout::Same, &mut |_| true)).expect("writes");
        assert!(streamed == first, "streamed bytes are the file's");
    }
    let names: Vec<_> = std::fs::read_dir(&folder.0).expect("reads").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["mix.safetensors"], "nothing else is left behind");
    // As a folder, and stopped on the way.
    let out = folder.0.join("folder");
    pollster::block_on(mixer.export(&out, ExportLayout::Diffusers, &mut |_| true)).expect("writes");
    Checkpoint::open(&out).expect("opens").validate().expect("is whole");
    let stopped = pollster::block_on(mixer.export(&folder.0.join("no"), ExportLayout::Diffusers, &mut |p| p.done < 3));
    assert!(matches!(stopped, Err(MixError::Cancelled)));
    assert_eq!(std::fs::read_dir(&folder.0).expect("reads").count(), 2);
}

#[test]
fn what_does_not_fit_is_named() {
    let conv = "unet.conv_in.weight";
    let error = |result: Result<Mixer, MixError>| result.err().expect("refused").to_string();
    let merge = |reference: &str| json!({ "admix": 1, "base": TINY, "merge": [{ "method": "weighted_sum", "models": [{ "ref": reference, "weight": 0.5 }] }] });
    // Another shape.
    let specs = vec![TensorSpec { name: conv.into(), dtype: DType::F16, shape: vec![2, 3] }];
    let bytes = write_to_vec(&specs, &Default::default(), [vec![0u8; 12]]).expect("fits");
    let bundle = Bundle::file("odd", Arc::new(MemSource::new(bytes)));
    if let Ok(odd) = ready(Checkpoint::load(bundle, &Default::default())) {
        let text = error(open(&merge("odd"), vec![(TINY, base()), ("odd", Arc::new(odd))], vec![]));
        assert!(text.contains(conv) && text.contains("[2, 3]"), "{text}");
    }
    // NaN in a model, and a result that overflows its type.
    let nan = fine_tune(
        "nan",
        |k| k.starts_with("unet."),
        |k, v| {
            if k == conv {
                v[7] = f32::NAN;
            }
        },
    );
    let mixer = open(&merge("nan"), vec![(TINY, base()), ("nan", nan)], vec![]).expect("headers are sound");
    let text = pollster::block_on(mixer.effective(conv)).expect_err("refused").to_string();
    assert!(text.contains(conv) && text.contains("element 7"), "{text}");
    let tune = fine_tune("tune", |k| k.starts_with("unet."), |_, _| {});
    let far = fine_tune("far", |k| k.starts_with("unet."), |_, v| v[0] += 10.0);
    let wild = json!({ "admix": 1, "base": TINY, "merge": [
        { "method": "add_difference", "models": [{ "ref": "far", "weight": 1e5, "minus": TINY }] }] });
    let mixer = open(&wild, vec![(TINY, base()), ("far", far)], vec![]).expect("opens").with_dtype(Some(DType::F16));
    let folder = Folder::new("refused");
    let out = folder.0.join("mix.safetensors");
    let text = pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut |_| true)).expect_err("refused");
    assert!(text.to_string().contains("is not finite in F16"), "{text}");
    assert_eq!(std::fs::read_dir(&folder.0).expect("reads").count(), 0, "no file is left");
    // A changed file, a block that does not exist.
    let mut changed = merge("tune");
    changed["base"] = json!({ "ref": TINY, "sha256": "0".repeat(64) });
    assert!(error(open(&changed, vec![(TINY, base()), ("tune", tune.clone())], vec![])).contains("--allow-changed"));
    let mut block = merge("tune");
    block["merge"][0]["blocks"] = json!({ "unet.dwn": 1.0 });
    let text = error(open(&block, vec![(TINY, base()), ("tune", tune)], vec![]));
    assert!(text.contains("merge[0].blocks.unet.dwn"), "{text}");
}

/// A checkpoint in memory with the base's tensors, each changed by `change`, which may give another shape.
fn variant(name: &str, change: impl Fn(&str, &mut Vec<usize>, &mut Vec<f32>)) -> Arc<Checkpoint> {
    let base = base();
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (key, tensor) in &base.tensors {
        let mut values = ready(async { base.read_f32(key).await }).expect("reads");
        let mut shape = tensor.shape.clone();
        change(key, &mut shape, &mut values);
        data.push(DType::F32.encode_f32(&values));
        specs.push(TensorSpec { name: key.clone(), dtype: DType::F32, shape });
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).expect("fits");
    Arc::new(
        ready(Checkpoint::load(Bundle::file(name, Arc::new(MemSource::new(bytes))), &Default::default()))
            .expect("opens"),
    )
}

const CONV_IN: &str = "unet.conv_in.weight";

/// An inpainting base: five more channels, of ones.
fn inpainting() -> Arc<Checkpoint> {
    variant("inpaint", |key, shape, values| {
        if key == CONV_IN {
            let taps = shape[2] * shape[3];
            let rows = values.chunks(shape[1] * taps).map(|row| [row, &vec![1.0; 5 * taps]].concat());
            *values = rows.flatten().collect();
            shape[1] += 5;
        }
    })
}

#[test]
fn inpainting_bases_take_ordinary_models_on_their_first_channels() {
    let tune = fine_tune("tune", |_| true, |_, _| {});
    for (method, params) in [("weighted_sum", json!({})), ("ties", json!({})), ("rank_truncate", json!({"rank": 1}))] {
        let stage = json!([{ "method": method, "models": [{ "ref": "tune", "weight": 0.5 }], "params": params }]);
        let run = |name: &str, base: Arc<Checkpoint>| {
            let recipe = json!({ "admix": 1, "base": name, "merge": stage });
            let mixer = open(&recipe, vec![(name, base), ("tune", tune.clone())], vec![]).expect("fits");
            values(&mixer.with_dtype(Some(DType::F32)), CONV_IN)
        };
        let (plain, wide) = (run(TINY, base()), run("inpaint", inpainting()));
        let taps = base().tensors[CONV_IN].shape[2..].iter().product::<usize>();
        for (row, own) in wide.chunks(9 * taps).zip(plain.chunks(4 * taps)) {
            let near = row[..4 * taps].iter().zip(own).all(|(a, b)| (a - b).abs() <= 1e-6);
            assert!(near, "{method}: channels 0 to 3 are merged as they are without the others");
            assert!(row[4 * taps..].iter().all(|v| *v == 1.0), "{method}: the others stay");
        }
    }
    // The other way round there is nothing to merge the model's channels into.
    let recipe = json!({ "admix": 1, "base": TINY, "merge": [{ "method": "weighted_sum", "models": [{ "ref": "inpaint", "weight": 0.5 }] }] });
    let refused = open(&recipe, vec![(TINY, base()), ("inpaint", inpainting())], vec![]);
    assert!(refused.is_err_and(|e| e.to_string().contains(CONV_IN)));
}

#[test]
fn thresholds_of_the_whole_model_decide_in_every_tensor() {
    // One tensor of the model moves far, all others little: a global trim keeps that one's changes alone.
    let far = "unet.conv_out.weight";
    let tune = variant("tune", |key, _, values| {
        let step = if key == far { 1.0 } else { 1e-3 };
        values.iter_mut().for_each(|v| *v += step);
    });
    let part = base().tensors[far].shape.iter().product::<usize>() as f64;
    let all: usize =
        base().tensors.values().filter(|t| t.info.dtype.is_float()).map(|t| t.shape.iter().product::<usize>()).sum();
    let recipe = json!({ "admix": 1, "base": TINY, "merge": [{
        "method": "ties_paper", "models": [{ "ref": "tune", "density": (part - 1.0) / all as f64 }] }] });
    let mixer =
        open(&recipe, vec![(TINY, base()), ("tune", tune.clone())], vec![]).expect("fits").with_dtype(Some(DType::F32));
    let read = |c: &Arc<Checkpoint>, name: &str| ready(async { c.read_f32(name).await }).expect("reads");
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(&values(&mixer, far), &read(&tune, far)));
    let other = "unet.conv_in.weight";
    assert!(near(&values(&mixer, other), &read(&base(), other)));
}

#[test]
fn combined_adapters_act_and_are_written_as_one() {
    let folder = Folder::new("combined");
    let used =
        json!([{ "ref": "kohya.safetensors", "weight": 0.7 }, { "ref": "old_processor.safetensors", "weight": -0.4 }]);
    let run = |combine: Value| {
        let mut recipe = json!({ "admix": 1, "base": TINY, "adapters": used });
        if !combine.is_null() {
            recipe["combine"] = combine;
        }
        let both = ["kohya.safetensors", "old_processor.safetensors"].map(|f| (f, adapter(f)));
        open(&recipe, vec![(TINY, base())], both.to_vec()).expect("opens").with_dtype(Some(DType::F32))
    };
    let plain = run(Value::Null);
    let touched: Vec<String> = base().tensors.keys().filter(|n| plain.is_touched(n)).cloned().collect();
    assert!(touched.len() > 20);
    let near = |a: &Mixer, b: &Mixer| {
        touched.iter().all(|n| values(a, n).iter().zip(values(b, n)).all(|(a, b)| (a - b).abs() <= 1e-5))
    };
    let stacked = run(json!({ "method": "stack" }));
    assert!(near(&stacked, &plain), "side by side is the sum");
    let cut = run(json!({ "method": "svd", "rank": 1 }));
    assert!(!near(&cut, &plain));
    for mixer in [stacked, cut] {
        let out = folder.0.join("one.safetensors");
        let report = pollster::block_on(mixer.export_adapter(&out)).expect("writes");
        assert_eq!(report.tensors, 2 * touched.len());
        let one = Arc::new(Adapter::open(&out).expect("a LoRA file like any other"));
        let recipe = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": "one" }] });
        let again = open(&recipe, vec![(TINY, base())], vec![("one", one)]).expect("fits").with_dtype(Some(DType::F32));
        assert!(again.reports()[0].unmatched.is_empty() && again.reports()[0].mismatched.is_empty());
        assert!(near(&again, &mixer), "the file has the same effect");
    }
    let mut recipe = json!({ "admix": 1, "base": TINY, "adapters": used, "combine": { "method": "stack" } });
    recipe["adapters"][0]["stop"] = json!(0.5);
    assert!(Recipe::from_value(&recipe).is_err_and(|e| e.to_string().contains("combine")));
    recipe["combine"] = json!({ "method": "sum" });
    assert!(Recipe::from_value(&recipe).is_err_and(|e| e.to_string().contains("stack, svd")));
}
