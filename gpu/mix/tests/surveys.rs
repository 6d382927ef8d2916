//! Methods that look at the whole model first find the same, whatever was asked for before.

mod common;

use std::sync::Arc;

use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, Checkpoint, DType, MemSource, ready};
use admix_mix::Mixer;
use common::{golden, open, values};
use serde_json::json;

const TINY: &str = "models/sd1_tiny";

fn base() -> Arc<Checkpoint> {
    Arc::new(Checkpoint::open(golden(TINY)).expect("the golden model opens"))
}

/// A fine-tune of the tensors that `keep` names.
fn tune(name: &str, keep: impl Fn(&str) -> bool) -> Arc<Checkpoint> {
    let base = base();
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (key, tensor) in base.tensors.iter().filter(|(k, t)| keep(k) && t.info.dtype.is_float()) {
        let mut values = ready(async { base.read_f32(key).await }).expect("reads");
        for (i, v) in values.iter_mut().enumerate() {
            *v += ((i * 37 + name.len() * 11) % 101) as f32 / 1000.0 - 0.05;
        }
        specs.push(TensorSpec { name: key.clone(), dtype: DType::F32, shape: tensor.shape.clone() });
        data.push(DType::F32.encode_f32(&values));
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).expect("fits");
    let bundle = Bundle::file(name, Arc::new(MemSource::new(bytes)));
    Arc::new(ready(Checkpoint::load(bundle, &Default::default())).expect("opens"))
}

const ASKED: [&str; 2] = ["unet.conv_out.weight", "vae.decoder.conv_in.weight"];

#[test]
fn models_that_lack_tensors_have_thresholds_of_their_own() {
    let (whole, part) = (tune("whole", |_| true), tune("part", |name| name.starts_with("unet.")));
    let mixer = || -> Mixer {
        let recipe = json!({ "admix": 1, "base": TINY, "merge": [{ "method": "ties_paper", "models": [
            { "ref": "whole", "density": 0.3 }, { "ref": "part", "density": 0.6 }] }] });
        let models = vec![(TINY, base()), ("whole", whole.clone()), ("part", part.clone())];
        open(&recipe, models, vec![]).expect("opens").with_dtype(Some(DType::F32))
    };
    let (first, second) = (mixer(), mixer());
    let there = ASKED.map(|name| values(&first, name));
    let back: Vec<_> = ASKED.iter().rev().map(|name| values(&second, name)).collect();
    assert_eq!(there[0], back[1]);
    assert_eq!(there[1], back[0]);
}

#[test]
fn what_a_survey_depends_on_is_in_the_fingerprint() {
    // The first stage changes one block; the second looks at the whole model.
    let print = |text_factor: f64, method: &str| {
        let recipe = json!({ "admix": 1, "base": TINY, "merge": [
            { "method": "weighted_sum", "models": [{ "ref": "whole", "weight": 0.5 }], "blocks": { "BASE": text_factor } },
            { "method": method, "models": [{ "ref": "whole", "weight": 0.5 }] }] });
        let models = vec![(TINY, base()), ("whole", tune("whole", |_| true))];
        open(&recipe, models, vec![]).expect("opens").fingerprint(ASKED[0])
    };
    assert_ne!(print(1.0, "cosine_a"), print(0.5, "cosine_a"));
    assert_eq!(
        print(1.0, "weighted_sum"),
        print(0.5, "weighted_sum"),
        "no survey: other tensors are none of its business"
    );
}
