//! Checkpoints in every layout, against files whose names diffusers' own converters have confirmed.

mod common;

use admix_files::checkpoint::{Checkpoint, Format, Layout, ModelFamily, OpenOptions};
use admix_files::config::Prediction;
use admix_files::layout::{Hints, ldm};
use admix_files::ready;
use common::{assert_same_weights, golden, model, synthetic, weights, write};
use std::collections::BTreeMap;

#[test]
fn an_ldm_file_is_read_under_diffusers_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("four.safetensors");
    synthetic::write_ldm(&golden(), "sd1_4level", &path).unwrap();
    let c = Checkpoint::open(&path).unwrap();
    assert_eq!((c.format, c.family), (Format::Ldm, ModelFamily::Sd1));
    let count = |prefix: &str| c.tensors.keys().filter(|k| k.starts_with(prefix)).count();
    assert_eq!((count("unet."), count("vae.")), (686, 248));
    assert!(c.extra.is_empty() && c.unexpected().is_empty(), "{:?}", c.unexpected());
    c.check_renderable().unwrap();
    for t in synthetic::tensors(&golden(), "sd1_4level").unwrap() {
        let found = c.tensor(&t.name).unwrap();
        assert_eq!(found.shape, t.shape, "{}", t.name);
        assert_eq!(Some(&found.key), t.ldm.as_ref());
        assert!(ready(c.read_raw(&t.name)).unwrap() == t.bytes, "{}", t.name);
    }
    // Everything that shapes can tell is as in the folder's own configurations.
    let folder = Checkpoint::open(model("sd1_4level", dir.path())).unwrap();
    let (mut a, b) = (c.unet.clone().unwrap(), folder.unet.clone().unwrap());
    (a.file, a.sample_size) = (b.file.clone(), b.sample_size);
    assert_eq!(a, b);
    let (mut a, b) = (c.vae.clone().unwrap(), folder.vae.clone().unwrap());
    (a.file, a.sample_size) = (b.file.clone(), b.sample_size);
    assert_eq!(a, b);
    assert_same_weights(&c, &folder);
}

#[test]
fn a_folder_is_written_with_the_names_of_ldm() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_4level", dir.path())).unwrap();
    let export = ready(c.export(Layout::Ldm)).unwrap();
    let ours: BTreeMap<_, _> = export.files[0].tensors.iter().map(|t| (t.key.clone(), t.shape.clone())).collect();
    let theirs: BTreeMap<_, _> = synthetic::tensors(&golden(), "sd1_4level")
        .unwrap()
        .into_iter()
        .map(|t| (t.ldm.unwrap(), t.ldm_shape))
        .collect();
    assert_eq!(ours, theirs);
}

/// Every layout gives back the same weights, and configurations that imply the same model.
#[test]
fn every_layout_round_trips() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sd1_tiny", "sd2_tiny", "odd_widths", "sd1_4level", "refiner_tiny"] {
        let c = Checkpoint::open(model(name, dir.path())).unwrap();
        c.check_renderable().unwrap();
        assert_eq!(c.format, Format::Diffusers);
        for (layout, out, format) in [
            (Layout::Same, "same", Format::Diffusers),
            (Layout::SameInOneFile, "one.safetensors", Format::Prefixed),
            (Layout::Ldm, "ldm.safetensors", Format::Ldm),
        ] {
            let out = dir.path().join(format!("{name}-{out}"));
            let export = ready(c.export(layout)).unwrap();
            write(&c, &export, &out);
            let again = Checkpoint::open(&out).unwrap();
            assert_eq!((again.format, again.family), (format, c.family), "{name}");
            assert_same_weights(&c, &again);
            again.check_renderable().unwrap();
            let heads = |c: &Checkpoint| c.unet.as_ref().unwrap().attention_heads.clone();
            assert_eq!(heads(&again), heads(&c), "{name} {layout:?}");
            assert_eq!(again.prediction(), c.prediction(), "{name} {layout:?}");
            assert_eq!(again.vae.as_ref().unwrap().scaling_factor, c.vae.as_ref().unwrap().scaling_factor);
            let act =
                |c: &Checkpoint| c.text_encoder.as_ref().or(c.text_encoder_2.as_ref()).unwrap().hidden_act.clone();
            assert_eq!(act(&again), act(&c));
            assert_eq!(
                (again.is_refiner(), again.zero_empty_negative),
                (c.is_refiner(), c.zero_empty_negative),
                "{name}"
            );
            // And from there to a folder again.
            let folder = out.with_extension("folder");
            let export = ready(again.export(Layout::Diffusers)).unwrap();
            write(&again, &export, &folder);
            let back = Checkpoint::open(&folder).unwrap();
            assert_same_weights(&c, &back);
            back.check_renderable().unwrap();
            // The same layout again gives the same keys in the same places.
            let same = ready(again.export(Layout::Same)).unwrap();
            let keys = |c: &Checkpoint| {
                let mut k: Vec<_> =
                    c.tensors.values().chain(c.extra.values()).map(|t| (t.source, t.key.clone())).collect();
                k.sort();
                k.dedup();
                k.len()
            };
            assert_eq!(same.files.iter().map(|f| f.tensors.len()).sum::<usize>(), keys(&again));
        }
    }
}

/// An SD2 text encoder in ldm form has q, k, v in one tensor.
#[test]
fn open_clip_projections_are_fused_and_split() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd2_tiny", dir.path())).unwrap();
    assert_eq!(c.prediction(), Prediction::V);
    let export = ready(c.export(Layout::Ldm)).unwrap();
    let width = c.text_encoder.as_ref().unwrap().hidden_size;
    let key = format!("{}transformer.resblocks.0.attn.in_proj_weight", ldm::OPEN_CLIP);
    let fused = export.files[0].tensors.iter().find(|t| t.key == key).unwrap();
    assert_eq!(fused.shape, [3 * width, width]);
    assert_eq!(fused.names().len(), 3);
    let path = dir.path().join("two.safetensors");
    write(&c, &export, &path);
    let again = Checkpoint::open(&path).unwrap();
    let name = "text_encoder.text_model.encoder.layers.1.self_attn.v_proj.bias";
    assert_eq!(ready(again.read_raw(name)).unwrap(), ready(c.read_raw(name)).unwrap());
    assert_eq!(again.tensor(name).unwrap().shape, [width]);
    assert_eq!(again.family, ModelFamily::Sd2);
}

/// Without metadata, an SD2-class single file cannot say what it predicts; the caller can.
#[test]
fn the_prediction_of_an_sd2_file_is_a_guess_that_can_be_overridden() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd2_tiny", dir.path())).unwrap();
    let mut export = ready(c.export(Layout::Ldm)).unwrap();
    assert!(export.metadata.shift_remove(Hints::KEY).is_some());
    let path = dir.path().join("two.safetensors");
    write(&c, &export, &path);
    let bare = Checkpoint::open(&path).unwrap();
    assert!(!bare.prediction_stated);
    assert_eq!(bare.prediction(), Prediction::V);
    let options = OpenOptions { prediction: Some(Prediction::Epsilon), ..OpenOptions::default() };
    let told = Checkpoint::open_with(&path, &options).unwrap();
    assert!(told.prediction_stated && told.prediction() == Prediction::Epsilon);
    // A guess stays a guess when written on, a statement stays a statement.
    assert!(!bare.config_metadata()[Hints::KEY].contains("prediction_type"));
    assert!(told.config_metadata()[Hints::KEY].contains("prediction_type"));
}

/// U-Nets as other programs keep them in a folder of their own: the names of the whole checkpoint, with the prefix and without.
#[test]
fn a_unet_alone_opens_under_either_name() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_4level", dir.path())).unwrap();
    let export = ready(c.export(Layout::Ldm)).unwrap();
    let whole = dir.path().join("whole.safetensors");
    write(&c, &export, &whole);
    let whole = Checkpoint::open(&whole).unwrap();
    for prefix in ["", ldm::UNET] {
        let bundle = renamed(&whole, |key| Some(format!("{prefix}{}", key.strip_prefix(ldm::UNET)?)));
        let alone = ready(Checkpoint::load(bundle, &OpenOptions::default())).unwrap();
        assert_eq!(alone.family, ModelFamily::Sd1);
        assert!(alone.vae.is_none() && alone.text_encoder.is_none());
        alone.validate().unwrap();
        let mine: Vec<_> = weights(&alone);
        let theirs: Vec<_> = weights(&c).into_iter().filter(|t| t.0.starts_with("unet.")).collect();
        assert!(mine == theirs, "{prefix:?}");
    }
}

/// A single file with some of another's tensors, under other keys.
fn renamed(of: &Checkpoint, key: impl Fn(&str) -> Option<String>) -> admix_files::Bundle {
    use admix_files::safetensors::{TensorSpec, write_to_vec};
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (name, t) in &of.tensors {
        if let Some(name_there) = key(&t.key) {
            specs.push(TensorSpec { name: name_there, dtype: t.info.dtype, shape: t.info.shape.clone() });
            data.push(ready(of.read_raw(name)).unwrap());
        }
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
    admix_files::Bundle::file("x.safetensors", std::sync::Arc::new(admix_files::MemSource::new(bytes)))
}

#[test]
fn the_family_can_be_overridden_where_the_shapes_allow_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = model("sd1_tiny", dir.path());
    let told = |family| Checkpoint::open_with(&path, &OpenOptions { family: Some(family), ..OpenOptions::default() });
    let c = told(ModelFamily::Sd2).unwrap();
    assert_eq!(c.family, ModelFamily::Sd2);
    let evidence = c.evidence.iter().find(|e| e.about == "family").unwrap();
    assert_eq!((evidence.value.as_str(), evidence.because.as_str()), ("sd2", "the caller says so"));
    let e = told(ModelFamily::Sdxl).err().unwrap().to_string();
    assert!(e.contains("it cannot be SDXL: its U-Net lacks"), "{e}");
}

#[test]
fn models_of_other_kinds_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_4level", dir.path())).unwrap();
    let whole = dir.path().join("whole.safetensors");
    write(&c, &ready(c.export(Layout::Ldm)).unwrap(), &whole);
    let whole = Checkpoint::open(&whole).unwrap();
    // An all-in-one file: its VAE has Stable Diffusion's names, its denoiser has not.
    let bundle = renamed(&whole, |key| match key.strip_prefix(ldm::UNET) {
        Some("out.2.weight") => Some(format!("{}joint_blocks.0.context_block.attn.qkv.weight", ldm::UNET)),
        Some(_) => None,
        None => key.starts_with(ldm::VAE).then(|| key.to_owned()),
    });
    let e = ready(Checkpoint::load(bundle, &OpenOptions::default())).err().unwrap();
    assert!(e.is_user_fault() && e.to_string().contains("this is an SD 3 model"), "{e}");
}

#[test]
fn buffers_and_training_state_are_kept_apart() {
    use admix_files::safetensors::{TensorSpec, write_to_vec};
    use admix_files::{Bundle, DType, MemSource};
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let export = ready(c.export(Layout::Ldm)).unwrap();
    let mut specs: Vec<TensorSpec> = export.files[0]
        .tensors
        .iter()
        .map(|t| TensorSpec { name: t.key.clone(), dtype: t.dtype, shape: t.shape.clone() })
        .collect();
    let mut data: Vec<Vec<u8>> = specs.iter().map(|s| vec![0; s.bytes().unwrap() as usize]).collect();
    let ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
    for (name, dtype, shape) in [
        (ids, DType::I64, vec![1, 77]),
        ("alphas_cumprod", DType::F32, vec![1000]),
        ("model_ema.decay", DType::F32, vec![]),
    ] {
        let spec = TensorSpec { name: name.into(), dtype, shape };
        data.push(vec![0; spec.bytes().unwrap() as usize]);
        specs.push(spec);
    }
    let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
    let bundle = Bundle::file("x.safetensors", std::sync::Arc::new(MemSource::new(bytes)));
    let again = ready(Checkpoint::load(bundle, &OpenOptions::default())).unwrap();
    assert_eq!(again.extra.keys().collect::<Vec<_>>(), [ids, "alphas_cumprod", "model_ema.decay"]);
    assert_eq!(again.tensors.len(), c.tensors.len());
    // `same` writes them all back.
    let same = ready(again.export(Layout::Same)).unwrap();
    assert_eq!(same.files[0].tensors.len(), specs.len());
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = model("sd1_tiny", dir.path());
    let fresh = |name: &str| {
        let to = dir.path().join(name);
        let c = Checkpoint::open(&source).unwrap();
        write(&c, &ready(c.export(Layout::Same)).unwrap(), &to);
        to
    };
    let error = |path: &std::path::Path| {
        let e = match Checkpoint::open(path) {
            Ok(c) => c.check_renderable().unwrap_err(),
            Err(e) => e,
        };
        assert!(e.is_user_fault() && !e.to_string().contains('\n'), "{e}");
        e.to_string()
    };
    let expect = |path: &std::path::Path, words: &[&str]| {
        let e = error(path);
        assert!(words.iter().all(|w| e.contains(w)), "{e} lacks one of {words:?}");
    };

    let p = fresh("no-config");
    std::fs::remove_file(p.join("unet/config.json")).unwrap();
    expect(&p, &["unet/config.json", "is missing"]);

    let p = fresh("no-scheduler");
    std::fs::remove_file(p.join("scheduler/scheduler_config.json")).unwrap();
    expect(&p, &["scheduler/scheduler_config.json", "is missing"]);

    let p = fresh("no-vae");
    std::fs::remove_dir_all(p.join("vae")).unwrap();
    expect(&p, &["no VAE"]);

    let p = fresh("pickle");
    std::fs::rename(p.join("unet/diffusion_pytorch_model.safetensors"), p.join("unet/diffusion_pytorch_model.bin"))
        .unwrap();
    expect(&p, &["unet", "pickle"]);

    let edit = |p: &std::path::Path, file: &str, from: &str, to: &str| {
        let path = p.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}: {text}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let p = fresh("wrong-type");
    edit(&p, "unet/config.json", "\"in_channels\": 4", "\"in_channels\": \"four\"");
    expect(&p, &["unet/config.json", "`in_channels`", "\"four\" (a string)", "whole number"]);

    let p = fresh("not-json");
    std::fs::write(p.join("vae/config.json"), "{").unwrap();
    expect(&p, &["vae/config.json", "not valid JSON"]);

    let p = fresh("wrong-shape");
    edit(&p, "unet/config.json", "\"cross_attention_dim\": 32", "\"cross_attention_dim\": 40");
    expect(&p, &["wrong shape", "attn2.to_k.weight", "[16, 32]", "[16, 40]"]);

    let p = fresh("missing-tensors");
    edit(&p, "unet/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 3");
    expect(&p, &["tensors are missing", "down_blocks.0.resnets.2"]);

    let p = fresh("unsupported");
    edit(&p, "unet/config.json", "\"addition_embed_type\": null", "\"addition_embed_type\": \"image_hint\"");
    expect(&p, &["`addition_embed_type` = `image_hint`", "not supported"]);

    let p = fresh("sizes-missing");
    edit(&p, "unet/config.json", "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"");
    expect(&p, &["`addition_time_embed_dim` is missing", "`text_time` needs it"]);

    let p = fresh("scheduler");
    edit(
        &p,
        "scheduler/scheduler_config.json",
        "\"beta_schedule\": \"scaled_linear\"",
        "\"beta_schedule\": \"sigmoid\"",
    );
    expect(&p, &["`beta_schedule` = `sigmoid`", "not supported"]);

    expect(&dir.path().join("nowhere"), &["does not exist"]);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    expect(&empty, &["no model is in this folder"]);
    expect(&golden().join("adapters/kohya.safetensors"), &["this is an adapter, not a checkpoint"]);
    expect(&golden().join("merges.safetensors"), &["no known kind of checkpoint"]);
}

/// Shards, variants, old attention names and a component by itself.
#[test]
fn folders_of_other_shapes() {
    use admix_files::safetensors::{TensorSpec, write_to_vec};
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let at = dir.path().join("sharded");
    write(&c, &ready(c.export(Layout::Same)).unwrap(), &at);
    let unet: Vec<_> = weights(&c).into_iter().filter(|t| t.0.starts_with("unet.")).collect();
    std::fs::remove_file(at.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    for (i, part) in unet.chunks(unet.len().div_ceil(3)).enumerate() {
        let file = format!("diffusion_pytorch_model-{:05}-of-00003.safetensors", i + 1);
        let specs: Vec<_> = part
            .iter()
            .map(|t| TensorSpec { name: t.0["unet.".len()..].into(), dtype: t.2, shape: t.1.clone() })
            .collect();
        for s in &specs {
            map.insert(s.name.clone(), file.clone().into());
        }
        let bytes = write_to_vec(&specs, &Default::default(), part.iter().map(|t| t.3.clone())).unwrap();
        std::fs::write(at.join("unet").join(file), bytes).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    let index_path = at.join("unet/diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(&index_path, index.to_string()).unwrap();
    // The VAE as a variant, with the attention names of 2022.
    let vae: Vec<_> = weights(&c).into_iter().filter(|t| t.0.starts_with("vae.")).collect();
    let old = |n: &str| {
        n["vae.".len()..]
            .replace(".to_q.", ".query.")
            .replace(".to_k.", ".key.")
            .replace(".to_v.", ".value.")
            .replace(".to_out.0.", ".proj_attn.")
    };
    let specs: Vec<_> = vae.iter().map(|t| TensorSpec { name: old(&t.0), dtype: t.2, shape: t.1.clone() }).collect();
    assert!(specs.iter().any(|s| s.name.contains(".query.")));
    let bytes = write_to_vec(&specs, &Default::default(), vae.iter().map(|t| t.3.clone())).unwrap();
    std::fs::remove_file(at.join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    std::fs::write(at.join("vae/diffusion_pytorch_model.fp16.safetensors"), bytes).unwrap();
    let again = Checkpoint::open(&at).unwrap();
    assert_eq!(again.parts.iter().filter(|p| p.component == "unet").count(), 3);
    assert_same_weights(&c, &again);
    again.check_renderable().unwrap();

    let component = Checkpoint::open(at.join("unet")).unwrap();
    assert_eq!(component.format, Format::Component);
    assert!(component.tensors.len() == unet.len() && component.vae.is_none());
    component.validate().unwrap();
    let lone =
        Checkpoint::open(model("sd1_tiny", dir.path()).join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    assert_eq!(lone.unet.unwrap().attention_heads, component.unet.unwrap().attention_heads);

    std::fs::remove_file(at.join("unet/diffusion_pytorch_model-00002-of-00003.safetensors")).unwrap();
    let e = Checkpoint::open(&at).err().unwrap().to_string();
    assert!(e.contains("00002-of-00003") && e.contains("is missing"), "{e}");
    std::fs::write(&index_path, "{\"weight_map\": 3}").unwrap();
    assert!(Checkpoint::open(&at).err().unwrap().to_string().contains("`weight_map`"));
}

#[test]
fn a_nan_is_named() {
    let values = [1.0, f32::NAN, f32::INFINITY];
    let e = admix_files::checkpoint::first_non_finite("m.safetensors", "unet.conv_in.bias", &values).unwrap_err();
    let e = e.to_string();
    assert!(e.contains("`unet.conv_in.bias` has NaN at element 1"), "{e}");
    assert!(admix_files::checkpoint::first_non_finite("m", "t", &[0.0]).is_ok());
}

/// OpenCLIP's own text tower, against what diffusers' converter makes of it (`make_fixtures.py`).
#[test]
fn open_clip_is_read_as_diffusers_reads_it() {
    use admix_files::safetensors::{TensorSpec, write_to_vec};
    use admix_files::{Bundle, FileSource, MemSource, safetensors::Index};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/open_clip.safetensors");
    let source = FileSource::open(&path).unwrap();
    let index = ready(Index::read(&source, "open_clip")).unwrap();
    let read = |key: &str| {
        let info = &index.tensors[key];
        ready(admix_files::ByteSource::read(&source, info.range.clone())).unwrap()
    };
    for (prefix, component) in [(ldm::OPEN_CLIP, "text_encoder"), (ldm::SDXL_OPEN_CLIP, "text_encoder_2")] {
        let mut keys: Vec<_> = index.tensors.keys().filter(|k| k.starts_with(prefix)).collect();
        keys.sort();
        let specs: Vec<_> = keys
            .iter()
            .map(|k| {
                let t = &index.tensors[*k];
                TensorSpec { name: (*k).clone(), dtype: t.dtype, shape: t.shape.clone() }
            })
            .collect();
        let bytes = write_to_vec(&specs, &Default::default(), keys.iter().map(|k| read(k))).unwrap();
        let bundle = Bundle::file("x.safetensors", std::sync::Arc::new(MemSource::new(bytes)));
        let c = ready(Checkpoint::load(bundle, &OpenOptions::default())).unwrap();
        c.validate().unwrap();
        let mut checked = 0;
        for key in index.tensors.keys() {
            let Some(name) = key.strip_prefix("expected.") else { continue };
            if component == "text_encoder" && name.starts_with("text_projection") {
                // SD2's pipeline has no projection: the tensor stays in the file as it is.
                assert!(c.extra.contains_key(&format!("{prefix}text_projection")));
                continue;
            }
            let canonical = format!("{component}.{name}");
            assert!(ready(c.read_raw(&canonical)).unwrap() == read(key), "{canonical}");
            assert_eq!(c.tensor(&canonical).unwrap().shape, index.tensors[key].shape, "{canonical}");
            checked += 1;
        }
        assert_eq!(checked, c.tensors.len());
        // Written back: the same keys, the same bytes.
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("again.safetensors");
        write(&c, &ready(c.export(Layout::Same)).unwrap(), &out);
        let again = FileSource::open(&out).unwrap();
        let written = ready(Index::read(&again, "again")).unwrap();
        assert_eq!(written.tensors.len(), keys.len());
        for key in keys {
            let info = &written.tensors[key];
            assert_eq!(info.shape, index.tensors[key].shape);
            assert!(ready(admix_files::ByteSource::read(&again, info.range.clone())).unwrap() == read(key), "{key}");
        }
    }
}
