//! Blocks: the names under which recipes give parts of a model their own factor.
//!
//! A tensor lies in a chain of blocks, from the narrowest to the widest; the narrowest one that a recipe names decides.
//! `unet.down_blocks.0.attentions.1.*` lies in `unet.down.0.attentions.1`, `unet.down.0.attentions`, `unet.down.0`, `unet.down`, `unet`;
//! `text_encoder.text_model.encoder.layers.3.*` in `text.3`, `text`; `text_encoder_2.*` in `text2.3`, `text2`, `text`;
//! `vae.decoder.*` in `vae.decoder`, `vae`. The U-Net's ends are `unet.in` (conv_in), `unet.time` (time and label embeddings) and
//! `unet.out` (conv_norm_out, conv_out). A canonical tensor name, or any leading part of it up to a dot, works as well.

use crate::recipe::Blocks;

/// True for tensors of a text encoder, where `text_weight` holds.
pub fn is_text(name: &str) -> bool {
    name.starts_with("text_encoder.") || name.starts_with("text_encoder_2.")
}

/// The block that tensor `name` lies in, at its narrowest; its leading parts up to a dot are the wider blocks.
pub fn block_of(name: &str) -> String {
    let (component, rest) = name.split_once('.').unwrap_or((name, ""));
    let parts: Vec<&str> = rest.split('.').collect();
    let part = |i: usize| parts.get(i).copied().unwrap_or("");
    let inner = |prefix: &str, from: usize| match (part(from), part(from + 1)) {
        ("resnets" | "attentions" | "downsamplers" | "upsamplers", index) => {
            format!("{prefix}.{}.{index}", part(from))
        }
        _ => prefix.to_string(),
    };
    match component {
        "unet" => match part(0) {
            "down_blocks" => inner(&format!("unet.down.{}", part(1)), 2),
            "up_blocks" => inner(&format!("unet.up.{}", part(1)), 2),
            "mid_block" => inner("unet.mid", 1),
            "conv_in" => "unet.in".into(),
            "conv_norm_out" | "conv_out" => "unet.out".into(),
            _ => "unet.time".into(),
        },
        "text_encoder" | "text_encoder_2" => {
            let short = if component == "text_encoder" { "text" } else { "text2" };
            match parts.iter().position(|p| *p == "layers").map(|at| part(at + 1)) {
                Some(layer) => format!("{short}.{layer}"),
                None => short.into(),
            }
        }
        "vae" => format!("vae.{}", part(0)),
        other => other.into(),
    }
}

/// True when `prefix` is `whole` or a leading part of it up to a dot.
fn leads(prefix: &str, whole: &str) -> bool {
    whole.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// True when tensor `name` lies in `block`.
pub fn lies_in(name: &str, block: &str) -> bool {
    let narrow = block_of(name);
    leads(block, &narrow) || leads(block, name) || (block == "text" && leads("text2", &narrow))
}

/// The factor that `blocks` gives tensor `name`: that of the narrowest block it lies in, 1 where none is named.
pub fn factor(blocks: &Blocks, name: &str) -> f64 {
    let hits = blocks.iter().filter(|(block, _)| lies_in(name, block));
    hits.max_by_key(|(block, _)| block.len()).map_or(1.0, |(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_block_decides() {
        let name = "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q.weight";
        assert_eq!(block_of(name), "unet.down.0.attentions.1");
        let mut blocks = Blocks::new();
        assert_eq!(factor(&blocks, name), 1.0);
        blocks.insert("unet".into(), 0.5);
        blocks.insert("unet.down.0".into(), 0.25);
        blocks.insert("unet.down.01".into(), 9.0);
        blocks.insert("unet.up".into(), 9.0);
        assert_eq!(factor(&blocks, name), 0.25);
        assert_eq!(factor(&blocks, "unet.down_blocks.1.resnets.0.conv1.weight"), 0.5);
        assert_eq!(factor(&blocks, "vae.decoder.conv_in.weight"), 1.0);
        blocks.insert("unet.down_blocks.0.attentions.1.transformer_blocks".into(), 0.1);
        assert_eq!(factor(&blocks, name), 0.1);
    }

    #[test]
    fn ends_and_text_encoders_have_their_blocks() {
        assert_eq!(block_of("unet.conv_in.weight"), "unet.in");
        assert_eq!(block_of("unet.time_embedding.linear_1.bias"), "unet.time");
        assert_eq!(block_of("unet.mid_block.attentions.0.norm.weight"), "unet.mid.attentions.0");
        assert_eq!(block_of("unet.conv_norm_out.weight"), "unet.out");
        assert_eq!(block_of("text_encoder.text_model.encoder.layers.3.mlp.fc1.weight"), "text.3");
        assert!(lies_in("text_encoder_2.text_model.embeddings.token_embedding.weight", "text"));
        assert!(!lies_in("text_encoder.text_model.final_layer_norm.weight", "text2"));
        assert!(is_text("text_encoder_2.text_projection.weight") && !is_text("unet.conv_in.weight"));
    }
}
