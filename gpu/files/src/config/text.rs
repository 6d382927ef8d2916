//! `text_encoder/config.json` of transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`.

use super::Fields;
use super::fields::{check_depth, parse_object};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// CLIP's text transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Name of the file it came from, for errors.
    pub file: String,
    /// Width.
    pub hidden_size: usize,
    /// Width inside each MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// `quick_gelu` (OpenAI) or `gelu` (OpenCLIP).
    pub hidden_act: String,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// Tokens per prompt.
    pub max_position_embeddings: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Width of the pooled projection.
    pub projection_dim: usize,
    /// Whether a pooled projection is part of the model (`CLIPTextModelWithProjection`).
    pub has_projection: bool,
    /// First token.
    pub bos_token_id: usize,
    /// Last token. The old value 2 is a mistake that transformers keeps: then the pooled token is the largest id.
    pub eos_token_id: usize,
    /// Padding token of the model's own configuration (the tokenizer's goes before it).
    pub pad_token_id: usize,
}

impl TextConfig {
    /// Reads the JSON text of a configuration; `file` names it in errors.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        Self::from_map(file, &parse_object(file, text)?)
    }

    /// Reads a parsed configuration, either flat or with the fields inside `text_config`.
    pub fn from_map(file: &str, outer: &Map<String, Value>) -> Result<Self> {
        let map = match outer.get("text_config").filter(|v| !v.is_null()) {
            Some(Value::Object(inner)) => inner,
            Some(other) => return Err(Fields::new(file, outer).wrong("text_config", other, "an object")),
            None => outer,
        };
        let outer = Fields::new(file, outer);
        let f = Fields::new(file, map);
        let class = outer.strings("architectures", &["CLIPTextModel"])?.into_iter().next();
        let class = class.unwrap_or_else(|| "CLIPTextModel".to_owned());
        if !matches!(class.as_str(), "CLIPTextModel" | "CLIPTextModelWithProjection" | "CLIPModel") {
            return Err(Error::unsupported(file, format!("the text encoder `{class}` (CLIPTextModel is)")));
        }
        let config = TextConfig {
            file: file.to_owned(),
            hidden_size: f.size("hidden_size", 512)?,
            intermediate_size: f.size("intermediate_size", 2048)?,
            num_hidden_layers: f.size("num_hidden_layers", 12)?,
            num_attention_heads: f.size("num_attention_heads", 8)?,
            hidden_act: f.string("hidden_act", "quick_gelu")?,
            layer_norm_eps: f.f64("layer_norm_eps", 1e-5)?,
            max_position_embeddings: f.size("max_position_embeddings", 77)?,
            vocab_size: f.size("vocab_size", 49408)?,
            projection_dim: f.size("projection_dim", 512)?,
            has_projection: class == "CLIPTextModelWithProjection",
            bos_token_id: f.usize("bos_token_id", 49406)?,
            eos_token_id: f.usize("eos_token_id", 49407)?,
            pad_token_id: f.usize("pad_token_id", 1)?,
        };
        check_depth(file, config.num_hidden_layers, "`num_hidden_layers`")?;
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let why = format!(
                "`hidden_size` = {} does not divide into `num_attention_heads` = {}",
                config.hidden_size, config.num_attention_heads
            );
            return Err(Error::config(file, why));
        }
        Ok(config)
    }

    /// Names the first thing in this configuration that the engine cannot compute.
    pub fn check_supported(&self) -> Result<()> {
        if !matches!(self.hidden_act.as_str(), "quick_gelu" | "gelu") {
            let what = format!("`hidden_act` = `{}` (`quick_gelu` and `gelu` are)", self.hidden_act);
            return Err(Error::unsupported(&self.file, what));
        }
        Ok(())
    }

    /// The configuration file that transformers would write for this model.
    pub fn to_json(&self) -> Value {
        let class = if self.has_projection { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
        json!({
            "architectures": [class],
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "hidden_act": self.hidden_act,
            "hidden_size": self.hidden_size,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate_size,
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": "clip_text_model",
            "num_attention_heads": self.num_attention_heads,
            "num_hidden_layers": self.num_hidden_layers,
            "pad_token_id": self.pad_token_id,
            "projection_dim": self.projection_dim,
            "vocab_size": self.vocab_size
        })
    }
}
