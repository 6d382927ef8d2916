//! What a model is and how it wants to be sampled, each fact with what it was told from.
//!
//! Signals, in the order in which they are believed: what the caller says, configuration files, metadata (modelspec,
//! <https://github.com/Stability-AI/ModelSpec>; `ss_*` of kohya's sd-scripts), marker tensors (`v_pred`, `ztsnr`: a community convention),
//! shapes, and last what every published checkpoint of that shape is.

use super::{Checkpoint, ModelFamily};
use crate::config::{Prediction, UNetConfig};
use crate::error::{Error, Result};
use crate::safetensors::Index;
use indexmap::IndexMap;
use serde_json::{Value, json};

/// One fact about a model and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// `family`, `variant`, `prediction`, `zero_snr`, `clip_skip` or `text_encoder`.
    pub about: &'static str,
    /// What was found, in the words of the other fields of `inspect`.
    pub value: String,
    /// From what.
    pub because: String,
}

impl Evidence {
    pub(super) fn new(about: &'static str, value: impl Into<String>, because: impl Into<String>) -> Self {
        Evidence { about, value: value.into(), because: because.into() }
    }

    /// The object in `inspect --json`.
    pub fn to_json(&self) -> Value {
        json!({ "about": self.about, "value": self.value, "because": self.because })
    }
}

/// A fact about the noise that metadata or a marker tensor states.
type Stated<T> = Option<(T, String)>;

/// What a single file states about its prediction type.
pub(super) fn stated_prediction(index: &Index) -> Stated<Prediction> {
    let metadata = &index.metadata;
    let from = |key: &str| metadata.get(key).and_then(|v| Prediction::from_name(v)).map(|p| (p, said(metadata, key)));
    from("modelspec.prediction_type")
        .or_else(|| is_true(metadata, "ss_v_parameterization").map(|why| (Prediction::V, why)))
        .or_else(|| marker(index, "v_pred").map(|why| (Prediction::V, why)))
        .or_else(|| {
            let (key, architecture) = ("modelspec.architecture", metadata.get("modelspec.architecture")?);
            match architecture.split('/').next()? {
                a if a.ends_with("768-v") => Some((Prediction::V, said(metadata, key))),
                "stable-diffusion-v2-512" => Some((Prediction::Epsilon, said(metadata, key))),
                _ => None,
            }
        })
}

/// Why a single file's noise schedule ends in pure noise, if it says so.
pub(super) fn stated_zero_snr(index: &Index) -> Option<String> {
    marker(index, "ztsnr").or_else(|| is_true(&index.metadata, "ss_zero_terminal_snr"))
}

fn marker(index: &Index, key: &str) -> Option<String> {
    index.tensors.contains_key(key).then(|| format!("the file has a tensor named `{key}`"))
}

fn said(metadata: &IndexMap<String, String>, key: &str) -> String {
    format!("metadata `{key}` = `{}`", metadata.get(key).map_or("", String::as_str))
}

fn is_true(metadata: &IndexMap<String, String>, key: &str) -> Option<String> {
    metadata.get(key).filter(|v| v.eq_ignore_ascii_case("true") || *v == "1").map(|_| said(metadata, key))
}

/// Tensors that mark networks with EDM preconditioning: their latents and noise levels are not Stable Diffusion's.
const EDM_MARKERS: [(&str, &str); 2] = [("edm_mean", "Playground 2.5"), ("edm_vpred.sigma_max", "CosXL")];

impl Checkpoint {
    /// Refuses networks that are SDXL by shape but are sampled in another way.
    pub(super) fn check_noise(&self) -> Result<()> {
        for (key, name) in EDM_MARKERS {
            if self.extra.contains_key(key) || self.tensors.contains_key(key) {
                let what = format!("an EDM model such as {name} (it has a tensor named `{key}`)");
                return Err(Error::unsupported(&self.name, what));
            }
        }
        Ok(())
    }

    /// The class of models by shape, with the reason.
    pub(super) fn find_family(&self) -> (ModelFamily, String) {
        let Some(unet) = &self.unet else { return (ModelFamily::Other, "it has no U-Net".into()) };
        let text = unet.cross_attention_dim.last().copied().unwrap_or(0);
        let reads = format!("its cross-attention reads {text} features");
        if unet.addition_embed_type.as_deref() == Some("text_time") {
            let width = unet.projection_class_embeddings_input_dim.unwrap_or(0);
            return (
                ModelFamily::Sdxl,
                format!("the U-Net has an added embedding of {width} features (pooled text and sizes), {reads}"),
            );
        }
        if unet.use_linear_projection {
            return (ModelFamily::Sd2, format!("the U-Net's attention blocks are entered by matrices, {reads}"));
        }
        (ModelFamily::Sd1, format!("the U-Net's attention blocks are entered by 1x1 convolutions, {reads}"))
    }

    /// Refuses a family that the U-Net cannot be of.
    pub(super) fn check_family(&self, family: ModelFamily) -> Result<()> {
        let Some(unet) = &self.unet else { return Ok(()) };
        let is_xl = unet.addition_embed_type.as_deref() == Some("text_time");
        if is_xl == (family == ModelFamily::Sdxl) {
            return Ok(());
        }
        let has = if is_xl { "has" } else { "lacks" };
        let why =
            format!("it cannot be {}: its U-Net {has} SDXL's added embedding of pooled text and sizes", family.label());
        Err(Error::Mismatch { file: self.name.clone(), why })
    }

    /// Layer of the text encoder that sampling reads by default, counted from the end, with the reason.
    pub(super) fn find_clip_skip(&self) -> (usize, String) {
        if self.family == ModelFamily::Sdxl {
            return (
                2,
                "SDXL was trained on the last layer but one of both text encoders, without the final norm".into(),
            );
        }
        let key = "ss_clip_skip";
        if let Some(skip) = self.metadata.get(key).and_then(|v| v.parse().ok()).filter(|n| (1..=12).contains(n)) {
            return (skip, said(&self.metadata, key));
        }
        if self.family == ModelFamily::Sd2 {
            let layers = self.text_encoder.as_ref().map_or(0, |t| t.num_hidden_layers);
            return (1, format!("the text encoder's {layers} layers end where Stable Diffusion 2 reads it"));
        }
        (1, "Stable Diffusion 1 was trained on the last layer; nothing says otherwise".into())
    }

    /// Evidence that does not depend on how the file was read.
    pub(super) fn more_evidence(&self, family: String, clip_skip: String) -> Vec<Evidence> {
        let mut all = vec![Evidence::new("family", self.family.id(), family)];
        if let Some(architecture) = self.metadata.get("modelspec.architecture") {
            let fits = match self.family {
                ModelFamily::Sd1 => architecture.contains("-v1"),
                ModelFamily::Sd2 => architecture.contains("-v2"),
                ModelFamily::Sdxl => architecture.contains("-xl"),
                ModelFamily::Other => true,
            };
            let value = if fits { self.family.id() } else { "contradicts the tensors" };
            all.push(Evidence::new("family", value, said(&self.metadata, "modelspec.architecture")));
        }
        if self.is_refiner() {
            let because = "SDXL's second text encoder is there without the first";
            all.push(Evidence::new("variant", "refiner", because));
        }
        if let Some((value, because)) = self.unet.as_ref().and_then(variant) {
            all.push(Evidence::new("variant", value, because));
        }
        if self.text_encoder.is_some() || self.text_encoder_2.is_some() {
            all.push(Evidence::new("clip_skip", self.clip_skip.to_string(), clip_skip));
        }
        for (name, config) in [("text_encoder", &self.text_encoder), ("text_encoder_2", &self.text_encoder_2)] {
            let Some(c) = config else { continue };
            let prefix = format!("{name}.");
            let fused = self.tensors.iter().any(|(k, t)| k.starts_with(&prefix) && t.key.contains(".in_proj_"));
            let layout = if fused { "OpenCLIP's names, q, k and v fused" } else { "transformers' names" };
            let size = format!("{} layers of width {}, {}", c.num_hidden_layers, c.hidden_size, c.hidden_act);
            let pooled = if c.has_projection { ", with a text projection" } else { "" };
            all.push(Evidence::new("text_encoder", format!("{name}: {layout}"), format!("{size}{pooled}")));
        }
        all
    }
}

/// What sets a U-Net apart from its family's base model.
fn variant(unet: &UNetConfig) -> Option<(&'static str, String)> {
    let channels = format!("the U-Net's first convolution reads {} channels", unet.in_channels);
    match unet.in_channels.checked_sub(unet.out_channels) {
        Some(5) => return Some(("inpainting", channels)),
        Some(4) => return Some(("pix2pix", channels)),
        _ => {}
    }
    if let Some(width) = unet.time_cond_proj_dim {
        return Some(("lcm", format!("`time_embedding.cond_proj` reads the guidance scale in {width} features")));
    }
    None
}
