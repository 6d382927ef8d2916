//! diffusers folders: components in sub-folders, weights possibly in shards or variants; and a component's own folder.

use super::quantised;
use super::{Checkpoint, Evidence, Format, ModelFamily, OpenOptions, Part, TensorRef, TokenizerFiles};
use crate::bundle::Bundle;
use crate::config::{Fields, Prediction, SchedulerConfig, TextConfig, UNetConfig, VaeConfig, parse_object};
use crate::error::{Error, Result, first_few};
use crate::layout::{Transform, canonical_key};
use crate::safetensors::{Index, TensorInfo};
use indexmap::IndexMap;
use std::sync::OnceLock;

const COMPONENTS: [&str; 4] = ["unet", "vae", "text_encoder", "text_encoder_2"];
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// Variants to try, in this order, where there is no plain file and the caller named none.
const VARIANTS: [&str; 5] = ["fp32", "bf16", "fp16", "ema", "non_ema"];

pub(super) async fn load(bundle: Bundle, options: &OpenOptions) -> Result<Checkpoint> {
    if bundle.get("adapter_config.json").is_some() {
        let why = "this is an adapter (it has an adapter_config.json), not a checkpoint";
        return Err(Error::NotA { file: bundle.name().into(), why: why.into() });
    }
    let mut found = Found::default();
    let mut format = Format::Diffusers;
    let mut seen = false;
    for component in COMPONENTS {
        let folder = format!("{component}/");
        let weights = choose_weights(&bundle, &folder, options).await?;
        let config = bundle.text(&format!("{folder}config.json")).await?;
        match (weights, config) {
            (None, None) => {}
            (Some(files), Some(config)) => {
                seen = true;
                found.configure(component, &bundle.path_of(&format!("{folder}config.json")), &config)?;
                found.add(&bundle, component, &files).await?;
            }
            (Some(_), None) => {
                let what = bundle.path_of(&format!("{folder}config.json"));
                return Err(Error::NotFound(format!("`{what}` is missing; copy it from the model's repository")));
            }
            (None, Some(_)) => {
                let why = no_weights(&bundle, &folder, options);
                return Err(Error::NotFound(format!("`{}` has {why}", bundle.path_of(component))));
            }
        }
    }
    if !seen {
        format = Format::Component;
        load_component(&bundle, options, &mut found).await?;
    }
    let scheduler_name = "scheduler/scheduler_config.json";
    let (scheduler, prediction_stated) = match bundle.text(scheduler_name).await? {
        Some(text) => {
            let file = bundle.path_of(scheduler_name);
            let stated = parse_object(&file, &text)?.get("prediction_type").is_some_and(|v| !v.is_null());
            (SchedulerConfig::from_json(&file, &text)?, stated)
        }
        None if format == Format::Diffusers && found.unet.is_some() && bundle.get("model_index.json").is_some() => {
            let what = bundle.path_of(scheduler_name);
            return Err(Error::NotFound(format!("`{what}` is missing; copy it from the model's repository")));
        }
        None => (SchedulerConfig::stable_diffusion(Prediction::Epsilon), false),
    };
    let evidence = noise_evidence(&scheduler, prediction_stated);
    let tokenizer = read_tokenizer(&bundle, "tokenizer").await?;
    let tokenizer_2 = read_tokenizer(&bundle, "tokenizer_2").await?;
    let zero_empty_negative = match bundle.text("model_index.json").await? {
        Some(text) => {
            let file = bundle.path_of("model_index.json");
            Fields::new(&file, &parse_object(&file, &text)?).bool("force_zeros_for_empty_prompt", true)?
        }
        None => true,
    };
    Ok(Checkpoint {
        name: bundle.name().to_owned(),
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
        clip_skip: 1,
        evidence,
        tokenizer,
        tokenizer_2,
        zero_empty_negative,
        metadata: found.metadata,
        parts: found.parts,
        bundle,
        beside: OnceLock::new(),
    })
}

/// How a folder's noise is known.
fn noise_evidence(scheduler: &SchedulerConfig, stated: bool) -> Vec<Evidence> {
    let file = &scheduler.file;
    let because = match stated {
        true => format!("`prediction_type` in {file}"),
        false => format!("{file} names no `prediction_type`, which means `{}`", scheduler.prediction_type.name()),
    };
    let mut all = vec![Evidence::new("prediction", scheduler.prediction_type.name(), because)];
    if scheduler.rescale_betas_zero_snr {
        all.push(Evidence::new("zero_snr", "true", format!("`rescale_betas_zero_snr` in {file}")));
    }
    all
}

/// A folder that is itself one component (`config.json` and weights at its top).
async fn load_component(bundle: &Bundle, options: &OpenOptions, found: &mut Found) -> Result<()> {
    let config = bundle.text("config.json").await?;
    let weights = choose_weights(bundle, "", options).await?;
    let (Some(config), Some(weights)) = (config, weights) else {
        let expected = "expected unet/, vae/ and text_encoder/ with config.json and .safetensors weights";
        let here = is_here(bundle, "") || pickles_in(bundle, "").next().is_some();
        let why = match here {
            true => format!("no model is in this folder: it has {}; {expected}", no_weights(bundle, "", options)),
            false => format!("no model is in this folder: {expected}"),
        };
        return Err(Error::NotA { file: bundle.name().into(), why });
    };
    let file = bundle.path_of("config.json");
    let component = component_of_config(&file, &config)?;
    found.configure(component, &file, &config)?;
    found.add(bundle, component, &weights).await
}

/// Which component a configuration describes.
pub(super) fn component_of_config(file: &str, text: &[u8]) -> Result<&'static str> {
    let map = parse_object(file, text)?;
    let class = map.get("_class_name").or_else(|| map.get("architectures")?.get(0)).and_then(|v| v.as_str());
    match class {
        Some("UNet2DConditionModel") => Ok("unet"),
        Some("AutoencoderKL") => Ok("vae"),
        Some("CLIPTextModel" | "CLIPTextModelWithProjection") => Ok("text_encoder"),
        Some(other) => Err(Error::unsupported(file, format!("a model of class `{other}`"))),
        None => Err(Error::config(file, "it names no model class (`_class_name` or `architectures`)")),
    }
}

/// Weight files at the top of a folder of the bundle.
fn weights_in<'a>(bundle: &'a Bundle, folder: &'a str) -> impl Iterator<Item = &'a str> {
    bundle.weights().map(|(n, _)| n).filter(move |n| n.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')))
}

/// Pickles at the top of a folder of the bundle.
fn pickles_in<'a>(bundle: &'a Bundle, folder: &'a str) -> impl Iterator<Item = &'a str> {
    bundle.ignored_in(folder).filter(move |n| !n[folder.len()..].contains('/'))
}

fn is_here(bundle: &Bundle, folder: &str) -> bool {
    weights_in(bundle, folder).next().is_some() || bundle.get(&format!("{folder}config.json")).is_some()
}

/// What a component's folder has instead of weights that could be read, and what to do.
fn no_weights(bundle: &Bundle, folder: &str, options: &OpenOptions) -> String {
    if let Some(variant) = &options.variant {
        return format!("no .safetensors weights of variant `{variant}`");
    }
    let several = first_few(weights_in(bundle, folder).map(|n| n[folder.len()..].to_owned()), 3);
    if !several.is_empty() && bundle.get(&format!("{folder}config.json")).is_none() {
        return format!(
            "weights ({several}) but no config.json, which belongs beside them; copy it from the model's repository"
        );
    }
    if !several.is_empty() {
        return format!(
            "several files of weights ({several}), of which none has a known name and no .safetensors.index.json says how they belong \
             together; keep one, or download the index"
        );
    }
    let pickles = first_few(pickles_in(bundle, folder).map(str::to_owned), 3);
    if pickles.is_empty() {
        return "no .safetensors weights beside its config.json".into();
    }
    format!("only pickles ({pickles}), which run code when loaded; save the model with `safe_serialization=True`")
}

/// The weight files of a component, if it has any: one, or all the shards, named relative to the bundle.
async fn choose_weights(bundle: &Bundle, folder: &str, options: &OpenOptions) -> Result<Option<Vec<String>>> {
    let variants: Vec<Option<&str>> = match &options.variant {
        Some(v) => vec![Some(v.as_str())],
        None => std::iter::once(None).chain(VARIANTS.map(Some)).collect(),
    };
    for variant in variants {
        let v = variant.map(|v| format!(".{v}")).unwrap_or_default();
        for stem in STEMS {
            let single = format!("{folder}{stem}{v}.safetensors");
            if bundle.get(&single).is_some() {
                return Ok(Some(vec![single]));
            }
            // diffusers and transformers place the variant differently.
            for index in [
                format!("{folder}{stem}.safetensors.index{v}.json"),
                format!("{folder}{stem}{v}.safetensors.index.json"),
            ] {
                if let Some(text) = bundle.text(&index).await? {
                    return shards(bundle, folder, &index, &text).map(Some);
                }
            }
        }
    }
    if options.variant.is_some() {
        return Ok(None);
    }
    // Any lone file will do, whatever its name.
    let mut lone = weights_in(bundle, folder);
    Ok(match (lone.next(), lone.next()) {
        (Some(only), None) => Some(vec![only.to_owned()]),
        _ => None,
    })
}

/// The files that a shard index names.
fn shards(bundle: &Bundle, folder: &str, index: &str, text: &[u8]) -> Result<Vec<String>> {
    let file = bundle.path_of(index);
    let map = parse_object(&file, text)?;
    let weights = map
        .get("weight_map")
        .and_then(|v| v.as_object())
        .ok_or_else(|| Error::config(&file, "`weight_map` is missing or not an object"))?;
    let mut names: Vec<String> = Vec::new();
    for (key, shard) in weights {
        let shard = shard
            .as_str()
            .ok_or_else(|| Error::config(&file, format!("`weight_map.{key}` is {shard}; expected a file name")))?;
        let name = format!("{folder}{shard}");
        if !names.contains(&name) {
            if bundle.get(&name).is_none() {
                let what = bundle.path_of(&name);
                return Err(Error::NotFound(format!(
                    "the shard `{what}` named in {index} is missing; download it again"
                )));
            }
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Error::config(&file, "`weight_map` is empty"));
    }
    names.sort();
    Ok(names)
}

async fn read_tokenizer(bundle: &Bundle, folder: &str) -> Result<Option<TokenizerFiles>> {
    let text = async |file: &str| bundle.text(&format!("{folder}/{file}")).await;
    let files = TokenizerFiles {
        vocab: text("vocab.json").await?,
        merges: text("merges.txt").await?,
        tokenizer: text("tokenizer.json").await?,
        config: text("tokenizer_config.json").await?,
        special_tokens: text("special_tokens_map.json").await?,
    };
    let complete = files.tokenizer.is_some() || files.vocab.is_some() && files.merges.is_some();
    Ok(complete.then_some(files))
}

/// What has been gathered so far.
#[derive(Default)]
pub(super) struct Found {
    pub tensors: IndexMap<String, TensorRef>,
    pub extra: IndexMap<String, TensorRef>,
    pub unet: Option<UNetConfig>,
    pub vae: Option<VaeConfig>,
    pub text_encoder: Option<TextConfig>,
    pub text_encoder_2: Option<TextConfig>,
    pub metadata: IndexMap<String, String>,
    pub parts: Vec<Part>,
}

impl Found {
    pub fn configure(&mut self, component: &str, file: &str, text: &[u8]) -> Result<()> {
        match component {
            "unet" => self.unet = Some(UNetConfig::from_json(file, text)?),
            "vae" => self.vae = Some(VaeConfig::from_json(file, text)?),
            "text_encoder" => self.text_encoder = Some(TextConfig::from_json(file, text)?),
            _ => self.text_encoder_2 = Some(TextConfig::from_json(file, text)?),
        }
        Ok(())
    }

    async fn add(&mut self, bundle: &Bundle, component: &str, files: &[String]) -> Result<()> {
        for name in files {
            let Some(source) = bundle.get(name) else { continue };
            let path = bundle.path_of(name);
            let index = Index::read(source.as_ref(), &path).await?;
            quantised::refuse(&path, &index.tensors)?;
            let part = self.parts.len();
            self.parts.push(Part { name: name.clone(), component: component.into(), source: source.clone() });
            for (key, info) in index.tensors {
                self.put(component, part, key, info, &path)?;
            }
            for (key, value) in index.metadata {
                self.metadata.entry(key).or_insert(value);
            }
        }
        Ok(())
    }

    /// Files one stored tensor of a component under its canonical name.
    pub fn put(&mut self, component: &str, part: usize, key: String, info: TensorInfo, file: &str) -> Result<()> {
        let name = format!("{component}.{}", canonical_key(component, &key));
        let is_weight = info.dtype.is_float();
        let shape = info.shape.clone();
        let tensor = TensorRef { source: part, key, info, shape, transform: Transform::Same };
        let map = if is_weight { &mut self.tensors } else { &mut self.extra };
        if map.contains_key(&name) {
            let why = format!("the tensor `{name}` is there twice");
            return Err(Error::NotA { file: file.into(), why });
        }
        map.insert(name, tensor);
        Ok(())
    }
}
