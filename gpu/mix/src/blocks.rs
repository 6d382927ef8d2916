//! Blocks: the names under which recipes give parts of a model their own factor.
//!
//! A tensor lies in a chain of blocks, from the narrowest to the widest; the narrowest one that a recipe names decides.
//! `unet.down_blocks.0.attentions.1.*` lies in `unet.down.0.attentions.1`, `unet.down.0.attentions`, `unet.down.0`, `unet.down`, `unet`;
//! `text_encoder.text_model.encoder.layers.3.*` in `text.3`, `text`; `text_encoder_2.*` in `text2.3`, `text2`, `text`;
//! `vae.decoder.*` in `vae.decoder`, `vae`. The U-Net's ends are `unet.in` (conv_in), `unet.time` (time and label embeddings) and
//! `unet.out` (conv_norm_out, conv_out). A canonical tensor name, or any leading part of it up to a dot, works as well.
//!
//! Merge-block-weighted names work too: `BASE` (text encoders and VAE), `IN00` .. `IN11`, `M00`, `OUT00` .. `OUT11`, as wide as `unet.down.0`.
//! A name with `*` is a pattern over canonical tensor names, `IN04:attn2` one over the part of a block whose names hold `attn2` (`:attn2` of all
//! blocks): patterns go before blocks, and of several that fit the last one decides.

use crate::MixError;
use crate::recipe::Blocks;

/// The blocks of lists of 26 values (SD 1.x, SD 2), in order.
pub const MBW26: [&str; 26] = [
    "BASE", "IN00", "IN01", "IN02", "IN03", "IN04", "IN05", "IN06", "IN07", "IN08", "IN09", "IN10", "IN11", "M00",
    "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11",
];

/// Named lists of values: a shape over the 25 blocks of the U-Net, `BASE` being 0 unless the list says otherwise.
pub const PRESETS: [&str; 18] = [
    "GRAD_V",
    "GRAD_A",
    "FLAT_25",
    "FLAT_75",
    "WRAP08",
    "WRAP12",
    "WRAP14",
    "WRAP16",
    "MID12_50",
    "OUT07",
    "OUT12",
    "OUT12_5",
    "SMOOTHSTEP",
    "REVERSE-SMOOTHSTEP",
    "COSINE",
    "REVERSE_COSINE",
    "ALL_A",
    "ALL_B",
];

/// The 26 values of a named list, as SuperMerger's presets have them.
fn preset(name: &str) -> Option<Vec<f64>> {
    // Place in the U-Net from 0 to 24, 12 being the middle.
    let place = |i: usize| i as f64 / 24.0;
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    let wrap = |n: usize| move |i: usize| f64::from(u8::from(i < n || i > 24 - n));
    let shape: Box<dyn Fn(usize) -> f64> = match name {
        "GRAD_V" => Box::new(|i| (i as f64 - 12.0).abs() / 12.0),
        "GRAD_A" => Box::new(|i| 1.0 - (i as f64 - 12.0).abs() / 12.0),
        "FLAT_25" => Box::new(|_| 0.25),
        "FLAT_75" => Box::new(|_| 0.75),
        "WRAP08" => Box::new(wrap(4)),
        "WRAP12" => Box::new(wrap(6)),
        "WRAP14" => Box::new(wrap(7)),
        "WRAP16" => Box::new(wrap(8)),
        "MID12_50" => Box::new(|i| if (5..=18).contains(&i) { 0.5 } else { 0.0 }),
        "OUT07" => Box::new(|i| f64::from(u8::from(i >= 18))),
        "OUT12" => Box::new(|i| f64::from(u8::from(i >= 13))),
        "OUT12_5" => Box::new(|i| if i == 12 { 0.5 } else { f64::from(u8::from(i > 12)) }),
        "SMOOTHSTEP" => Box::new(move |i| smooth(place(i))),
        "REVERSE-SMOOTHSTEP" => Box::new(move |i| 1.0 - smooth(place(i))),
        "COSINE" => Box::new(move |i| 0.5 + 0.5 * (std::f64::consts::PI * place(i)).cos()),
        "REVERSE_COSINE" => Box::new(move |i| 0.5 - 0.5 * (std::f64::consts::PI * place(i)).cos()),
        "ALL_A" => Box::new(|_| 0.0),
        "ALL_B" => Box::new(|_| 1.0),
        _ => return None,
    };
    let base = if name == "ALL_B" { 1.0 } else { 0.0 };
    Some(std::iter::once(base).chain((0..25).map(shape)).collect())
}

/// Factors from a list of 26 values (SD 1.x, SD 2) or of 20 (SDXL). Errors: another length.
pub fn from_list(values: &[f64], place: &str) -> Result<Blocks, MixError> {
    let name = |i: usize| MBW26[i].to_string();
    match values.len() {
        26 => Ok(values.iter().enumerate().map(|(i, v)| (name(i), *v)).collect()),
        20 => {
            // BASE, IN00 to IN08, M00, OUT00 to OUT08; the end of the U-Net belongs to the last of them.
            let kept = (0..10).chain(13..23);
            let mut blocks: Blocks = kept.zip(values).map(|(i, v)| (name(i), *v)).collect();
            blocks.insert("unet.out".into(), values[19]);
            Ok(blocks)
        }
        found => Err(MixError::recipe(place, format!("{found} values; expected 26 (SD 1.x, SD 2) or 20 (SDXL)"))),
    }
}

/// Factors of a named list. Errors: an unknown name.
pub fn from_preset(name: &str, place: &str) -> Result<Blocks, MixError> {
    let unknown = || MixError::recipe(place, format!("unknown list {name}; known: {}", PRESETS.join(", ")));
    from_list(&preset(name).ok_or_else(unknown)?, place)
}

/// True for a merge-block-weighted name.
pub fn is_mbw(block: &str) -> bool {
    MBW26.contains(&block)
}

/// The merge-block-weighted block of tensor `name`. The U-Net's end is `OUT11`, where SD 1.x and SD 2 have it.
fn mbw_of(name: &str) -> Option<String> {
    let narrow = block_of(name);
    let parts: Vec<&str> = narrow.split('.').collect();
    let number = |i: usize| parts.get(i).and_then(|p| p.parse::<usize>().ok());
    match (parts[0], parts.get(1).copied().unwrap_or("")) {
        ("unet", "in" | "time") => Some("IN00".into()),
        ("unet", "mid") => Some("M00".into()),
        ("unet", "out") => Some("OUT11".into()),
        ("unet", side @ ("down" | "up")) => {
            let block = number(2)?;
            let layer = match parts.get(3) {
                Some(&("downsamplers" | "upsamplers")) => 2,
                _ => number(4)?,
            };
            Some(if side == "down" {
                format!("IN{:02}", 3 * block + layer + 1)
            } else {
                format!("OUT{:02}", 3 * block + layer)
            })
        }
        ("unet", _) => None,
        _ => Some("BASE".into()),
    }
}

/// True when `name` fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last: Option<&str> = None;
    for part in parts {
        // The last part must stand at the end: what is left is kept until it is known to be the last.
        if let Some(before) = last.replace(part) {
            match str::find(rest, before) {
                Some(at) => rest = &rest[at + before.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// True for a name that is a pattern, which goes before blocks.
fn is_pattern(block: &str) -> bool {
    block.contains(['*', ':'])
}

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

/// The block in which figures are shown: a level of the U-Net, one of its ends, a text encoder, half a VAE.
pub fn coarse(name: &str) -> String {
    let narrow = block_of(name);
    let parts: Vec<&str> = narrow.split('.').collect();
    match (parts[0], parts.get(1).copied()) {
        ("unet", Some("down" | "up")) => parts[..parts.len().min(3)].join("."),
        ("unet", Some(part)) => format!("unet.{part}"),
        ("vae", _) => narrow,
        (component, _) => component.into(),
    }
}

/// The place of a coarse block in the order of a model: text, U-Net from its input to its output, VAE.
pub fn place(block: &str) -> (usize, String) {
    const ORDER: [&str; 9] =
        ["text", "text2", "unet.time", "unet.in", "unet.down", "unet.mid", "unet.up", "unet.out", "vae"];
    (ORDER.iter().rposition(|o| leads(o, block)).unwrap_or(ORDER.len()), block.into())
}

/// True when `prefix` is `whole` or a leading part of it up to a dot.
fn leads(prefix: &str, whole: &str) -> bool {
    whole.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// True when tensor `name` lies in `block`.
pub fn lies_in(name: &str, block: &str) -> bool {
    if let Some((inside, part)) = block.split_once(':') {
        return name.contains(part) && (inside.is_empty() || lies_in(name, inside));
    }
    if block.contains('*') {
        return fits(block, name);
    }
    if is_mbw(block) {
        return mbw_of(name).as_deref() == Some(block);
    }
    let narrow = block_of(name);
    leads(block, &narrow) || leads(block, name) || (block == "text" && leads("text2", &narrow))
}

/// The factor that `blocks` gives tensor `name`: that of the last pattern that fits, else of the narrowest block it lies in, 1 where none does.
pub fn factor(blocks: &Blocks, name: &str) -> f64 {
    let hits = || blocks.iter().filter(|(block, _)| lies_in(name, block));
    // Merge-block-weighted names are short but as narrow as this one.
    let width = |block: &str| if is_mbw(block) { "unet.down.0".len() } else { block.len() };
    let pattern = hits().rfind(|(block, _)| is_pattern(block));
    let narrowest = || hits().max_by_key(|(block, _)| width(block));
    pattern.or_else(narrowest).map_or(1.0, |(_, factor)| *factor)
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
    fn lists_and_presets_name_the_blocks_of_the_u_net() {
        let values: Vec<f64> = (0..26).map(f64::from).collect();
        let blocks = from_list(&values, "blocks").expect("26 values");
        let at = |name: &str| factor(&blocks, name);
        assert_eq!(at("text_encoder.text_model.final_layer_norm.weight"), 0.0);
        assert_eq!(at("vae.decoder.conv_in.weight"), 0.0);
        assert_eq!(at("unet.time_embedding.linear_1.weight"), 1.0);
        assert_eq!(at("unet.down_blocks.0.attentions.1.norm.weight"), 3.0);
        assert_eq!(at("unet.down_blocks.1.downsamplers.0.conv.weight"), 7.0);
        assert_eq!(at("unet.down_blocks.3.resnets.1.conv1.weight"), 12.0);
        assert_eq!(at("unet.mid_block.resnets.0.conv1.weight"), 13.0);
        assert_eq!(at("unet.up_blocks.0.upsamplers.0.conv.weight"), 16.0);
        assert_eq!(at("unet.up_blocks.3.attentions.2.norm.weight"), 25.0);
        assert_eq!(at("unet.conv_out.weight"), 25.0);
        let xl = from_list(&values[..20], "blocks").expect("20 values");
        assert_eq!(factor(&xl, "unet.mid_block.resnets.0.conv1.weight"), 10.0);
        assert_eq!(factor(&xl, "unet.up_blocks.2.resnets.2.conv1.weight"), 19.0);
        assert_eq!(factor(&xl, "unet.conv_out.weight"), 19.0);
        assert!(from_list(&values[..25], "blocks").is_err());
        // SuperMerger's own numbers.
        for (name, i, value) in [
            ("GRAD_V", 2, 0.9166666667),
            ("GRAD_A", 13, 1.0),
            ("SMOOTHSTEP", 3, 0.0196759259),
            ("COSINE", 2, 0.9957224307),
        ] {
            assert!((preset(name).expect("known")[i] - value).abs() < 1e-9, "{name}");
        }
        for name in PRESETS {
            assert_eq!(preset(name).expect("every name is known").len(), 26);
        }
        assert!(from_preset("GRAD_X", "blocks").is_err_and(|e| e.to_string().contains("GRAD_V")));
    }

    #[test]
    fn of_patterns_the_last_one_decides() {
        let name = "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_q.weight";
        let mut blocks = Blocks::new();
        blocks.insert("IN02:attn2".into(), 0.3);
        blocks.insert("unet.down.0.attentions.1".into(), 0.9);
        assert_eq!(factor(&blocks, name), 0.3);
        blocks.insert("unet.*.to_q.*".into(), 0.4);
        assert_eq!(factor(&blocks, name), 0.4);
        blocks.insert("*.bias".into(), 0.1);
        assert_eq!(factor(&blocks, name), 0.4);
        assert_eq!(factor(&blocks, "unet.down_blocks.0.attentions.1.proj_in.weight"), 0.9);
        assert!(
            fits("*", name)
                && fits("unet.*weight", name)
                && !fits("vae.*", name)
                && !fits("*.to_k.*", name)
                && !fits("a*ab", "aab_")
        );
        assert!(fits("a*ab", "aab") && !fits("ab*ab", "ab"));
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
