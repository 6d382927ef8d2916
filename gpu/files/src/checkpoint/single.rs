//! Single files: ldm names, prefixed diffusers names, or one component alone.

use super::detect;
use super::folder::{Found, component_of_config};
use super::quantised;
use super::recognised::recognise;
use super::{Checkpoint, Evidence, Format, ModelFamily, Part, TensorRef, TokenizerFiles};
use crate::bundle::Bundle;
use crate::config::{Prediction, SchedulerConfig, TextConfig};
use crate::error::{Error, Result, first_few};
use crate::layout::ldm::{self, Renames, UNetBlocks, VaeBlocks};
use crate::layout::{
    Hints, ShapeOf, Transform, VIT_H_LAYERS, as_matrix, infer_text, infer_unet, infer_vae, open_clip_layer_of,
    open_clip_parts,
};
use crate::safetensors::{Index, TensorInfo};
use serde_json::Value;
use std::sync::OnceLock;

const COMPONENTS: [&str; 4] = ["unet.", "vae.", "text_encoder.", "text_encoder_2."];

/// Prefix of a U-Net's keys in a file of its own.
const BARE_UNET: &str = "diffusion_model.";

pub(super) async fn load(bundle: Bundle) -> Result<Checkpoint> {
    let (Some((_, source)), file) = (bundle.first(), bundle.name().to_owned()) else {
        return Err(Error::NotA { file: bundle.name().into(), why: "there is no file in it".into() });
    };
    crate::safetensors::refuse_by_name(&file)?;
    let index = Index::read(source.as_ref(), &file).await?;
    let hints = Hints::from_metadata(&file, &index.metadata)?;
    let part = Part { name: file.clone(), component: String::new(), source: source.clone() };
    let mut found = Found { parts: vec![part], metadata: index.metadata.clone(), ..Found::default() };
    let mut open_clip = false;
    let format = if index.tensors.keys().any(|k| is_ldm(k)) {
        open_clip = index.tensors.keys().any(|k| k.starts_with(ldm::OPEN_CLIP));
        read_ldm(&index, &mut found);
        Format::Ldm
    } else if index.tensors.keys().any(|k| COMPONENTS.iter().any(|c| k.starts_with(c))) && !is_adapter(&index) {
        for (key, info) in index.tensors.clone() {
            match COMPONENTS.iter().find_map(|c| key.strip_prefix(c).map(|rest| (&c[..c.len() - 1], rest.to_owned()))) {
                Some((component, rest)) => {
                    let stored = key.clone();
                    found.put(component, 0, rest.clone(), info, &file)?;
                    rename_stored(&mut found, component, &rest, stored);
                }
                None => keep_extra(&mut found, key, info),
            }
        }
        Format::Prefixed
    } else {
        open_clip = is_open_clip(&index);
        read_component(&bundle, &index, &mut found).await?;
        Format::Component
    };
    if found.tensors.is_empty() {
        return Err(not_a_checkpoint(&file, &index));
    }
    quantised::refuse(&file, &index.tensors)?;
    infer(&file, &mut found, open_clip, &hints)?;
    if found.unet.is_none() && index.tensors.keys().any(|k| k.starts_with(ldm::UNET)) {
        // A VAE that such a file brings along would open; the denoiser is what people want of it.
        return Err(not_a_checkpoint(&file, &index));
    }
    let tokenizer = match index.metadata.get(TokenizerFiles::METADATA) {
        Some(text) => Some(TokenizerFiles::from_metadata(&file, text)?),
        None => None,
    };
    // As Stability AI published the refiner: an empty prompt is encoded, as any other.
    let zero_empty_negative = found.text_encoder.is_some() || found.text_encoder_2.is_none();
    let mut evidence = Vec::new();
    let (scheduler, prediction_stated) = find_scheduler(&file, &index, &found, open_clip, &hints, &mut evidence)?;
    Ok(Checkpoint {
        name: file,
        format,
        family: ModelFamily::Other,
        tensors: found.tensors,
        extra: found.extra,
        unet: found.unet,
        vae: found.vae,
        text_encoder: found.text_encoder,
        text_encoder_2: found.text_encoder_2,
        scheduler,
        prediction_stated,
        tokenizer,
        clip_skip: 1,
        evidence,
        tokenizer_2: None,
        zero_empty_negative,
        metadata: found.metadata,
        parts: found.parts,
        bundle,
        beside: OnceLock::new(),
    })
}

fn is_ldm(key: &str) -> bool {
    [ldm::UNET, ldm::VAE, ldm::CLIP, ldm::OPEN_CLIP, ldm::SDXL_CLIP, ldm::SDXL_OPEN_CLIP, ldm::REFINER_OPEN_CLIP]
        .iter()
        .any(|p| key.starts_with(p))
}

fn is_adapter(index: &Index) -> bool {
    index.tensors.keys().any(|k| crate::adapter::looks_like_adapter_key(k))
}

fn not_a_checkpoint(file: &str, index: &Index) -> Error {
    let why = if index.tensors.is_empty() {
        "there is not one tensor in it; download it again".to_owned()
    } else if is_adapter(index) {
        "this is an adapter, not a checkpoint; give it with --adapter".to_owned()
    } else if let Some(label) = recognise(index.tensors.keys().map(String::as_str)) {
        format!("this is {label}, which this program does not run")
    } else {
        let keys = first_few(index.tensors.keys().map(|k| format!("`{k}`")), 3);
        format!("no known kind of checkpoint; its keys begin with {keys}")
    };
    Error::NotA { file: file.into(), why }
}

fn keep_extra(found: &mut Found, key: String, info: TensorInfo) {
    let tensor = TensorRef { source: 0, key: key.clone(), shape: info.shape.clone(), info, transform: Transform::Same };
    found.extra.insert(key, tensor);
}

/// The reference must carry the key as the file spells it.
fn rename_stored(found: &mut Found, component: &str, rest: &str, stored: String) {
    let name = format!("{component}.{}", crate::layout::canonical_key(component, rest));
    if let Some(t) = found.tensors.get_mut(&name).or_else(|| found.extra.get_mut(&name)) {
        t.key = stored;
    }
}

fn read_ldm(index: &Index, found: &mut Found) {
    let under = |prefix: &'static str| index.tensors.keys().filter_map(move |k| k.strip_prefix(prefix));
    let unet = UNetBlocks::from_keys(under(ldm::UNET)).map(|b| b.renames());
    let vae = VaeBlocks::from_keys(under(ldm::VAE)).map(|b| b.renames());
    let layers = under(ldm::OPEN_CLIP).filter_map(open_clip_layer_of).max().map_or(0, |n| n + 1);
    for (key, info) in &index.tensors {
        let places = ldm_places(key, info, unet.as_ref(), vae.as_ref(), layers);
        let free = places.iter().all(|(name, ..)| !found.tensors.contains_key(name));
        if places.is_empty() || !free || !info.dtype.is_float() {
            keep_extra(found, key.clone(), info.clone());
            continue;
        }
        for (name, shape, transform) in places {
            let tensor = TensorRef { source: 0, key: key.clone(), info: info.clone(), shape, transform };
            found.tensors.insert(name, tensor);
        }
    }
}

/// The canonical tensors that an ldm key holds: name, shape, transform.
fn ldm_places(
    key: &str,
    info: &TensorInfo,
    unet: Option<&Renames>,
    vae: Option<&Renames>,
    open_clip_layers: usize,
) -> Vec<(String, Vec<usize>, Transform)> {
    let same = |name: String, shape: &[usize]| vec![(name, shape.to_vec(), Transform::Same)];
    if let Some(rest) = key.strip_prefix(ldm::UNET) {
        return match unet.and_then(|r| r.canonical(rest)) {
            Some(name) => same(format!("unet.{name}"), &info.shape),
            None => Vec::new(),
        };
    }
    if let Some(rest) = key.strip_prefix(ldm::VAE) {
        return match vae.and_then(|r| r.canonical(rest)) {
            // Attention matrices are 1x1 convolutions there.
            Some(name) if name.contains(".attentions.") => same(format!("vae.{name}"), as_matrix(&info.shape)),
            Some(name) => same(format!("vae.{name}"), &info.shape),
            None => Vec::new(),
        };
    }
    for (prefix, component) in [(ldm::CLIP, "text_encoder"), (ldm::SDXL_CLIP, "text_encoder")] {
        if let Some(rest) = key.strip_prefix(prefix) {
            let name = crate::layout::canonical_key(component, rest);
            return if name.starts_with("text_model.") {
                same(format!("{component}.{name}"), &info.shape)
            } else {
                Vec::new()
            };
        }
    }
    for (prefix, component, projected) in [
        (ldm::OPEN_CLIP, "text_encoder", false),
        (ldm::SDXL_OPEN_CLIP, "text_encoder_2", true),
        (ldm::REFINER_OPEN_CLIP, "text_encoder_2", true),
    ] {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let unused_last = !projected && open_clip_layers == VIT_H_LAYERS;
        if unused_last && open_clip_layer_of(rest) == Some(VIT_H_LAYERS - 1) || !projected && rest == "text_projection"
        {
            return Vec::new();
        }
        return open_clip_parts(rest, info)
            .into_iter()
            .map(|p| (format!("{component}.{}", p.key), p.shape, p.transform))
            .collect();
    }
    Vec::new()
}

/// OpenCLIP's own file: a text encoder, with a vision encoder beside it or without.
fn is_open_clip(index: &Index) -> bool {
    ["token_embedding.weight", "transformer.resblocks.0.attn.in_proj_weight"]
        .iter()
        .all(|k| index.tensors.contains_key(*k))
}

/// One component alone: told by the configuration beside it or by its keys.
async fn read_component(bundle: &Bundle, index: &Index, found: &mut Found) -> Result<()> {
    let file = bundle.name().to_owned();
    // ComfyUI saves a U-Net alone with half of the original prefix.
    let has = |key: &str| index.tensors.contains_key(key) || index.tensors.contains_key(&format!("{BARE_UNET}{key}"));
    let plain = |key: &'_ str| key.strip_prefix(BARE_UNET).unwrap_or(key).to_owned();
    if is_open_clip(index) {
        for (key, info) in &index.tensors {
            match open_clip_parts(key, info) {
                parts if parts.is_empty() || !info.dtype.is_float() => keep_extra(found, key.clone(), info.clone()),
                parts => {
                    for p in parts {
                        let tensor = TensorRef {
                            source: 0,
                            key: key.clone(),
                            info: info.clone(),
                            shape: p.shape,
                            transform: p.transform,
                        };
                        found.tensors.insert(format!("text_encoder.{}", p.key), tensor);
                    }
                }
            }
        }
        return Ok(());
    }
    let by_keys = if has("time_embedding.linear_1.weight") && has("conv_in.weight") {
        Some("unet")
    } else if has("decoder.conv_in.weight") && has("encoder.conv_in.weight") {
        Some("vae")
    } else if has("text_model.embeddings.token_embedding.weight") || has("embeddings.token_embedding.weight") {
        Some("text_encoder")
    } else if has("input_blocks.0.0.weight") && has("time_embed.0.weight") {
        Some("unet")
    } else {
        None
    };
    let Some(component) = by_keys else { return Err(not_a_checkpoint(&file, index)) };
    if let Some(text) = bundle.text("config.json").await? {
        // A configuration of something else beside the file is not this file's.
        if component_of_config("config.json", &text).is_ok_and(|c| c == component) {
            found.configure(component, &format!("config.json beside {file}"), &text)?;
        }
    }
    // An autoencoder or a U-Net on its own often keeps its ldm names.
    let keys = || index.tensors.keys().map(|k| k.strip_prefix(BARE_UNET).unwrap_or(k));
    let renames = match component {
        "vae" if keys().any(|k| k.starts_with("encoder.down.")) => VaeBlocks::from_keys(keys()).map(|b| b.renames()),
        "unet" if has("input_blocks.0.0.weight") => UNetBlocks::from_keys(keys()).map(|b| b.renames()),
        _ => None,
    };
    for (key, info) in index.tensors.clone() {
        match &renames {
            None => found.put(component, 0, key, info, &file)?,
            Some(r) => match r.canonical(&plain(&key)) {
                Some(name) => {
                    let matrix = component == "vae" && name.contains(".attentions.");
                    let shape = if matrix { as_matrix(&info.shape) } else { &info.shape }.to_vec();
                    let tensor = TensorRef { source: 0, key, info, shape, transform: Transform::Same };
                    found.tensors.insert(format!("{component}.{name}"), tensor);
                }
                None => keep_extra(found, key, info),
            },
        }
    }
    Ok(())
}

/// Fills in the configurations that no file stated.
fn infer(file: &str, found: &mut Found, open_clip: bool, hints: &Hints) -> Result<()> {
    let has = |found: &Found, component: &str| {
        let prefix = format!("{component}.");
        found.tensors.keys().any(|k| k.starts_with(&prefix))
    };
    let text = |found: &Found, component: &str, open_clip: bool| -> Result<Option<TextConfig>> {
        if !has(found, component) {
            return Ok(None);
        }
        let shape = |key: &str| found.tensors.get(&format!("{component}.{key}")).map(|t| t.shape.clone());
        infer_text(file, component, &ShapeOf(&shape), open_clip, hints).map(Some)
    };
    if found.unet.is_none() && has(found, "unet") {
        let shape = |key: &str| found.tensors.get(&format!("unet.{key}")).map(|t| t.shape.clone());
        found.unet = Some(infer_unet(file, &ShapeOf(&shape), hints)?);
    }
    if found.vae.is_none() && has(found, "vae") {
        let shape = |key: &str| {
            let t = found.tensors.get(&format!("vae.{key}"))?;
            Some(t.shape.clone())
        };
        found.vae = Some(infer_vae(file, &ShapeOf(&shape), hints)?);
        let xl = found.unet.as_ref().is_some_and(|u| u.addition_embed_type.is_some());
        let stated = hints.component("vae").is_some_and(|v| v.contains_key("scaling_factor"));
        if let Some(vae) = found.vae.as_mut().filter(|_| xl && !stated) {
            vae.scaling_factor = 0.13025;
        }
    }
    if found.text_encoder.is_none() {
        found.text_encoder = text(found, "text_encoder", open_clip)?;
    }
    if found.text_encoder_2.is_none() {
        found.text_encoder_2 = text(found, "text_encoder_2", true)?;
    }
    let stated = hints.component("unet").is_some_and(|u| u.contains_key("addition_time_embed_dim"));
    // What is left beside the pooled text is six sizes, or the refiner's four and a score.
    let numbers = if found.text_encoder.is_some() { 6 } else { 5 };
    if let (Some(unet), Some(pooled)) = (&mut found.unet, found.text_encoder_2.as_ref().map(|t| t.projection_dim))
        && let Some(rest) = unet.projection_class_embeddings_input_dim.and_then(|total| total.checked_sub(pooled))
        && rest.is_multiple_of(numbers)
        && !stated
    {
        unet.addition_time_embed_dim = Some(rest / numbers);
    }
    Ok(())
}

/// The schedule of a single file: stated in its metadata, or Stable Diffusion's own.
fn find_scheduler(
    file: &str,
    index: &Index,
    found: &Found,
    open_clip: bool,
    hints: &Hints,
    evidence: &mut Vec<Evidence>,
) -> Result<(SchedulerConfig, bool)> {
    let stated = detect::stated_prediction(index);
    // Stable Diffusion 2's keys do not tell whether it is the 512 (noise) or the 768 model (velocity). diffusers takes
    // the latter unless it is told otherwise, and so do we; `prediction_stated` says that it is a guess.
    let sd2 = open_clip && found.unet.as_ref().is_some_and(|u| u.use_linear_projection);
    let guess = if sd2 { Prediction::V } else { Prediction::Epsilon };
    let (prediction, because) = stated.clone().unwrap_or_else(|| {
        let why = if sd2 {
            "a guess: nothing tells the 768 (velocity) from the 512 model (noise) of Stable Diffusion 2; choose with --set prediction=epsilon"
        } else {
            "nothing in the file says otherwise"
        };
        (guess, why.to_owned())
    });
    let mut config = SchedulerConfig::stable_diffusion(prediction);
    let zero_snr = detect::stated_zero_snr(index);
    config.rescale_betas_zero_snr = zero_snr.is_some();
    if found.unet.as_ref().is_some_and(|u| u.addition_embed_type.is_some()) {
        // As Stability AI published SDXL.
        config.class_name = "EulerDiscreteScheduler".into();
        config.timestep_spacing = Some("leading".into());
    }
    let Some(fields) = hints.component("scheduler") else {
        evidence.push(Evidence::new("prediction", config.prediction_type.name(), because));
        evidence.extend(zero_snr.map(|why| Evidence::new("zero_snr", "true", why)));
        return Ok((config, stated.is_some()));
    };
    let mut map = match config.to_json() {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    map.extend(fields.iter().map(|(k, v)| (k.clone(), v.clone())));
    let config = SchedulerConfig::from_map(&format!("{file}, metadata `{}`", Hints::KEY), &map)?;
    let here =
        |field: &str| fields.contains_key(field).then(|| format!("metadata `{}`, `scheduler.{field}`", Hints::KEY));
    let because = here("prediction_type").unwrap_or(because);
    evidence.push(Evidence::new("prediction", config.prediction_type.name(), because));
    if config.rescale_betas_zero_snr {
        let why = here("rescale_betas_zero_snr").or(zero_snr).unwrap_or_default();
        evidence.push(Evidence::new("zero_snr", "true", why));
    }
    Ok((config, stated.is_some() || fields.contains_key("prediction_type")))
}
