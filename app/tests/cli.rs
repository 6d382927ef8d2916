//! The command line as a person or a script sees it: exit statuses, one-line errors, files that appear whole or not at all, JSON and nothing else.

mod common;

use std::path::Path;
use std::process::Command;

use admix_engine::files::safetensors::Index;
use admix_engine::files::{FileSource, ready};
use common::{admix, copy_folder, folder, golden, has, json, names, refused, text, tiny};
use serde_json::Value;

#[test]
fn wrong_flags_are_refused() {
    let dir = folder();
    let model = tiny();
    let base = ["render", "--model", &model, "--prompt", "x", "--out", "x.png"];
    let with = |more: &[&str], words: &[&str]| refused(dir.path(), &[&base[..], more].concat(), words);
    with(&["--width", "-64"], &["--width", "-64"]);
    with(&["--height", "0"], &["--height"]);
    with(&["--width", "33"], &["width", "33"]);
    with(&["--steps", "0"], &["--steps"]);
    with(&["--steps", "x"], &["--steps", "x"]);
    with(&["--cfg", "NaN"], &["--cfg"]);
    with(&["--cfg-rescale", "2"], &["--cfg-rescale"]);
    with(&["--batch", "0"], &["--batch"]);
    with(&["--seed", "-1"], &["--seed"]);
    with(&["--rng", "dice"], &["dice", "cpu"]);
    with(&["--sampler", "no-such"], &["no-such", "dpmpp_2m"]);
    with(&["--schedule", "no-such"], &["no-such", "karras"]);
    with(&["--set", "nonsense=1"], &["nonsense"]);
    with(&["--set", "nonsense"], &["knob=value"]);
    with(&["--adapter", "a.safetensors@nan"], &["weight"]);
    with(&["--adapter", "gone.safetensors@0.5"], &["gone.safetensors"]);
    std::fs::write(dir.path().join("r.json"), r#"{"admix":1,"base":{"ref":"builtin"}}"#).expect("writable");
    with(&["--recipe", "r.json"], &["--recipe", "--model"]);
    with(&["--recipe", "gone.json"], &["gone.json", "does not exist"]);
    with(&["--strength", "0.5"], &["--init"]);
    with(&["--init", "gone.png"], &["gone.png"]);
    with(&["--mask", "m.png"], &["--mask", "--init"]);
    with(&["--library", "/nowhere"], &["--library", "/nowhere"]);
    with(&["--stepz", "3"], &["--stepz", "--steps"]);
    with(&["--latents-out", "no/such/l.safetensors"], &["--latents-out", "no/such"]);
    refused(dir.path(), &["render", "--prompt", "x"], &["--out"]);
    refused(dir.path(), &["render", "--model", &model, "--out", "x.png"], &["--prompt"]);
    refused(dir.path(), &["render", "--prompt", "x", "--out", "x.gif"], &["png", "jpg", "webp"]);
    refused(dir.path(), &["render", "--prompt", "x", "--out", "gone/x.png"], &["gone"]);
    refused(dir.path(), &["render", "--prompt", "x", "--out", "."], &["--out"]);
    refused(dir.path(), &["render", "--model", "gone", "--prompt", "x", "--out", "x.png"], &["gone"]);
    refused(
        dir.path(),
        &["render", "--model", "a.ckpt", "--prompt", "x", "--out", "x.png"],
        &["a.ckpt", "pickle", "safetensors"],
    );
    refused(dir.path(), &["rendr"], &["rendr", "render"]);
    refused(dir.path(), &["list", "nothing"], &["nothing", "samplers"]);
    refused(dir.path(), &["inspect", "gone.safetensors"], &["gone.safetensors"]);
    refused(dir.path(), &["mix", "gone.json", "--out", "x.safetensors"], &["gone.json"]);
    refused(dir.path(), &["suggest"], &["--prompt"]);
    refused(dir.path(), &["suggest", "--prompt", "x", "--library", "gone"], &["gone"]);
}

#[test]
fn adapters_are_suggested_as_the_contract_says() {
    let dir = folder();
    let found = json(dir.path(), &["suggest", "--prompt", "a unicorn at night", "--json"]);
    let topics = found["topics"].as_array().expect("topics");
    let names: Vec<_> = topics
        .iter()
        .flat_map(|t| t["adapters"].as_array().expect("adapters"))
        .map(|a| a["name"].as_str().unwrap_or_default())
        .collect();
    assert!(names.contains(&"unicorn") && names.contains(&"night"), "{found}");
    let span = &topics[0]["span"];
    assert!(span[0].as_u64() < span[1].as_u64(), "{found}");
    assert!(
        found["rejected"].is_array() && found["recipe"]["adapters"].as_array().is_some_and(|a| a.len() == names.len()),
        "{found}"
    );
    // Nothing in it that an adapter serves.
    let none = json(dir.path(), &["suggest", "--prompt", "a red apple on a blue background", "--json"]);
    assert_eq!(
        none["topics"].as_array().map(|t| t.iter().all(|t| t["adapters"].as_array().is_none_or(Vec::is_empty))),
        Some(true),
        "{none}"
    );
}

#[test]
fn cards_are_listed_changed_and_obeyed() {
    let dir = folder();
    let at = dir.path();
    std::fs::create_dir(at.join("lib")).expect("made");
    let neon = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/adapters/neon.safetensors");
    std::fs::copy(neon, at.join("lib/thing_v2.safetensors")).expect("copied");
    let library = ["--library", "lib", "--no-builtin", "--json"];
    let run = |words: &[&str]| json(at, &[words, &library].concat());
    let listed = run(&["catalogue", "list"]);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let edit = [
        "catalogue",
        "edit",
        "thing_v2",
        "--title",
        "Zorgon",
        "--trigger",
        "zorgon",
        "--tag",
        "glow",
        "--weight",
        "0.5",
    ];
    let edited = run(&[&edit[..], &["--licence", "CC BY 4.0", "--kind", "style"]].concat());
    assert_eq!(
        (edited["title"].as_str(), edited["edited"]["weight"].as_f64()),
        (Some("Zorgon"), Some(0.5)),
        "{edited}"
    );
    // Renamed and touched: what was said stays.
    std::fs::rename(at.join("lib/thing_v2.safetensors"), at.join("lib/other.safetensors")).expect("renamed");
    assert_eq!(run(&["catalogue", "show", "other"])["title"], "Zorgon");
    let weights = |more: &[&str]| -> Vec<f64> {
        let found = run(&[&["suggest", "--prompt", "a cat, zorgon"], more].concat());
        let topics = found["topics"].as_array().expect("topics").clone();
        let all = topics.iter().flat_map(|t| t["adapters"].as_array().expect("adapters").clone());
        all.filter_map(|a| a["weight"].as_f64()).collect()
    };
    assert_eq!(weights(&[]), [0.4]);
    for passes in [["--licence", "cc by"], ["--kind", "style"], ["--tag", "Glow"]] {
        assert_eq!(weights(&passes), [0.4], "{passes:?}");
    }
    for fails in [["--licence", "mit"], ["--kind", "pose"], ["--tag", "ink"]] {
        assert!(weights(&fails).is_empty(), "{fails:?}");
    }
    let refuse = |words: &[&str], said: &[&str]| {
        refused(at, &[&["catalogue", "--library", "lib", "--no-builtin"], words].concat(), said);
    };
    refuse(&["show", "gone"], &["gone", "catalogue list"]);
    refuse(&["edit", "other"], &["nothing to change"]);
    refuse(&["edit", "other", "--range", "2,1"], &["--range"]);
    refuse(&["edit", "other", "--thumbnail", "gone.png"], &["gone.png"]);
    refuse(&["describe"], &["NAMES"]);
}

#[test]
fn hostile_files_are_refused() {
    let dir = folder();
    let at = dir.path();
    let file = |name: &str, bytes: &[u8]| std::fs::write(at.join(name), bytes).expect("writes");
    let whole = std::fs::read(golden("adapters/kohya.safetensors")).expect("the fixture");
    file("cut.safetensors", &whole[..100]);
    file("half.safetensors", &whole[..whole.len() / 2]);
    file("empty.safetensors", b"");
    file("huge.safetensors", &[&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    file("long.safetensors", &[&(99_000_000u64).to_le_bytes()[..], b"{}"].concat());
    file("text.safetensors", b"hello, this is no model at all");
    for name in ["cut", "half", "empty", "huge", "long", "text"] {
        let name = format!("{name}.safetensors");
        refused(at, &["inspect", &name], &[&name]);
        refused(at, &["render", "--model", &name, "--prompt", "x", "--out", "x.png"], &[&name]);
        refused(at, &["render", "--model", &tiny(), "--adapter", &name, "--prompt", "x", "--out", "x.png"], &[&name]);
    }
    for (name, recipe, words) in [
        ("bad.json", "{", &["bad.json"][..]),
        ("unknown.json", r#"{"admix": 1, "base": {"ref": "x"}, "colour": 1}"#, &["unknown.json", "colour"]),
        (
            "method.json",
            r#"{"admix": 1, "base": {"ref": "x"}, "merge": [{"method": "magic", "models": [{"ref": "y"}]}]}"#,
            &["magic"],
        ),
        ("version.json", r#"{"admix": 99, "base": {"ref": "x"}}"#, &["version.json"]),
    ] {
        file(name, recipe.as_bytes());
        refused(at, &["mix", name, "--out", "x.safetensors"], words);
        refused(at, &["render", "--recipe", name, "--prompt", "x", "--out", "x.png"], words);
    }
    // An adapter where a model belongs, and the other way round.
    let adapter = golden("adapters/kohya.safetensors").display().to_string();
    refused(at, &["render", "--model", &adapter, "--prompt", "x", "--out", "x.png"], &["adapter"]);
    file("plain.json", br#"{"admix": 1, "base": "builtin:mini"}"#);
    refused(at, &["inspect", "plain.json", "--against", &tiny()], &["--against"]);
}

#[test]
fn broken_models_are_refused() {
    let dir = folder();
    let at = dir.path();
    let model = |name: &str| {
        let to = at.join(name);
        copy_folder(&golden("models/sd1_tiny"), &to);
        to
    };
    let render = |name: &str, words: &[&str]| {
        refused(at, &["render", "--model", name, "--prompt", "x", "--steps", "2", "--out", "x.png"], words);
    };
    std::fs::remove_file(model("unconfigured").join("unet/config.json")).expect("removes");
    render("unconfigured", &["config.json"]);

    let config = model("reshaped").join("unet/config.json");
    let mut fields: Value = serde_json::from_slice(&std::fs::read(&config).expect("reads")).expect("JSON");
    fields["cross_attention_dim"] = 48.into();
    std::fs::write(&config, fields.to_string()).expect("writes");
    render("reshaped", &["shape"]);

    // One element becomes NaN: found when the weights are read, named with its tensor.
    let weights = model("damaged").join("unet/diffusion_pytorch_model.safetensors");
    let index = ready(Index::read(&FileSource::open(&weights).expect("opens"), "unet")).expect("reads");
    let place = index.tensors["conv_in.weight"].range.start as usize;
    let mut bytes = std::fs::read(&weights).expect("reads");
    bytes[place..place + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    std::fs::write(&weights, bytes).expect("writes");
    render("damaged", &["conv_in.weight", "finite"]);
    std::fs::write(at.join("r.json"), r#"{"admix": 1, "base": {"ref": "damaged"}}"#).expect("writes");
    refused(at, &["mix", "r.json", "--out", "x.safetensors"], &["conv_in.weight", "finite"]);
}

#[test]
fn a_picture_and_its_report() {
    let dir = folder();
    let at = dir.path();
    let adapter = format!("{}@0.5", golden("adapters/kohya.safetensors").display());
    let model = tiny();
    let base = [
        "render",
        "--model",
        &model,
        "--adapter",
        &adapter,
        "--prompt",
        "a red apple",
        "--steps",
        "2",
        "--seed",
        "7",
        "--json",
    ];
    let report = json(at, &[&base[..], &["--out", "one.png", "--latents-out", "one.safetensors"]].concat());
    has(&report, &["out", "seed", "width", "height", "steps", "model", "adapters", "seconds", "device"]);
    has(&report["model"], &["name", "sha256", "family"]);
    has(&report["adapters"][0], &["name", "sha256", "weight", "matched", "unmatched"]);
    has(&report["seconds"], &["load", "mix", "text", "denoise", "decode"]);
    assert_eq!(
        (&report["seed"], &report["width"], &report["steps"]),
        (&Value::from(7), &Value::from(32), &Value::from(2))
    );
    assert_eq!(report["adapters"][0]["weight"], 0.5);

    // The picture carries both texts, and its recipe makes it again, bit for bit.
    let about = json(at, &["inspect", "one.png", "--json"]);
    let infotext = about["parameters"].as_str().expect("an infotext");
    for word in [
        "a red apple <lora:kohya:0.5>",
        "Steps: 2",
        "Sampler: DPM++ 2M",
        "Seed: 7",
        "Size: 32x32",
        "RNG: CPU",
        "Lora hashes",
        "Version: Admix",
    ] {
        assert!(infotext.contains(word), "{word} is not in {infotext}");
    }
    assert_eq!(about["recipe"]["base"]["sha256"], report["model"]["sha256"]);
    let again = json(at, &["render", "--recipe", "one.png", "--out", "two.png", "--json"]);
    assert_eq!(again["seed"], 7);
    let read = |name: &str| std::fs::read(at.join(name)).expect("reads");
    assert!(read("one.png") == read("two.png"), "the pictures differ");

    // Its latents, given back as noise of a run, have the right form; given as something else they are refused by name.
    refused(
        at,
        &["render", "--model", &model, "--prompt", "x", "--noise", "one.safetensors", "--out", "x.png"],
        &["noise", "latents"],
    );
    refused(at, &["render", "--model", &model, "--embeds", "one.safetensors", "--out", "x.png"], &["cond"]);

    // Several pictures get numbers, and each has its own seed.
    let report = json(at, &[&base[..], &["--batch", "2", "--out", "many.png"]].concat());
    assert_eq!(report["out"], serde_json::json!(["many-0.png", "many-1.png"]));
    let second = json(at, &["inspect", "many-1.png", "--json"]);
    assert_eq!(second["recipe"]["sample"]["seed"], 8);

    // A recipe whose file has changed since.
    let text = about["recipe"].to_string().replace(report["model"]["sha256"].as_str().expect("a sum"), &"0".repeat(64));
    std::fs::write(at.join("old.json"), text).expect("writes");
    refused(at, &["render", "--recipe", "old.json", "--out", "x.png"], &["--allow-changed"]);
    json(at, &["render", "--recipe", "old.json", "--allow-changed", "--out", "x.png", "--json"]);
    assert!(!names(at).iter().any(|n| n.ends_with(".part")), "{:?}", names(at));
}

#[test]
fn a_mix_is_written_and_read_back() {
    let dir = folder();
    let at = dir.path();
    let adapter = golden("adapters/diffusers.safetensors").display().to_string();
    let recipe = serde_json::json!({
        "admix": 1, "base": { "ref": tiny() }, "adapters": [{ "ref": adapter, "weight": 0.5 }],
        "sample": { "prompt": "a red apple", "steps": 2, "seed": 3 }
    });
    std::fs::write(at.join("r.json"), recipe.to_string()).expect("writes");
    let report = json(at, &["mix", "r.json", "--out", "m.safetensors", "--json"]);
    has(&report, &["out", "tensors", "changed", "bytes", "adapters"]);
    assert!(report["changed"].as_u64().expect("a number") > 0);
    let about = json(at, &["inspect", "m.safetensors", "--json"]);
    has(&about, &["kind", "family", "format", "dtype", "parameters", "tensors", "sha256", "prediction", "metadata"]);
    assert_eq!((&about["kind"], &about["family"]), (&Value::from("checkpoint"), &Value::from("sd1")));
    assert!(about["metadata"]["admix_recipe"].is_string());

    // The written weights give the picture that the recipe gives. A folder, because this pipeline has a tokenizer of its own, which one file
    // cannot hold.
    json(at, &["mix", "r.json", "--out", "whole", "--layout", "diffusers", "--json"]);
    json(at, &["render", "--recipe", "r.json", "--latents-out", "live.safetensors", "--out", "live.png", "--json"]);
    let sample = ["--prompt", "a red apple", "--steps", "2", "--seed", "3", "--json"];
    let plain = ["render", "--model", "whole", "--latents-out", "file.safetensors", "--out", "file.png"];
    json(at, &[&plain[..], &sample].concat());
    let read = |name: &str| std::fs::read(at.join(name)).expect("reads");
    assert!(read("live.safetensors") == read("file.safetensors"), "the latents differ");

    json(at, &["mix", "r.json", "--out", "folder", "--layout", "diffusers", "--dtype", "bf16", "--json"]);
    assert_eq!(json(at, &["inspect", "folder", "--json"])["dtype"], "BF16");
    refused(at, &["mix", "r.json", "--out", "x.safetensors", "--dtype", "q4"], &["q4", "bf16"]);
    refused(at, &["mix", "r.json", "--out", "x.safetensors", "--layout", "magic"], &["magic", "ldm"]);
    json(at, &["mix", "r.json", "--out", "signs.safetensors", "--as", "bitdelta", "--json"]);
    let signs = json(at, &["inspect", "signs.safetensors", "--against", &tiny(), "--json"]);
    assert_eq!((&signs["kind"], &signs["type"]), (&"adapter".into(), &"bitdelta".into()), "{signs}");
    assert_eq!(signs["fit"]["unmatched"].as_array().map(Vec::len), Some(0), "{signs}");
    refused(at, &["mix", "r.json", "--out", "gone/x.safetensors"], &["gone"]);
}

/// Pictures may have adapters beside the weights; a file of weights has them inside, or says that it has not. A mix larger than the device says
/// that it streams.
#[test]
fn a_mix_says_what_pictures_alone_have() {
    let dir = folder();
    let at = dir.path();
    let mix = |adapter: Value, sample: Value| -> (Value, Vec<u8>) {
        let recipe =
            serde_json::json!({ "admix": 1, "base": { "ref": tiny() }, "adapters": [adapter], "sample": sample });
        std::fs::write(at.join("r.json"), recipe.to_string()).expect("writes");
        let report = json(at, &["mix", "r.json", "--out", "m.safetensors", "--json"]);
        let written = std::fs::read(at.join("m.safetensors")).expect("reads");
        let data = report["bytes"].as_u64().expect("a number") as usize;
        (report, written[written.len() - data..].to_vec())
    };
    let file = golden("adapters/diffusers.safetensors").display().to_string();
    let whole = serde_json::json!({ "ref": file, "weight": 0.5 });
    let (merged, inside) = mix(whole.clone(), serde_json::json!({}));
    assert!(
        merged["changed"].as_u64() > Some(0) && merged["warnings"].as_array().is_some_and(Vec::is_empty),
        "{merged}"
    );
    let (beside, same) = mix(whole, serde_json::json!({ "set": { "adapters": "unmerged" } }));
    assert!(inside == same && beside["changed"] == merged["changed"], "{beside}");
    let part = serde_json::json!({ "ref": file, "weight": 0.5, "stop": 0.5 });
    let (left_out, without) = mix(part, serde_json::json!({}));
    assert!(inside != without && left_out["warnings"].to_string().contains("it is not in the file"), "{left_out}");
    let strong = serde_json::json!({ "ref": file, "weight": 2.5 });
    let warnings = mix(strong, serde_json::json!({})).0["warnings"].to_string();
    assert!(warnings.contains("2.50 times the strength it was trained at"), "{warnings}");

    assert_eq!(merged["streams"], Value::Bool(false), "{merged}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_admix"));
    command.current_dir(at).args(["mix", "r.json", "--out", "s.safetensors", "--json"]).env("ADMIX_DEVICE_MEMORY", "0");
    let said = text(&command.output().expect("the program starts").stdout);
    let streamed: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(streamed["streams"], Value::Bool(true), "{said}");
    assert!(streamed["warnings"].to_string().contains("they stream through the host"), "{said}");
}

#[test]
fn inspecting_an_adapter_says_what_fits() {
    let dir = folder();
    let adapter = golden("adapters/kohya.safetensors").display().to_string();
    let about = json(dir.path(), &["inspect", &adapter, "--against", &tiny(), "--json"]);
    has(&about, &["kind", "type", "family", "rank", "modules", "triggers", "metadata", "fit"]);
    has(&about["fit"], &["against", "matched", "unmatched", "mismatched", "cause"]);
    assert_eq!(about["kind"], "adapter");
    assert!(about["fit"]["matched"].as_u64().is_some_and(|n| n > 0));
    assert_eq!(about["fit"]["unmatched"], serde_json::json!([]));

    // A model of other widths: nothing fits, and rendering with it is refused with the reason.
    let other = golden("models/sd2_tiny").display().to_string();
    let fit = &json(dir.path(), &["inspect", &adapter, "--against", &other, "--json"])["fit"];
    assert_eq!(fit["matched"], 0);
    assert!(fit["cause"].as_str().is_some_and(|c| !c.is_empty()), "{fit}");
    let plain = admix(dir.path(), &["inspect", &adapter, "--against", &other]);
    assert!(text(&plain.stdout).contains("mismatched") && plain.status.success());
    refused(
        dir.path(),
        &["render", "--model", &other, "--adapter", &adapter, "--prompt", "x", "--out", "x.png"],
        &["none of its"],
    );
}

#[test]
fn lists_come_from_the_registries() {
    let dir = folder();
    for (what, expected) in [
        ("samplers", vec!["euler", "ddim", "dpmpp_2m"]),
        ("schedules", vec!["normal", "karras"]),
        ("guidance", vec!["cfg", "cfg_rescale", "pag", "apg", "freeu"]),
        ("methods", vec!["weighted_sum", "add_difference", "ties"]),
        ("families", vec!["lora"]),
        ("knobs", vec!["spacing"]),
    ] {
        let list = json(dir.path(), &["list", what, "--json"]);
        let items = list["items"].as_array().expect("items");
        for item in items {
            has(item, &["name", "label", "citation", "knobs"]);
            for knob in item["knobs"].as_array().expect("knobs") {
                has(knob, &["name", "label", "min", "max", "default", "help"]);
            }
        }
        for name in expected {
            assert!(items.iter().any(|i| i["name"] == name), "{what}: {name}");
        }
        assert!(admix(dir.path(), &["list", what]).status.success());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let dir = folder();
    let model = tiny();
    for wait in [2, 6, 15] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_admix"))
            .current_dir(dir.path())
            .args([
                "render", "--model", &model, "--prompt", "x", "--steps", "1000", "--width", "128", "--height", "128",
                "--out", "x.png",
            ])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(std::time::Duration::from_secs(wait));
        let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(done.expect("kill runs").success() || child.try_wait().expect("waits").is_some());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(names(dir.path()), Vec::<String>::new());
        // Killed before it could listen: a slow machine; wait longer.
        if output.status.code().is_none() {
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("cancelled"), "{}", text(&output.stderr));
        return;
    }
    panic!("the program never listened");
}
