//! OpenCLIP's text encoder (Stable Diffusion 2, and SDXL's second): fused projections, other names.

use super::Transform;
use crate::safetensors::TensorInfo;

/// Layers of OpenCLIP ViT-H. Stable Diffusion 2 was trained on the output of the last but one, and diffusers leaves the
/// last one out of its model (23 layers); other sizes are kept whole.
pub const VIT_H_LAYERS: usize = 24;

/// One canonical tensor of a stored OpenCLIP tensor.
pub struct Part {
    /// Key without component.
    pub key: String,
    /// Canonical shape.
    pub shape: Vec<usize>,
    /// How it comes from the stored one.
    pub transform: Transform,
}

fn part(key: impl Into<String>, info: &TensorInfo) -> Part {
    Part { key: key.into(), shape: info.shape.clone(), transform: Transform::Same }
}

/// The layer number of a key like `transformer.resblocks.3.ln_1.weight`.
pub fn layer_of(key: &str) -> Option<usize> {
    key.strip_prefix("transformer.resblocks.")?.split('.').next()?.parse().ok()
}

/// The canonical tensors that a stored one (without its prefix) holds; empty where it holds none.
pub fn parts(key: &str, info: &TensorInfo) -> Vec<Part> {
    match key {
        "positional_embedding" => return vec![part("text_model.embeddings.position_embedding.weight", info)],
        "token_embedding.weight" => return vec![part("text_model.embeddings.token_embedding.weight", info)],
        "ln_final.weight" => return vec![part("text_model.final_layer_norm.weight", info)],
        "ln_final.bias" => return vec![part("text_model.final_layer_norm.bias", info)],
        "text_projection" => {
            let [a, b] = info.shape[..] else { return Vec::new() };
            let (key, transform) = ("text_projection.weight".into(), Transform::Transpose);
            return vec![Part { key, shape: vec![b, a], transform }];
        }
        _ => {}
    }
    let Some((layer, rest)) = key.strip_prefix("transformer.resblocks.").and_then(|k| k.split_once('.')) else {
        return Vec::new();
    };
    if layer.parse::<usize>().is_err() {
        return Vec::new();
    }
    let base = format!("text_model.encoder.layers.{layer}");
    if let Some(tail) = rest.strip_prefix("attn.in_proj_")
        && (tail == "weight" || tail == "bias")
    {
        let Some((&rows, others)) = info.shape.split_first() else { return Vec::new() };
        if !rows.is_multiple_of(3) {
            return Vec::new();
        }
        let third = rows / 3;
        let split = |(i, which): (usize, &str)| Part {
            key: format!("{base}.self_attn.{which}_proj.{tail}"),
            shape: std::iter::once(third).chain(others.iter().copied()).collect(),
            transform: Transform::Rows { start: i * third, end: (i + 1) * third },
        };
        return ["q", "k", "v"].into_iter().enumerate().map(split).collect();
    }
    let Some((module, tail)) = rest.rsplit_once('.') else { return Vec::new() };
    for (theirs, ours) in MODULES {
        if module == theirs {
            return vec![part(format!("{base}.{ours}.{tail}"), info)];
        }
    }
    Vec::new()
}

const MODULES: [(&str, &str); 5] = [
    ("attn.out_proj", "self_attn.out_proj"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// The stored key of a canonical key (both without prefix); for q, k, v also which third of it (0, 1, 2).
pub fn stored_key(key: &str) -> Option<(String, Option<usize>)> {
    match key {
        "text_model.embeddings.position_embedding.weight" => return Some(("positional_embedding".into(), None)),
        "text_model.embeddings.token_embedding.weight" => return Some(("token_embedding.weight".into(), None)),
        "text_projection.weight" => return Some(("text_projection".into(), None)),
        _ => {}
    }
    if let Some(tail) = key.strip_prefix("text_model.final_layer_norm.") {
        return Some((format!("ln_final.{tail}"), None));
    }
    let (layer, rest) = key.strip_prefix("text_model.encoder.layers.")?.split_once('.')?;
    let base = format!("transformer.resblocks.{layer}");
    let (module, tail) = rest.rsplit_once('.')?;
    for (i, which) in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].iter().enumerate() {
        if module == *which {
            return Some((format!("{base}.attn.in_proj_{tail}"), Some(i)));
        }
    }
    MODULES.iter().find(|(_, ours)| module == *ours).map(|(theirs, _)| (format!("{base}.{theirs}.{tail}"), None))
}
