//! What people are told of the files they give: every name that was not used, what a file did nothing for, and no byte of a file as it stands.

mod common;

use admix_engine::files::DType;
use admix_engine::files::safetensors::{TensorSpec, write_to_vec};
use common::{admix, folder, json, refused, text, tiny};
use std::path::Path;

/// Writes a file of f16 zeros.
fn file(path: &Path, tensors: &[(&str, &[usize])]) {
    let spec = |(name, shape): &(&str, &[usize])| TensorSpec {
        name: (*name).to_owned(),
        dtype: DType::F16,
        shape: shape.to_vec(),
    };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    let data: Vec<Vec<u8>> = specs.iter().map(|s| vec![0; s.bytes().expect("small") as usize]).collect();
    std::fs::write(path, write_to_vec(&specs, &Default::default(), data).expect("writes")).expect("writes");
}

/// A textual inversion changes no weight, but it is reported as every other file is.
#[test]
fn textual_inversions_are_reported() {
    let (dir, model) = (folder(), tiny());
    file(&dir.path().join("mycat.safetensors"), &[("emb_params", &[2, 32])]);
    let render = |prompt: &str| {
        let fixed = ["render", "--model", &model, "--adapter", "mycat.safetensors", "--out", "x.png", "--json"];
        let sizes = ["--steps", "1", "--width", "32", "--height", "32", "--prompt", prompt];
        json(dir.path(), &[&fixed[..], &sizes].concat())
    };
    let said = render("a mycat on a wall");
    let report = &said["adapters"][0];
    assert_eq!((report["name"].as_str(), report["matched"].as_u64()), (Some("mycat.safetensors"), Some(1)), "{said}");
    assert_eq!(report["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(said["warnings"], serde_json::json!([]));
    let warnings = render("a dog")["warnings"].to_string();
    assert!(warnings.contains("mycat.safetensors did nothing: no prompt says `mycat`"), "{warnings}");
    // Only what a text encoder would read as the word calls it up: not a longer word, not another program's notation.
    let warnings = render("a dog in mycats")["warnings"].to_string();
    assert!(warnings.contains("did nothing"), "{warnings}");
    let comfy = ["--set", "prompt_syntax=comfy"];
    for (prompt, heard) in [("a mycat on a wall", false), ("an embedding:mycat on a wall", true)] {
        let fixed = ["render", "--model", &model, "--adapter", "mycat.safetensors", "--out", "x.png", "--json"];
        let said = json(dir.path(), &[&fixed[..], &["--steps", "1", "--prompt", prompt], &comfy].concat());
        assert_eq!(!said["warnings"].to_string().contains("did nothing"), heard, "{said}");
    }
    // In a file of weights there is no place for it.
    let recipe = serde_json::json!({"admix": 1, "base": {"ref": model}, "adapters": [{"ref": "mycat.safetensors", "weight": 1.0}]});
    std::fs::write(dir.path().join("r.json"), recipe.to_string()).expect("writes");
    let mixed = json(dir.path(), &["mix", "r.json", "--out", "m.safetensors", "--json"]);
    let report = &mixed["adapters"][0];
    assert_eq!(
        (&report["matched"], &report["unmatched_keys"]),
        (&0.into(), &serde_json::json!(["emb_params"])),
        "{mixed}"
    );
    let warnings = mixed["warnings"].to_string();
    assert!(warnings.contains("is a textual inversion: its rows belong to prompts"), "{warnings}");
}

/// Half of an SDXL pair has no place in a model with one text encoder.
#[test]
fn the_half_of_a_pair_without_an_encoder_is_named() {
    let (dir, model) = (folder(), tiny());
    file(&dir.path().join("pair.safetensors"), &[("clip_l", &[2, 32]), ("clip_g", &[2, 40])]);
    let fixed = ["render", "--model", &model, "--adapter", "pair.safetensors", "--out", "x.png", "--json"];
    let sizes = ["--steps", "1", "--width", "32", "--height", "32", "--prompt", "a pair"];
    let report = json(dir.path(), &[&fixed[..], &sizes].concat())["adapters"][0].clone();
    assert_eq!(report["matched"], 1, "{report}");
    assert!(report.to_string().contains("clip_g"), "{report}");
}

/// Keys are a stranger's text: they neither colour the terminal nor forge lines of a report.
#[test]
fn control_characters_of_names_never_reach_the_terminal() {
    let dir = folder();
    let path = dir.path().join("x.safetensors");
    let factors: [(&str, &[usize]); 4] = [
        ("lora_unet_conv_out.lora_down.weight", &[2, 4]),
        ("lora_unet_conv_out.lora_up.weight", &[4, 2]),
        ("\u{1b}]0;owned\u{7}", &[1]),
        ("a\nfit against everything: 99 matched", &[1]),
    ];
    file(&path, &factors);
    for arguments in [&["inspect", "x.safetensors"][..], &["inspect", "x.safetensors", "--against", &tiny()]] {
        let output = admix(dir.path(), arguments);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(said.contains("owned") && said.contains("99 matched"), "{said}");
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
        assert!(!said.lines().any(|line| line.starts_with("fit against everything")), "{said}");
    }
}

/// What is written can be read again by its name, and a report names it.
#[test]
fn a_mix_is_not_called_what_nobody_reads() {
    let (dir, model) = (folder(), tiny());
    let recipe = serde_json::json!({"admix": 1, "base": {"ref": model}});
    std::fs::write(dir.path().join("r.json"), recipe.to_string()).expect("writes");
    refused(dir.path(), &["mix", "r.json", "--out", "x.ckpt"], &["--out", "x.ckpt", ".safetensors"]);
    let said = json(dir.path(), &["mix", "r.json", "--out", "x.safetensors", "--json"]);
    assert_eq!(said["files"], serde_json::json!(["x.safetensors"]));
}
