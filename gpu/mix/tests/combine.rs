//! `combine` against peft's `add_weighted_adapter` (tests/golden/make_combine.py): whole changes are compared, as factors may differ.

mod common;

use admix_mix::adapter_merge::{COMBINE_METHODS, Combine};
use admix_mix::low_rank::{LowRank, add_low_rank_reference};
use common::golden;
use serde_json::Value;

/// Shape and values of a golden file's tensors, and its description.
struct File {
    head: Value,
    data: Vec<u8>,
}

impl File {
    fn read(path: &str) -> (File, Value) {
        let bytes = std::fs::read(golden(path)).expect("the golden file is in the repository");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let head: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
        let info = serde_json::from_str(head["__metadata__"]["admix_golden"].as_str().expect("a description"));
        (File { data: bytes[8 + header..].to_vec(), head }, info.expect("JSON"))
    }

    fn get(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let numbers = |key: &str| -> Vec<usize> {
            let list = self.head[name][key].as_array().expect("a list");
            list.iter().map(|v| v.as_u64().expect("a number") as usize).collect()
        };
        let at = numbers("data_offsets");
        (numbers("shape"), bytemuck::pod_collect_to_vec(&self.data[at[0]..at[1]]))
    }
}

#[test]
fn combined_changes_are_pefts() {
    let (file, info) = File::read("adapters/combine.golden.safetensors");
    let adapter = |name: &str| {
        let ((down, a), (up, b)) = (file.get(&format!("{name}.down")), file.get(&format!("{name}.up")));
        let scale = info["scales"][name].as_f64().expect("a scale");
        LowRank::new(b, a, up[0], down[0], scale).expect("fits")
    };
    let mut seen = 0;
    for case in info["cases"].as_array().expect("cases") {
        let name = case["method"].as_str().expect("a method");
        let method = COMBINE_METHODS.iter().find(|(known, ..)| *known == name).expect("it exists").2;
        let names = case["adapters"].as_array().expect("adapters").iter().map(|n| n.as_str().expect("a name"));
        let adapters: Vec<LowRank> = names.map(adapter).collect();
        let weights = case["weights"].as_array().expect("weights").iter().map(|w| w.as_f64().expect("a weight"));
        let parts: Vec<(&LowRank, f64)> = adapters.iter().zip(weights).collect();
        let combine = Combine {
            method,
            rank: case["rank"].as_u64().map(|r| r as usize),
            density: case["density"].as_f64(),
            seed: info["seed"].as_u64(),
        };
        let found = combine.combine(info["tensor"].as_str().expect("a name"), &parts).expect("combines");
        let (shape, expected) = file.get(case["name"].as_str().expect("a name"));
        let found = add_low_rank_reference(&vec![0.0; shape.iter().product()], &[(&found, 1.0)]);
        let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / scale;
        // peft's own sums and singular vectors are f32: some tens of units in the last place.
        assert!(worst <= 1e-5, "{name}: {worst:e}");
        seen += 1;
    }
    assert_eq!(seen, 7);
}
