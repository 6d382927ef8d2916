//! Every adapter family on the device against LyCORIS, peft and numpy (`tests/golden/make_adapter_families.py`), and 1-bit differences written and read.

mod common;

use std::sync::Arc;

use admix_files::adapter::Adapter;
use admix_files::safetensors::Index;
use admix_files::{ByteSource, Checkpoint, DType, FileSource, ready};
use admix_mix::{Mixer, Recipe};
use common::{Folder, golden, gpu, open, values};
use serde_json::{Value, json};

const TINY: &str = "models/sd1_tiny";

fn base() -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(golden(TINY)).expect("the golden model opens"))
}

/// A fixture by its case: `NAME` or `NAME@STRENGTH`.
fn adapter(case: &str) -> Arc<Adapter> {
    let stem = case.split('@').next().unwrap_or(case);
    let (file, folder) = (golden(&format!("families/{stem}.safetensors")), golden(&format!("families/{stem}")));
    Arc::new(Adapter::open(if file.is_file() { file } else { folder }).expect("the fixture opens"))
}

#[test]
fn effective_weights_on_the_device_are_those_of_the_libraries() {
    let source = FileSource::open(golden("families/all.golden.safetensors")).expect("in the repository");
    let index = ready(Index::read(&source, "golden")).expect("sound");
    let about: Value = serde_json::from_str(&index.metadata["admix_golden"]).expect("JSON");
    let base = base();
    for (case, entry) in about["cases"].as_object().expect("cases") {
        let recipe = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": "a", "weight": entry["weight"] }] });
        let mixer = open(&recipe, vec![(TINY, base.clone())], vec![("a", adapter(case))]).expect("opens");
        let mixer = mixer.with_dtype(Some(DType::F32));
        let report = &mixer.reports()[0];
        assert!(report.unmatched.is_empty() && report.mismatched.is_empty(), "{case}: {report:?}");
        let tensors = entry["tensors"].as_object().expect("tensors");
        let touched = base.tensors.keys().filter(|n| mixer.is_touched(n)).count();
        assert!(case.contains('@') || touched == tensors.len(), "{case}: {touched} tensors are changed");
        for (name, about) in tensors {
            let info = &index.tensors[&format!("{case}/{name}")];
            let kept = info.dtype.decode_f32(&ready(source.read(info.range.clone())).expect("reads"));
            let found = values(&mixer, name);
            let (mut off, mut norm) = (0f64, 0f64);
            let step = about["step"].as_u64().expect("a step") as usize;
            for (a, b) in found.iter().step_by(step).zip(&kept) {
                off += (f64::from(*a) - f64::from(*b)).powi(2);
                norm += f64::from(*b).powi(2);
            }
            let far = (off / norm).sqrt();
            assert!(far <= 1e-5, "{case} {name}: {far:.1e}");
        }
    }
}

#[test]
fn changes_that_are_no_factors_are_merged_or_refused() {
    let case = "peft_oft";
    let open_with = |used: Value, unmerged| {
        let recipe = Recipe::from_value(&json!({ "admix": 1, "base": TINY, "adapters": [used] })).expect("a recipe");
        let models = [(TINY.to_string(), base())].into();
        let adapters = [("a".to_string(), adapter(case))].into();
        pollster::block_on(async {
            let mixer = Mixer::open(&gpu(), &recipe, &models, &adapters, false, unmerged).await?;
            mixer.settled().await
        })
    };
    let mixer = open_with(json!({ "ref": "a" }), true).expect("opens");
    assert!(mixer.warnings().iter().any(|w| w.contains("they are merged into them")), "{:?}", mixer.warnings());
    let turned: Vec<String> = base().tensors.keys().filter(|k| mixer.is_touched(k)).cloned().collect();
    assert!(!turned.is_empty() && turned.iter().all(|k| mixer.side_parts(k).is_empty()));
    let text = open_with(json!({ "ref": "a", "stop": 0.5 }), false).err().expect("refused").to_string();
    assert!(text.contains("cannot act in a part of sampling"), "{text}");
}

#[test]
fn a_mix_is_written_as_signs_and_read_back() {
    let recipe =
        json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": "a", "weight": 0.7 }, { "ref": "n", "weight": 1.0 }] });
    let adapters = vec![("a", adapter("peft_oft")), ("n", adapter("lycoris_full"))];
    let mixer = open(&recipe, vec![(TINY, base())], adapters).expect("opens").with_dtype(Some(DType::F32));
    let folder = Folder::new("bitdelta");
    let out = folder.0.join("delta.safetensors");
    let report = pollster::block_on(mixer.export_bitdelta(&out, &mut |_| true)).expect("writes");
    assert!(report.changed > 5);
    let written = Arc::new(Adapter::open(&out).expect("opens again"));
    assert_eq!(written.kind, "bitdelta");
    let read = json!({ "admix": 1, "base": TINY, "adapters": [{ "ref": "d" }] });
    let read = open(&read, vec![(TINY, base())], vec![("d", written)]).expect("opens").with_dtype(Some(DType::F32));
    let mut vectors = 0;
    for (name, tensor) in base().tensors.iter().filter(|(n, _)| mixer.is_touched(n)) {
        assert!(read.is_touched(name), "{name}");
        let before = ready(base().read_f32(name)).expect("reads");
        let (mixed, found) = (values(&mixer, name), values(&read, name));
        let change: Vec<f32> = mixed.iter().zip(&before).map(|(m, b)| m - b).collect();
        let mean = change.iter().map(|c| f64::from(c.abs())).sum::<f64>() / change.len() as f64;
        for ((f, b), c) in found.iter().zip(&before).zip(&change) {
            let expected = match tensor.shape.len() {
                1 => f64::from(*c),
                _ if *c > 0.0 => mean,
                _ => -mean,
            };
            // Two roundings of f32 around values below 4.
            assert!((f64::from(f - b) - expected).abs() < 1e-6, "{name}: {} {expected}", f - b);
        }
        vectors += usize::from(tensor.shape.len() == 1);
    }
    assert!(vectors > 0);
    let none = json!({ "admix": 1, "base": TINY });
    let none = open(&none, vec![(TINY, base())], vec![]).expect("opens");
    let text = pollster::block_on(none.export_bitdelta(&out, &mut |_| true)).expect_err("refused").to_string();
    assert!(text.contains("changes nothing"), "{text}");
}
