//! Every adapter family against the numbers that LyCORIS, peft and numpy give for it (`tests/golden/make_adapter_families.py`), computed here by
//! the twin of what the device does.

mod common;

use admix_files::adapter::{Adapter, BiasUse, Extent, families};
use admix_files::safetensors::Index;
use admix_files::{ByteSource, Checkpoint, FileSource, ready};
use common::golden;
use serde_json::Value;
use std::collections::BTreeSet;

/// A file or folder of `families/` and the type and dialect that reports give it.
const FIXTURES: [(&str, &str, &str); 32] = [
    ("lycoris_loha.safetensors", "loha", "kohya"),
    ("lycoris_lokr.safetensors", "lokr", "kohya"),
    ("lycoris_dora.safetensors", "dora", "kohya"),
    ("lycoris_ia3.safetensors", "ia3", "kohya"),
    ("lycoris_full.safetensors", "full", "kohya"),
    ("lycoris_oft.safetensors", "oft", "kohya"),
    ("lycoris_boft.safetensors", "boft", "kohya"),
    ("lycoris_glora.safetensors", "glora", "kohya"),
    ("glora_old.safetensors", "glora", "kohya"),
    ("peft_loha", "loha", "peft"),
    ("peft_loha_flat", "loha", "peft"),
    ("peft_lokr", "lokr", "peft"),
    ("peft_lokr_full", "lokr", "peft"),
    ("peft_lokr_effective", "lokr", "peft"),
    ("peft_dora", "dora", "peft"),
    ("peft_lora_bias", "lora", "peft"),
    ("peft_lora_saved", "locon", "peft"),
    ("peft_ia3", "ia3", "peft"),
    ("peft_oft", "oft", "peft"),
    ("peft_oft_exact", "oft", "peft"),
    ("peft_oft_constrained", "oft", "peft"),
    ("peft_boft", "boft", "peft"),
    ("peft_boft_plain", "boft", "peft"),
    ("peft_hra", "hra", "peft"),
    ("peft_hra_orthogonal", "hra", "peft"),
    ("peft_road_1", "road", "peft"),
    ("peft_road_2", "road", "peft"),
    ("peft_road_4", "road", "peft"),
    ("peft_vera", "vera", "peft"),
    ("peft_shira", "shira", "peft"),
    ("bitdelta.safetensors", "bitdelta", "diffusers"),
    ("resadapter", "resadapter", "diffusers"),
];

/// The changes that an adapter makes, applied to the tensors it names; canonical names of all it touches.
fn apply(adapter: &Adapter, base: &Checkpoint, strength: f64) -> Vec<(String, Vec<f32>)> {
    let fit = adapter.fit(base);
    assert!(fit.unmatched.is_empty() && fit.mismatched.is_empty() && fit.cause.is_none(), "{}: {fit:?}", adapter.name);
    let mut out = Vec::new();
    for found in &fit.matched {
        let module = &adapter.modules[&found.module];
        let shape = &base.tensor(&found.weight).expect("matched").shape;
        let changes = ready(adapter.changes(module, shape)).expect("its numbers are sound");
        let bias = found.weight.replace(".weight", ".bias");
        let touched = module.bias != BiasUse::Untouched && base.tensors.contains_key(&bias);
        for (change, name) in [(changes.weight, &found.weight), (changes.bias.filter(|_| touched), &bias)] {
            let Some(change) = change else { continue };
            let tensor = base.tensor(name).expect("there");
            let values = ready(base.read_f32(name)).expect("reads");
            out.push((name.clone(), change.applied(&values, Extent::of(&tensor.shape), strength)));
        }
    }
    out
}

#[test]
fn effective_weights_are_those_of_the_libraries() {
    let base = Checkpoint::open(golden().join("models/sd1_tiny")).unwrap();
    let source = FileSource::open(golden().join("families/all.golden.safetensors")).unwrap();
    let index = ready(Index::read(&source, "golden")).unwrap();
    let about: Value = serde_json::from_str(&index.metadata["admix_golden"]).unwrap();
    let cases = about["cases"].as_object().unwrap();
    let mut met = BTreeSet::new();
    for (case, entry) in cases {
        let stem = case.split('@').next().unwrap();
        let (file, kind, dialect) = FIXTURES
            .iter()
            .find(|(f, ..)| f.trim_end_matches(".safetensors") == stem)
            .unwrap_or_else(|| panic!("{case}"));
        let adapter = Adapter::open(golden().join("families").join(file)).unwrap();
        adapter.check_supported().unwrap();
        assert_eq!((adapter.kind.as_str(), adapter.dialect), (*kind, *dialect), "{case}");
        assert!(adapter.stray.is_empty(), "{case}: {:?}", adapter.stray);
        met.insert(*file);
        let found = apply(&adapter, &base, entry["weight"].as_f64().unwrap());
        let expected = entry["tensors"].as_object().unwrap();
        let names: BTreeSet<_> = found.iter().map(|(n, _)| n.as_str()).collect();
        let wanted: BTreeSet<_> = expected.keys().map(String::as_str).collect();
        // At another strength LyCORIS means something else for some layers; those are left out.
        assert!(if case.contains('@') { names.is_superset(&wanted) } else { names == wanted }, "{case}: {names:?}");
        for (name, values) in found.iter().filter(|(n, _)| wanted.contains(n.as_str())) {
            let info = &index.tensors[&format!("{case}/{name}")];
            let kept = info.dtype.decode_f32(&ready(source.read(info.range.clone())).unwrap());
            let step = expected[name]["step"].as_u64().unwrap() as usize;
            let l2 = expected[name]["l2"].as_f64().unwrap();
            let own = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let (mut off, mut norm) = (0f64, 0f64);
            for (a, b) in values.iter().step_by(step).zip(&kept) {
                off += (f64::from(*a) - f64::from(*b)).powi(2);
                norm += f64::from(*b).powi(2);
            }
            assert_eq!(values.iter().step_by(step).len(), kept.len(), "{case} {name}");
            // The libraries compute in f32; orthogonal matrices of theirs come out of f32 solvers.
            let far = (off / norm).sqrt();
            assert!(far <= 1e-5, "{case} {name}: {far:.1e}");
            assert!((own - l2).abs() <= 1e-5 * l2, "{case} {name}: norm {own}, expected {l2}");
        }
    }
    assert_eq!(met.len(), FIXTURES.len(), "every fixture has its numbers");
}

#[test]
fn every_applied_family_has_a_fixture() {
    let covered: BTreeSet<&str> = FIXTURES.iter().map(|(_, kind, _)| *kind).collect();
    // LoRA in all dialects, on token tables and textual inversions have tests of their own; normalisations lie in `lycoris_full`,
    // layers saved whole in `peft_lora_saved`.
    let elsewhere = ["lora_embedding", "norm", "embedding", "saved"];
    for family in families().iter().filter(|f| f.is_applied()) {
        assert!(covered.contains(family.id()) || elsewhere.contains(&family.id()), "{} has no fixture", family.id());
    }
}
