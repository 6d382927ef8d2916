//! Draws against torch's CPU generator (tests/golden/make_schedules.py), within 1e-6.

use admix_sample::rng::{Kind, Stream, TorchCpu, Variation, noise};
use serde_json::Value;

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/schedules/noise.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], about: &str) {
    assert_eq!(found.len(), expected.len(), "{about}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-6, "{about}: value {i} is {a}, not {b}");
    }
}

#[test]
fn seeds_and_awkward_sizes() {
    for draw in fixture()["draws"].as_array().unwrap() {
        let seed: u64 = draw["seed"].as_str().unwrap().parse().unwrap();
        let n = draw["n"].as_u64().unwrap() as usize;
        let found = TorchCpu::new(seed).randn(n);
        let about = format!("seed {seed}, {n} values");
        let (head, tail) = (floats(&draw["head"]), floats(&draw["tail"]));
        close(&found[..head.len()], &head, &about);
        close(&found[n - tail.len()..], &tail, &about);
        // What lies between: a sum of n values each within 1e-6.
        let sum: f64 = found.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - draw["sum"].as_f64().unwrap()).abs() <= 1e-6 * n as f64, "{about}");
    }
}

#[test]
fn one_generator_goes_on() {
    let mut generator = TorchCpu::new(7);
    for draw in fixture()["stream"].as_array().unwrap() {
        let n = draw["n"].as_u64().unwrap() as usize;
        close(&generator.randn(n), &floats(&draw["values"]), &format!("{n} values"));
    }
}

#[test]
fn batches() {
    for (kind, key) in [(Kind::Cpu, "batch"), (Kind::Comfy, "comfy")] {
        let mut stream = Stream::new(kind, 3, 3, 30);
        for expected in fixture()[key].as_array().unwrap() {
            close(&stream.next(), &floats(expected), key);
        }
        let expected = floats(&fixture()[key][0]);
        close(&noise(kind, 3, 3, [2, 3, 5]), &expected, key);
    }
    // Philox: picture i is a run of its own with seed + i, and later draws differ from the first.
    let mut two = Stream::new(Kind::Nv, 41, 2, 8);
    let mut second = Stream::new(Kind::Nv, 42, 1, 8);
    let (first, next) = (two.next(), two.next());
    assert_eq!(first[8..], second.next());
    assert_eq!(next[8..], second.next());
    assert_ne!(first, next);
}

/// A1111's variation seeds. Its f32 arc cosine and sines add a few last digits, more where a column of six values is nearly parallel: 5e-6.
#[test]
fn variations() {
    let all = &fixture()["varied"];
    let shape: Vec<usize> = all["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
    for case in all["cases"].as_array().unwrap() {
        let whole = |key: &str| case[key].as_u64().unwrap();
        let from = case["from"].as_array().map(|v| [0, 1].map(|i: usize| v[i].as_u64().unwrap() as usize));
        let strength = case["strength"].as_f64().unwrap();
        let variation = Variation { seed: whole("subseed"), strength, from, later: whole("later") };
        let mut stream = Stream::varied(Kind::Cpu, whole("seed"), 2, [shape[0], shape[1], shape[2]], &variation);
        for key in ["first", "second"] {
            let (found, expected) = (stream.next(), floats(&case[key]));
            assert_eq!(found.len(), expected.len());
            let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 5e-6, "{key}: {variation:?}: {far}");
        }
    }
}

#[test]
fn names() {
    for name in Kind::NAMES {
        assert_eq!(Kind::parse(name).unwrap().name(), name);
    }
    assert!(Kind::parse("gpu").unwrap_err().to_string().contains("cpu, nv, comfy"));
}
