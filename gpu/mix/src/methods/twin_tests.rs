//! Every method of the registry against its CPU twin where no oracle goes: stages after the first (task vectors from another tensor than the
//! base), f16 and bf16 models, tensors in several windows, random masks from the generator.

use std::sync::Arc;

use admix_tensor::{Gpu, Recorder};

use crate::flat::{Flat, Kind};
use crate::method::{HostInputs, Inputs, Method, Settings, methods};
use crate::recipe::Knobs;
use crate::testing::{devices, devices_binding, random};

/// A tensor on the host and on the device, with values that `kind` holds exactly.
fn input(gpu: &Arc<Gpu>, values: &[f32], kind: Kind) -> (Vec<f32>, Flat) {
    let halves = |f: &dyn Fn(f32) -> u16| -> Vec<u8> { values.iter().flat_map(|v| f(*v).to_le_bytes()).collect() };
    let (exact, bytes): (Vec<f32>, Vec<u8>) = match kind {
        Kind::F16 => (
            values.iter().map(|v| half::f16::from_f32(*v).to_f32()).collect(),
            halves(&|v| half::f16::from_f32(v).to_bits()),
        ),
        Kind::Bf16 => (
            values.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect(),
            halves(&|v| half::bf16::from_f32(v).to_bits()),
        ),
        _ => (values.to_vec(), bytemuck::cast_slice(values).to_vec()),
    };
    (exact, Flat::upload(gpu, "test", &bytes, kind).expect("small"))
}

/// What a method is asked to merge: a tensor of `len` elements, after another stage (`chained`) or not.
struct Case<'a> {
    method: &'a dyn Method,
    len: usize,
    chained: bool,
}

impl Case<'_> {
    /// Merges on the device, with the twin's result where that is wanted.
    fn merge(&self, gpu: &Arc<Gpu>, with_twin: bool) -> (Vec<f32>, Option<Vec<f32>>) {
        let Case { method, len, chained } = *self;
        let count = (*method.models().start()).max(2).min(*method.models().end());
        let part = |seed: u32, scale: f32| random(len, seed).into_iter().map(|v| v * scale).collect::<Vec<f32>>();
        let around = |center: &[f32], seed: u32| -> Vec<f32> {
            center.iter().zip(part(seed, 0.1)).map(|(c, d)| c + d).collect()
        };
        let first = part(1, 1.0);
        let (origin, origin_flat) = input(gpu, &first, Kind::F16);
        let second = if chained { around(&origin, 2) } else { origin.clone() };
        let (base, base_flat) =
            if chained { input(gpu, &second, Kind::F32) } else { (origin.clone(), origin_flat.clone()) };
        let kinds = [Kind::F16, Kind::Bf16, Kind::F32];
        let models: Vec<(Vec<f32>, Flat)> =
            (0..count).map(|i| input(gpu, &around(&origin, 3 + i as u32), kinds[i % 3])).collect();
        let knobs = Knobs::new();
        let model_knobs: Vec<Knobs> = (0..count)
            .map(|i| {
                let value = |name: &str| if name == "density" { 0.3 + 0.2 * i as f64 } else { 0.1 };
                method.model_knobs().iter().map(|k| (k.name.to_string(), value(k.name).into())).collect()
            })
            .collect();
        // Rows and columns where the length allows.
        let shape = if len.is_multiple_of(10) { vec![len / 10, 10] } else { vec![len] };
        let settings = Settings {
            name: "unet.conv_in.weight",
            shape: &shape,
            weights: (0..count).map(|i| 0.6 - 0.25 * i as f64).collect(),
            knobs: &knobs,
            model_knobs: model_knobs.iter().collect(),
            seed: 0x1234_5678_9abc,
            facts: None,
        };
        let host_models: Vec<&[f32]> = models.iter().map(|m| m.0.as_slice()).collect();
        let twin = with_twin.then(|| {
            let minus = vec![origin.as_slice(); count];
            let inputs =
                HostInputs { base: &base, origin: &origin, models: &host_models, minus: &minus, uniforms: &[] };
            method.reference(&inputs, &settings)
        });
        let flats: Vec<&Flat> = models.iter().map(|m| &m.1).collect();
        let origin = (chained && method.uses_origin()).then_some(&origin_flat);
        let inputs =
            Inputs { base: &base_flat, origin, models: &flats, minus: &vec![None; count], uniforms: &[], known: None };
        let out = Flat::empty(gpu, "out", len, Kind::F32).expect("small");
        let mut rec = Recorder::new(gpu);
        method.record(&mut rec, &inputs, &settings, &out).expect("records");
        rec.finish().submit();
        let found = pollster::block_on(out.read_f32(gpu)).expect("reads back");
        assert!(found.iter().all(|v| v.is_finite()), "{}", method.name());
        (found, twin)
    }
}

/// Largest difference relative to the largest expected value.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    f64::from(worst / scale)
}

#[test]
fn every_method_agrees_with_its_twin() {
    for gpu in devices() {
        for method in methods().iter().filter(|m| !m.on_host()) {
            for (len, chained) in [(1, false), (13, true), (5000, false), (5000, true)] {
                let (found, twin) = Case { method: *method, len, chained }.merge(&gpu, true);
                let found = distance(&found, &twin.expect("asked for"));
                assert!(found <= 1e-5, "{} of {len}, chained {chained} ({:?}): {found:.1e}", method.name(), gpu.tier);
            }
        }
    }
}

/// The largest tensors are bound in windows, intermediate ones too: elements are numbered through, sums and selections run over all of them.
#[test]
fn windows_change_nothing() {
    // 655,360 elements of f32: sums by lanes take nearly as much.
    for (whole, windows) in devices().into_iter().zip(devices_binding(5 << 19)) {
        for method in methods().iter().filter(|m| !m.on_host()) {
            let case = Case { method: *method, len: 700_010, chained: true };
            let found = distance(&case.merge(&windows, false).0, &case.merge(&whole, false).0);
            assert!(found <= 1e-5, "{} ({:?}): {found:.1e}", method.name(), whole.tier);
        }
    }
}
