//! Configurations from tensor shapes, for files that carry none. What shapes cannot tell is what every published
//! checkpoint of that class has; metadata (see [`Hints`]) goes before it.

use crate::config::{TextConfig, UNetConfig, VaeConfig};
use crate::error::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// Fields that the file's metadata state, by component: they replace what was inferred.
///
/// Read from the metadata key `admix_config`: `{"unet": {"attention_head_dim": 8}, "vae": {...}, "text_encoder": {...},
/// "scheduler": {...}}`, each in the words of diffusers' configuration files.
#[derive(Clone, Debug, Default)]
pub struct Hints(Map<String, Value>);

impl Hints {
    /// The metadata key.
    pub const KEY: &'static str = "admix_config";

    /// Reads the metadata of `file`.
    pub fn from_metadata(file: &str, metadata: &IndexMap<String, String>) -> Result<Self> {
        let Some(text) = metadata.get(Self::KEY) else { return Ok(Hints::default()) };
        let where_from = format!("{file}, metadata `{}`", Self::KEY);
        let map = crate::config::parse_object(&where_from, text.as_bytes())?;
        if let Some((component, value)) = map.iter().find(|(_, v)| !v.is_object()) {
            return Err(Error::config(where_from, format!("`{component}` is {value}; expected an object")));
        }
        Ok(Hints(map))
    }

    /// The fields stated for a component.
    pub fn component(&self, component: &str) -> Option<&Map<String, Value>> {
        self.0.get(component).and_then(Value::as_object)
    }

    fn over(&self, component: &str, inferred: Value) -> Map<String, Value> {
        let mut map = match inferred {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        if let Some(stated) = self.component(component) {
            // The two names of one thing: stating either replaces the inferred other.
            if stated.contains_key("num_attention_heads") && component == "unet" {
                map.remove("attention_head_dim");
            }
            map.extend(stated.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        map
    }
}

/// Looks a shape up by canonical name without component.
pub struct ShapeOf<'a>(pub &'a dyn Fn(&str) -> Option<Vec<usize>>);

impl ShapeOf<'_> {
    fn dim(&self, name: &str, axis: usize) -> Option<usize> {
        (self.0)(name).and_then(|s| s.get(axis).copied())
    }

    fn has(&self, name: &str) -> bool {
        (self.0)(name).is_some()
    }

    /// How many of `name(0)`, `name(1)`, ... there are.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|i| self.has(&name(*i))).count()
    }
}

/// 32 in every published model; where that cannot be, the largest power of two that divides all widths.
fn groups(widths: &[usize]) -> usize {
    [32, 16, 8, 4, 2].into_iter().find(|g| widths.iter().all(|w| w.is_multiple_of(*g))).unwrap_or(1)
}

fn missing(file: &str, what: &str) -> Error {
    Error::NotA { file: file.into(), why: format!("`{what}` is missing, so the model's shape cannot be told") }
}

/// The U-Net's configuration from its shapes.
pub fn infer_unet(file: &str, shapes: &ShapeOf<'_>, hints: &Hints) -> Result<UNetConfig> {
    let need = |name: &str, axis: usize| shapes.dim(name, axis).ok_or_else(|| missing(file, &format!("unet.{name}")));
    let levels = shapes.count(|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
    if levels == 0 {
        return Err(missing(file, "unet.down_blocks.0.resnets.0.conv1.weight"));
    }
    let mut widths = Vec::new();
    let (mut layers, mut transformer_layers) = (Vec::new(), Vec::new());
    let (mut down, mut up, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..levels {
        widths.push(need(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0)?);
        layers.push(shapes.count(|j| format!("down_blocks.{i}.resnets.{j}.conv1.weight")));
        let place = [format!("down_blocks.{i}"), format!("up_blocks.{}", levels - 1 - i), "mid_block".into()]
            .into_iter()
            .take(if i + 1 == levels { 3 } else { 2 })
            .map(|b| format!("{b}.attentions.0"))
            .find(|a| shapes.has(&format!("{a}.proj_in.weight")));
        let depth =
            place.as_ref().map_or(1, |a| shapes.count(|k| format!("{a}.transformer_blocks.{k}.attn1.to_q.weight")));
        transformer_layers.push(depth.max(1));
        contexts.push(place.and_then(|a| shapes.dim(&format!("{a}.transformer_blocks.0.attn2.to_k.weight"), 1)));
        let attends = shapes.has(&format!("down_blocks.{i}.attentions.0.proj_in.weight"));
        down.push(if attends { "CrossAttnDownBlock2D" } else { "DownBlock2D" });
        let attends = shapes.has(&format!("up_blocks.{i}.attentions.0.proj_in.weight"));
        up.push(if attends { "CrossAttnUpBlock2D" } else { "UpBlock2D" });
    }
    let any_context = contexts.iter().flatten().next().copied().unwrap_or(768);
    let contexts: Vec<usize> = contexts.into_iter().map(|c| c.unwrap_or(any_context)).collect();
    let projection = ["down_blocks.0", "down_blocks.1", "mid_block"]
        .iter()
        .find_map(|b| (shapes.0)(&format!("{b}.attentions.0.proj_in.weight")));
    let linear = projection.is_some_and(|s| s.len() == 2);
    // Stable Diffusion 1 has 8 heads everywhere; 2 and XL have heads of size 64, and linear projections.
    let heads: Vec<usize> = widths.iter().map(|w| if linear && w.is_multiple_of(64) { w / 64 } else { 8 }).collect();
    let time = need("time_embedding.linear_1.weight", 0)?;
    let addition = shapes.dim("add_embedding.linear_1.weight", 1);
    // Any of the attention's tensors: one that is missing must be missed by name.
    let attends = ["norm.weight", "proj_in.weight", "proj_out.weight"].map(|k| format!("mid_block.attentions.0.{k}"));
    let mid = match (shapes.has("mid_block.resnets.0.conv1.weight"), attends.iter().any(|k| shapes.has(k))) {
        (true, true) => json!("UNetMidBlock2DCrossAttn"),
        (true, false) => json!("UNetMidBlock2D"),
        _ => Value::Null,
    };
    let inferred = json!({
        "attention_head_dim": heads,
        "block_out_channels": widths,
        "conv_in_kernel": need("conv_in.weight", 2)?,
        "conv_out_kernel": need("conv_out.weight", 2)?,
        "cross_attention_dim": contexts,
        "down_block_types": down,
        "in_channels": need("conv_in.weight", 1)?,
        "layers_per_block": layers,
        "mid_block_type": mid,
        "norm_num_groups": groups(&widths),
        "out_channels": need("conv_out.weight", 0)?,
        "time_embedding_dim": (time != widths[0] * 4).then_some(time),
        "time_cond_proj_dim": shapes.dim("time_embedding.cond_proj.weight", 1),
        "transformer_layers_per_block": transformer_layers,
        "up_block_types": up,
        "use_linear_projection": linear,
        "addition_embed_type": addition.map(|_| "text_time"),
        "addition_time_embed_dim": addition.map(|_| 256),
        "projection_class_embeddings_input_dim": addition
    });
    UNetConfig::from_map(&format!("{file} (U-Net)"), &hints.over("unet", inferred))
}

/// The autoencoder's configuration from its shapes.
pub fn infer_vae(file: &str, shapes: &ShapeOf<'_>, hints: &Hints) -> Result<VaeConfig> {
    let need = |name: &str, axis: usize| shapes.dim(name, axis).ok_or_else(|| missing(file, &format!("vae.{name}")));
    let levels = shapes.count(|i| format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"));
    if levels == 0 {
        return Err(missing(file, "vae.encoder.down_blocks.0.resnets.0.conv1.weight"));
    }
    let widths = (0..levels)
        .map(|i| need(&format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"), 0))
        .collect::<Result<Vec<usize>>>()?;
    let inferred = json!({
        "in_channels": need("encoder.conv_in.weight", 1)?,
        "out_channels": need("decoder.conv_out.weight", 0)?,
        "layers_per_block": shapes.count(|j| format!("encoder.down_blocks.0.resnets.{j}.conv1.weight")),
        "latent_channels": need("decoder.conv_in.weight", 1)?,
        "norm_num_groups": groups(&widths),
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "use_quant_conv": shapes.has("quant_conv.weight"),
        "use_post_quant_conv": shapes.has("post_quant_conv.weight"),
        "mid_block_add_attention": shapes.has("decoder.mid_block.attentions.0.to_q.weight"),
        "block_out_channels": widths
    });
    VaeConfig::from_map(&format!("{file} (VAE)"), &hints.over("vae", inferred))
}

/// A text encoder's configuration from its shapes; `open_clip` tells the activation.
pub fn infer_text(
    file: &str,
    component: &str,
    shapes: &ShapeOf<'_>,
    open_clip: bool,
    hints: &Hints,
) -> Result<TextConfig> {
    let need =
        |name: &str, axis: usize| shapes.dim(name, axis).ok_or_else(|| missing(file, &format!("{component}.{name}")));
    let width = need("text_model.embeddings.token_embedding.weight", 1)?;
    // CLIP's heads are of size 64; a smaller encoder most likely keeps ViT-L's number.
    let heads = match width {
        w if w.is_multiple_of(64) => w / 64,
        w => [12, 8, 4, 2].into_iter().find(|h| w.is_multiple_of(*h)).unwrap_or(1),
    };
    let projection = shapes.dim("text_projection.weight", 0);
    let class = if projection.is_some() { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
    let inferred = json!({
        "architectures": [class],
        "hidden_size": width,
        "intermediate_size": need("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        "num_hidden_layers": shapes.count(|i| format!("text_model.encoder.layers.{i}.mlp.fc1.weight")),
        "num_attention_heads": heads,
        "hidden_act": if open_clip { "gelu" } else { "quick_gelu" },
        "max_position_embeddings": need("text_model.embeddings.position_embedding.weight", 0)?,
        "vocab_size": need("text_model.embeddings.token_embedding.weight", 0)?,
        "projection_dim": projection.unwrap_or(width)
    });
    TextConfig::from_map(&format!("{file} (text encoder)"), &hints.over(component, inferred))
}
