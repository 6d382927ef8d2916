//! Whatever a file holds is applied, named as unused, or refused with its name; nothing is dropped without a word and nothing is applied by half.

mod common;

use admix_files::adapter::Adapter;
use admix_files::checkpoint::{Checkpoint, Layout, OpenOptions};
use admix_files::inspect::Inspected;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use common::{golden, model, weights, write};
use std::sync::Arc;

/// Tensors of a file to be: keys, types, shapes and bytes.
type Tensors = Vec<(TensorSpec, Vec<u8>)>;

/// The tensors of a model in the original code's layout.
fn ldm(name: &str) -> Tensors {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model(name, dir.path())).unwrap();
    let export = ready(c.export(Layout::Ldm)).unwrap();
    let read = |t: &admix_files::checkpoint::ExportTensor| {
        let parts = t.names().iter().map(|n| ready(c.read_raw(n)).unwrap()).collect();
        (TensorSpec { name: t.key.clone(), dtype: t.dtype, shape: t.shape.clone() }, t.assemble(parts, t.dtype))
    };
    export.files[0].tensors.iter().map(read).collect()
}

fn more(tensors: &mut Tensors, name: &str, dtype: DType, shape: &[usize]) {
    let spec = TensorSpec { name: name.into(), dtype, shape: shape.to_vec() };
    let bytes = vec![0; spec.bytes().unwrap() as usize];
    tensors.push((spec, bytes));
}

fn bundle(tensors: Tensors, metadata: &[(&str, String)]) -> Bundle {
    let (specs, data): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let bytes = write_to_vec(&specs, &metadata, data).unwrap();
    Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)))
}

fn open(tensors: Tensors) -> admix_files::Result<Checkpoint> {
    ready(Checkpoint::load(bundle(tensors, &[]), &OpenOptions::default()))
}

fn refused(tensors: Tensors, words: &[&str]) {
    let e = match open(tensors) {
        Err(e) => e,
        Ok(c) => c.check_renderable().expect_err("it must not pass"),
    };
    let text = e.to_string();
    assert!(e.is_user_fault() && words.iter().all(|w| text.contains(w)), "{text} lacks one of {words:?}");
}

/// Numbers that mean something only with scales beside them would be thousands of times too large.
#[test]
fn quantised_weights_are_refused_by_name() {
    const CONV: &str = "model.diffusion_model.out.2";
    for (key, dtype, shape) in [
        ("model.diffusion_model.out.2.scale_weight", DType::F32, &[1][..]),
        ("scaled_fp8", DType::F8E4M3, &[2]),
        ("model.diffusion_model.scaled_fp8", DType::F8E4M3, &[2]),
        ("model.diffusion_model.out.2.weight_scale", DType::F32, &[]),
        ("model.diffusion_model.out.2.comfy_quant", DType::U8, &[20]),
        ("model.diffusion_model.out.2.weight.absmax", DType::U8, &[4]),
        ("model.diffusion_model.out.2.weight.quant_state.bitsandbytes__nf4", DType::U8, &[90]),
        ("model.diffusion_model.out.2.SCB", DType::F32, &[4]),
    ] {
        let mut tensors = ldm("sd1_tiny");
        more(&mut tensors, key, dtype, shape);
        refused(tensors, &["quantised weights", key, "not supported; use the f16"]);
    }
    let mut tensors = ldm("sd1_tiny");
    for (spec, bytes) in tensors.iter_mut().filter(|(s, _)| s.name == format!("{CONV}.weight")) {
        spec.dtype = DType::I8;
        *bytes = vec![1; spec.bytes().unwrap() as usize];
    }
    refused(tensors, &["quantised weights", "out.2.weight", "I8"]);
    assert!(open(ldm("sd1_tiny")).is_ok());
}

/// The guidance embedding of an LCM, under the original code's kind of name and under the one that diffusers' script leaves in such files.
#[test]
fn a_single_file_of_an_lcm_is_an_lcm() {
    let own = "model.diffusion_model.time_embed.cond_proj.weight";
    let dir = tempfile::tempdir().unwrap();
    let folder = Checkpoint::open(model("lcm_tiny", dir.path())).unwrap();
    for name in [own, "model.diffusion_model.time_embedding.cond_proj.weight"] {
        let mut tensors = ldm("lcm_tiny");
        let found = tensors.iter_mut().find(|(s, _)| s.name == own).expect("it is written under its own name");
        found.0.name = name.into();
        let c = open(tensors).unwrap();
        c.check_renderable().unwrap();
        assert!(c.extra.is_empty(), "{name}");
        assert!(c.evidence.iter().any(|e| e.about == "variant" && e.value == "lcm"), "{name}: {:?}", c.evidence);
        assert_eq!(c.unet.as_ref().unwrap().time_cond_proj_dim, folder.unet.as_ref().unwrap().time_cond_proj_dim);
        let weight = "unet.time_embedding.cond_proj.weight";
        assert!(ready(c.read_raw(weight)).unwrap() == ready(folder.read_raw(weight)).unwrap());
    }
}

/// One tensor that is missing is named, wherever it is missing.
#[test]
fn a_missing_tensor_of_the_middle_is_named() {
    let mut tensors = ldm("sd1_tiny");
    tensors.retain(|(s, _)| s.name != "model.diffusion_model.middle_block.1.proj_in.weight");
    refused(tensors, &["1 tensors are missing", "unet.mid_block.attentions.0.proj_in.weight"]);
}

#[test]
fn tensors_that_nothing_reads_are_listed() {
    let mut tensors = ldm("sd1_tiny");
    let ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
    for (key, dtype, shape) in [
        (ids, DType::I64, &[1, 77][..]),
        ("cond_stage_model.transformer.text_model.embeddings.ids.position_ids", DType::F16, &[1, 77]),
        ("cond_stage_model.logit_scale", DType::F32, &[]),
        ("v_pred", DType::F32, &[0]),
        ("model_ema.decay", DType::F32, &[]),
        ("alphas_cumprod", DType::F32, &[1000]),
        ("model.diffusion_model.input_blocks.1.0.surprise.weight", DType::F32, &[4]),
        ("control.weight", DType::F32, &[4]),
    ] {
        more(&mut tensors, key, dtype, shape);
    }
    let c = open(tensors).unwrap();
    let unused = ["model.diffusion_model.input_blocks.1.0.surprise.weight", "control.weight"];
    assert_eq!(c.unused(), unused);
    assert_eq!(ready(c.describe()).unwrap()["unused"], serde_json::json!(unused));
    // In a folder: under a component, but of no place that its configuration has.
    let dir = tempfile::tempdir().unwrap();
    let plain = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    assert!(plain.unused().is_empty(), "{:?}", plain.unused());
    let to = dir.path().join("more");
    write(&plain, &ready(plain.export(Layout::Same)).unwrap(), &to);
    let file = to.join("unet/diffusion_pytorch_model.safetensors");
    let unet = weights(&Checkpoint::open(&to).unwrap()).into_iter().filter_map(|(n, shape, dtype, bytes)| {
        Some((TensorSpec { name: n.strip_prefix("unet.")?.to_owned(), dtype, shape }, bytes))
    });
    let mut unet: Tensors = unet.collect();
    let extra = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight";
    more(&mut unet, extra, DType::F32, &[4, 4]);
    let (specs, data): (Vec<_>, Vec<_>) = unet.into_iter().unzip();
    std::fs::write(file, write_to_vec(&specs, &Default::default(), data).unwrap()).unwrap();
    assert_eq!(Checkpoint::open(&to).unwrap().unused(), [format!("unet.{extra}")]);
}

/// A configuration of a stranger's file must not make us list millions of tensors, whichever of its numbers is absurd.
#[test]
fn absurd_configurations_are_refused_at_once() {
    let start = std::time::Instant::now();
    for (component, fields, words) in [
        ("unet", r#"{"layers_per_block": 1048576, "transformer_layers_per_block": 1048576}"#, "`layers_per_block`"),
        ("unet", r#"{"layers_per_block": 100000}"#, "`layers_per_block`"),
        ("vae", r#"{"layers_per_block": 1048576}"#, "`layers_per_block`"),
        ("text_encoder", r#"{"num_hidden_layers": 1048576}"#, "`num_hidden_layers`"),
    ] {
        let config = format!("{{\"{component}\": {fields}}}");
        let file = bundle(ldm("sd1_tiny"), &[("admix_config", config)]);
        let e = ready(Inspected::load(file)).err().expect("it must be refused");
        assert!(e.is_user_fault() && e.to_string().contains(words) && e.to_string().contains("4096"), "{e}");
    }
    // Seconds for what took minutes and gigabytes; on any machine.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// OpenCLIP's text encoder as its authors publish it, with the vision encoder beside it.
#[test]
fn openclips_own_file_is_a_text_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Checkpoint::open(model("sdxl_tiny", dir.path())).unwrap();
    let prefix = "conditioner.embedders.1.model.";
    let mut tensors: Tensors = ldm("sdxl_tiny");
    tensors.retain_mut(|(s, _)| match s.name.strip_prefix(prefix) {
        Some(rest) => {
            s.name = rest.to_owned();
            true
        }
        None => false,
    });
    more(&mut tensors, "visual.proj", DType::F32, &[4, 4]);
    more(&mut tensors, "visual.transformer.resblocks.0.ln_1.weight", DType::F32, &[4]);
    more(&mut tensors, "logit_scale", DType::F32, &[]);
    let c = open(tensors).unwrap();
    c.validate().unwrap();
    let text = c.text_encoder.as_ref().unwrap();
    assert_eq!((text.hidden_act.as_str(), text.has_projection), ("gelu", true));
    assert_eq!(c.extra.len(), 3);
    let theirs: Vec<_> = weights(&folder)
        .into_iter()
        .filter_map(|t| Some((t.0.strip_prefix("text_encoder_2.")?.to_owned(), t.1, t.2, t.3)))
        .collect();
    let ours: Vec<_> = weights(&c)
        .into_iter()
        .filter_map(|t| Some((t.0.strip_prefix("text_encoder.")?.to_owned(), t.1, t.2, t.3)))
        .collect();
    assert!(ours == theirs);
}

/// Folders whose weights are there but cannot be chosen from say so.
#[test]
fn weights_that_are_there_are_not_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let fresh = |name: &str| {
        let to = dir.path().join(name);
        write(&c, &ready(c.export(Layout::Same)).unwrap(), &to);
        to
    };
    let plain = "unet/diffusion_pytorch_model.safetensors";
    let said = |to: &std::path::Path| ready(Inspected::load(Bundle::open(to).unwrap())).err().unwrap().to_string();

    let to = fresh("variants");
    for name in ["ema", "non_ema"] {
        std::fs::copy(to.join(plain), to.join(format!("unet/diffusion_pytorch_model.{name}.safetensors"))).unwrap();
    }
    std::fs::remove_file(to.join(plain)).unwrap();
    assert!(Checkpoint::open(&to).is_ok());

    let to = fresh("shards without index");
    for n in 1..3 {
        let name = format!("unet/diffusion_pytorch_model-0000{n}-of-00002.safetensors");
        std::fs::copy(to.join(plain), to.join(name)).unwrap();
    }
    std::fs::remove_file(to.join(plain)).unwrap();
    let e = said(&to);
    assert!(e.contains("several files of weights") && e.contains(".safetensors.index.json"), "{e}");

    let to = fresh("component").join("unet");
    std::fs::rename(to.join("diffusion_pytorch_model.safetensors"), to.join("diffusion_pytorch_model.bin")).unwrap();
    let e = said(&to);
    assert!(e.contains("only pickles") && e.contains("diffusion_pytorch_model.bin"), "{e}");
}

/// Two factors for each of some layers, under names as they are given.
fn lora(names: &[(&str, &[usize])], rest: &[&str]) -> Tensors {
    let mut tensors = Tensors::new();
    for (name, shape) in names {
        let mut down = shape.to_vec();
        down[0] = 2;
        let up = [vec![shape[0], 2], vec![1; shape.len() - 2]].concat();
        more(&mut tensors, &format!("{name}.lora_down.weight"), DType::F16, &down);
        more(&mut tensors, &format!("{name}.lora_up.weight"), DType::F16, &up);
    }
    rest.iter().for_each(|key| more(&mut tensors, key, DType::F16, &[2, 4]));
    tensors
}

/// What is said of names that could not be used has to be true.
#[test]
fn the_causes_in_a_report_are_true() {
    let dir = tempfile::tempdir().unwrap();
    let model_of = |name: &str| Checkpoint::open(model(name, dir.path())).unwrap();
    let base = model_of("sd1_tiny");
    let shape = |name: &str| base.tensor(name).unwrap().shape.clone();
    let cause = |tensors: Tensors, base: &Checkpoint| {
        let fit = ready(Adapter::load(bundle(tensors, &[]))).unwrap().fit(base);
        fit.cause.unwrap_or_else(|| panic!("{:?}", fit.unmatched))
    };
    let conv = shape("unet.conv_in.weight");
    let out = shape("unet.conv_out.weight");
    let half = "lora_unet_conv_out.lora_down.weight";
    let said = cause(lora(&[("lora_unet_conv_in", &conv)], &[half]), &base);
    assert!(
        said.contains(half) && said.contains("belongs to a layer of this model") && said.contains("lacks"),
        "{said}"
    );
    let said =
        cause(lora(&[("lora_unet_conv_in", &conv), ("unet.conv_in", &conv), ("unet.conv_out", &out)], &[]), &base);
    assert!(said.contains("second spelling") && said.contains("unet.conv_in.weight"), "{said}");
    let said = cause(lora(&[("lora_unet_conv_in", &conv)], &["lora_unet_surprise.lora_down.weight"]), &base);
    assert!(said.contains("not in this model"), "{said}");
    // Names that mean nothing here come first, however many are known and left over.
    let said = cause(lora(&[("lora_unet_conv_in", &conv)], &[half, "lora_unet_surprise.lora_down.weight"]), &base);
    assert!(said.starts_with("1 of its names are not in this model") && said.contains("surprise"), "{said}");
    // A LoRA of a text-to-picture model on one that also reads a mask and a picture.
    let inpainting = model_of("inpaint_tiny");
    let mut narrow = inpainting.tensor("unet.conv_in.weight").unwrap().shape.clone();
    narrow[1] = 4;
    let wide = inpainting.tensor("unet.conv_out.weight").unwrap().shape.clone();
    let said = cause(lora(&[("lora_unet_conv_in", &narrow), ("lora_unet_conv_out", &wide)], &[]), &inpainting);
    assert!(said.contains("reads 4 channels (text to picture); this one reads 9 (inpainting)"), "{said}");
}

/// A folder with weights beside the adapter's own: named, so that nobody takes them for applied.
#[test]
fn other_weights_in_an_adapters_folder_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let from = golden().join("adapters/diffusers.safetensors");
    std::fs::copy(&from, dir.path().join("pytorch_lora_weights.safetensors")).unwrap();
    std::fs::create_dir(dir.path().join("checkpoint-500")).unwrap();
    for name in ["pivot_emb.safetensors", "checkpoint-500/pytorch_lora_weights.safetensors"] {
        std::fs::copy(&from, dir.path().join(name)).unwrap();
    }
    let adapter = Adapter::open(dir.path()).unwrap();
    let not_read = ["checkpoint-500/pytorch_lora_weights.safetensors", "pivot_emb.safetensors"];
    assert_eq!(adapter.stray, not_read.map(|name| format!("{name} (not read: name it by itself)")));
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let cause = adapter.fit(&base).cause.unwrap();
    assert!(cause.contains("lies in the same folder and was not read"), "{cause}");
}

/// A module with a tensor that its kind does not read is not applied without it.
#[test]
fn nothing_is_applied_by_half() {
    let layer = "base_model.model.mid_block.attentions.0.proj_in";
    for (more, named) in [
        // Alphas whose module is spelled otherwise: the scale would be another.
        ("unet.a.lora.alpha", "lora.alpha"),
        ("unet.a.lora_linear_layer.alpha", "lora_linear_layer.alpha"),
        // A bias counts whole where peft saved it; elsewhere it could be anything.
        ("unet.a.bias", "bias"),
        ("unet.a.base_layer.weight", "base_layer.weight"),
    ] {
        let e = ready(Adapter::load(bundle(lora(&[("unet.a", &[8, 8])], &[more]), &[]))).err().expect(more).to_string();
        assert!(e.contains("module `unet.a` also has") && e.contains(named), "{more}: {e}");
    }
    for rest in [&["base_layer.weight"][..], &["base_layer.weight", "base_layer.bias"]] {
        let rest: Vec<String> = rest.iter().map(|r| format!("{layer}.{r}")).collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let e = ready(Adapter::load(bundle(lora(&[(layer, &[8, 8])], &rest), &[]))).err().expect("refused").to_string();
        assert!(e.contains("base_layer.weight"), "{e}");
    }
    // Variants of peft's LoRA that its tensors do not tell.
    for (field, name) in [("use_qalora", "QALoRA"), ("alora_invocation_tokens", "aLoRA"), ("kasa_config", "KaSA")] {
        let value = if field == "use_qalora" { "true" } else { "[1]" };
        let text = Arc::new(MemSource::new(format!("{{\"lora_alpha\": 1, \"{field}\": {value}}}").into_bytes()));
        let file = bundle(lora(&[("a", &[8, 8])], &[]), &[]).with_text("adapter_config.json", text);
        let e = ready(Adapter::load(file)).err().expect(field).to_string();
        assert!(e.contains(name) && e.contains("not applied"), "{e}");
    }
}

/// One tensor that ends as an adapter's does is half of an adapter, not a word.
#[test]
fn half_of_an_adapter_is_no_textual_inversion() {
    for key in ["unet.a.lora_A", "unet.a.lora_embedding_B", "lora_unet_a.alpha", "unet.a.diff_b2.diff"] {
        let mut tensors = Tensors::new();
        more(&mut tensors, key, DType::F32, &[4, 32]);
        let kind = ready(Adapter::load(bundle(tensors, &[]))).map(|a| a.kind).unwrap_or_default();
        assert_ne!(kind, "embedding", "{key}");
    }
}

/// Settings beside the weights decide what an adapter does: what was computed with others is not to be taken again.
#[test]
fn settings_and_configurations_are_part_of_a_files_state() {
    let state = |config: &str| {
        let text = Arc::new(MemSource::new(config.as_bytes().to_vec()));
        let file = bundle(lora(&[("a", &[8, 8])], &[]), &[]).with_text("adapter_config.json", text);
        let adapter = ready(Adapter::load(file)).unwrap();
        (ready(adapter.sha256()).unwrap(), ready(adapter.state_sum()).unwrap())
    };
    let (a, b) = (state(r#"{"lora_alpha": 1}"#), state(r#"{"lora_alpha": 2}"#));
    assert!(a.0 == b.0 && a.1 != b.1);
    assert_eq!(a, state(r#"{"lora_alpha": 1}"#));

    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let write_to = |name: &str| {
        let to = dir.path().join(name);
        write(&c, &ready(c.export(Layout::Same)).unwrap(), &to);
        to
    };
    let state = |path: &std::path::Path| {
        let c = Checkpoint::open(path).unwrap();
        (ready(c.sha256()).unwrap(), ready(c.state_sum()).unwrap())
    };
    let (a, b) = (write_to("a"), write_to("b"));
    assert_eq!(state(&a), state(&b), "where a model lies does not matter");
    let before = state(&b);
    for (file, from, to) in
        [("vae/config.json", "\"scaling_factor\": ", "\"scaling_factor\": 1"), ("tokenizer/vocab.json", "{", "{ ")]
    {
        let path = b.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let now = state(&b);
        assert!(now.0 == before.0 && now.1 != before.1, "{file}");
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(state(&b), before);
}

/// A pipe in the place of a file is refused, not waited for.
#[test]
#[cfg(unix)]
fn a_pipe_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    let e = Adapter::open(&path).err().unwrap();
    assert!(e.is_user_fault() && e.to_string().contains("a pipe or a device where a file was expected"), "{e}");
}

/// A U-Net alone as ComfyUI saves it, and what is said of the noise of files that have none.
#[test]
fn parts_of_models_open_under_the_names_of_every_tool() {
    let mut tensors = ldm("sd1_tiny");
    tensors.retain_mut(|(s, _)| match s.name.strip_prefix("model.") {
        Some(rest) => {
            s.name = rest.to_owned();
            true
        }
        None => false,
    });
    assert!(tensors.iter().all(|(s, _)| s.name.starts_with("diffusion_model.")));
    let c = open(tensors).unwrap();
    c.validate().unwrap();
    assert!(c.unet.is_some() && c.vae.is_none() && c.unused().is_empty());
    assert!(c.evidence.iter().any(|e| e.about == "prediction"));
    let mut tensors = ldm("sd1_tiny");
    tensors.retain(|(s, _)| s.name.starts_with("first_stage_model."));
    let c = open(tensors).unwrap();
    assert!(c.vae.is_some() && c.evidence.iter().all(|e| e.about != "prediction"), "{:?}", c.evidence);
}

/// Adapters of other networks are called what they are.
#[test]
fn adapters_of_other_networks_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let shape: &[usize] = &[8, 8];
    for (name, words) in [
        ("lora_unet_double_blocks_0_img_attn_qkv", "FLUX"),
        ("diffusion_model.blocks.0.self_attn.q", "Wan"),
        ("lora_prior_unet_down_blocks_0_0_channelwise_0", "Stable Cascade"),
        ("down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.processor.to_q", "AnimateDiff"),
    ] {
        let fit = ready(Adapter::load(bundle(lora(&[(name, shape)], &[]), &[]))).unwrap().fit(&base);
        assert!(fit.cause.as_ref().is_some_and(|c| c.contains(words)), "{name}: {:?}", fit.cause);
    }
    let mut ip = Tensors::new();
    more(&mut ip, "image_proj.proj.weight", DType::F16, &[4, 4]);
    more(&mut ip, "ip_adapter.1.to_k_ip.weight", DType::F16, &[4, 4]);
    let e = ready(Adapter::load(bundle(ip, &[]))).err().unwrap().to_string();
    assert!(e.contains("this is an IP-Adapter"), "{e}");
}
