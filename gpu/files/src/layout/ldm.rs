//! The names of single-file ("ldm", CompVis) checkpoints of the U-Net and the autoencoder, in both directions.
//!
//! The U-Net's blocks are numbered flatly there (`input_blocks.4.1`), so the map depends on how many blocks a level has;
//! it is derived from a configuration when writing, and from the keys themselves when reading.

use crate::config::{UNetConfig, VaeConfig};
use std::collections::{HashMap, HashSet};

/// Prefix of the U-Net's keys.
pub const UNET: &str = "model.diffusion_model.";
/// Prefix of the autoencoder's keys.
pub const VAE: &str = "first_stage_model.";
/// Prefix of the text encoder's keys where it is OpenAI's CLIP (Stable Diffusion 1).
pub const CLIP: &str = "cond_stage_model.transformer.";
/// Prefix of the text encoder's keys where it is OpenCLIP's (Stable Diffusion 2).
pub const OPEN_CLIP: &str = "cond_stage_model.model.";
/// Prefix of SDXL's first text encoder.
pub const SDXL_CLIP: &str = "conditioner.embedders.0.transformer.";
/// Prefix of SDXL's second text encoder.
pub const SDXL_OPEN_CLIP: &str = "conditioner.embedders.1.model.";

/// Prefix of the text encoder of SDXL's refiner, which has the second one alone.
pub const REFINER_OPEN_CLIP: &str = "conditioner.embedders.0.model.";

/// A two-way map between module names; a key is mapped by the longest module name it begins with.
#[derive(Clone, Debug, Default)]
pub struct Renames {
    to_ldm: HashMap<String, String>,
    to_canonical: HashMap<String, String>,
}

impl Renames {
    fn pair(&mut self, canonical: impl Into<String>, ldm: impl Into<String>) {
        let (canonical, ldm) = (canonical.into(), ldm.into());
        self.to_canonical.insert(ldm.clone(), canonical.clone());
        self.to_ldm.insert(canonical, ldm);
    }

    /// The ldm key of a canonical key, both without component prefixes.
    pub fn ldm(&self, canonical: &str) -> Option<String> {
        longest(&self.to_ldm, canonical)
    }

    /// The canonical key of an ldm key, both without component prefixes.
    pub fn canonical(&self, ldm: &str) -> Option<String> {
        longest(&self.to_canonical, ldm)
    }
}

fn longest(map: &HashMap<String, String>, key: &str) -> Option<String> {
    let mut end = key.len();
    while let Some(dot) = key.get(..end)?.rfind('.') {
        if let Some(to) = map.get(&key[..dot]) {
            return Some(format!("{to}{}", &key[dot..]));
        }
        end = dot;
    }
    None
}

/// One level of the U-Net, going down or coming up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    resnets: usize,
    attention: bool,
    resampled: bool,
}

/// How many blocks of which kind the U-Net has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UNetBlocks {
    down: Vec<Level>,
    up: Vec<Level>,
    mid_attention: bool,
}

impl UNetBlocks {
    /// As the configuration says.
    pub fn of(c: &UNetConfig) -> Self {
        let levels = c.levels();
        let level = |resnets, attention, i: usize| Level { resnets, attention, resampled: i + 1 < levels };
        UNetBlocks {
            down: (0..levels).map(|i| level(c.layers(i), c.down_has_attention(i), i)).collect(),
            up: (0..levels).map(|i| level(c.layers(levels - 1 - i) + 1, c.up_has_attention(i), i)).collect(),
            mid_attention: c.mid_has_attention(),
        }
    }

    /// As the keys show (without [`UNET`]); none if they are not a U-Net's.
    pub fn from_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        // All that matters is which modules exist, down to three levels: `input_blocks.4.1`.
        let mut modules = HashSet::new();
        for key in keys {
            let mut parts = key.split('.');
            if let (Some(a), Some(b), Some(c), Some(d)) = (parts.next(), parts.next(), parts.next(), parts.next()) {
                modules.insert(format!("{a}.{b}.{c}.{d}"));
            }
        }
        let has = |name: String| modules.contains(&name);
        if !has("input_blocks.0.0.weight".into())
            || !has("out.2.weight".into()) && !has("middle_block.0.in_layers.0".into())
        {
            return None;
        }
        let walk = |side: &str, first: usize, resampler: &dyn Fn(usize) -> bool| {
            let mut levels = Vec::new();
            let mut level = Level { resnets: 0, attention: false, resampled: false };
            for n in first.. {
                let resnet = has(format!("{side}.{n}.0.in_layers"));
                if resnet {
                    level.resnets += 1;
                    level.attention |= has(format!("{side}.{n}.1.proj_in"));
                }
                let resampled = resampler(n);
                if resampled {
                    level.resampled = true;
                    let next = Level { resnets: 0, attention: false, resampled: false };
                    levels.push(std::mem::replace(&mut level, next));
                }
                if !resnet && !resampled {
                    break;
                }
            }
            if level.resnets > 0 {
                levels.push(level);
            }
            levels
        };
        let down = walk("input_blocks", 1, &|n| has(format!("input_blocks.{n}.0.op")));
        let up = walk("output_blocks", 0, &|n| {
            has(format!("output_blocks.{n}.1.conv")) || has(format!("output_blocks.{n}.2.conv"))
        });
        // Any of its keys: one that is missing must be missed by name.
        let mid_attention =
            ["norm.weight", "norm.bias", "proj_in.weight", "proj_in.bias", "proj_out.weight", "transformer_blocks.0"];
        let mid_attention = mid_attention.iter().any(|key| has(format!("middle_block.1.{key}")));
        (!down.is_empty() && !up.is_empty()).then_some(UNetBlocks { down, up, mid_attention })
    }

    /// The map of module names.
    pub fn renames(&self) -> Renames {
        let mut r = Renames::default();
        for (canonical, ldm) in [
            ("conv_in", "input_blocks.0.0"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("time_embedding.cond_proj", "time_embed.cond_proj"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
        ] {
            r.pair(canonical, ldm);
        }
        // diffusers' script that writes such files leaves an LCM's guidance embedding under its own name.
        r.to_canonical.insert("time_embedding.cond_proj".into(), "time_embedding.cond_proj".into());
        let mut n = 1;
        for (i, level) in self.down.iter().enumerate() {
            for j in 0..level.resnets {
                resnet(&mut r, &format!("down_blocks.{i}.resnets.{j}"), &format!("input_blocks.{n}.0"));
                if level.attention {
                    r.pair(format!("down_blocks.{i}.attentions.{j}"), format!("input_blocks.{n}.1"));
                }
                n += 1;
            }
            if level.resampled {
                r.pair(format!("down_blocks.{i}.downsamplers.0.conv"), format!("input_blocks.{n}.0.op"));
                n += 1;
            }
        }
        resnet(&mut r, "mid_block.resnets.0", "middle_block.0");
        if self.mid_attention {
            r.pair("mid_block.attentions.0", "middle_block.1");
            resnet(&mut r, "mid_block.resnets.1", "middle_block.2");
        } else {
            resnet(&mut r, "mid_block.resnets.1", "middle_block.1");
        }
        let mut n = 0;
        for (i, level) in self.up.iter().enumerate() {
            for j in 0..level.resnets {
                resnet(&mut r, &format!("up_blocks.{i}.resnets.{j}"), &format!("output_blocks.{n}.0"));
                if level.attention {
                    r.pair(format!("up_blocks.{i}.attentions.{j}"), format!("output_blocks.{n}.1"));
                }
                n += 1;
            }
            if level.resampled && n > 0 {
                // The upsampler shares the level's last block and sits behind the attention, where there is one.
                let slot = if level.attention { 2 } else { 1 };
                let ldm = format!("output_blocks.{}.{slot}.conv", n - 1);
                r.pair(format!("up_blocks.{i}.upsamplers.0.conv"), ldm);
            }
        }
        r
    }
}

fn resnet(r: &mut Renames, canonical: &str, ldm: &str) {
    for (inner, theirs) in [
        ("norm1", "in_layers.0"),
        ("conv1", "in_layers.2"),
        ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"),
        ("conv2", "out_layers.3"),
        ("conv_shortcut", "skip_connection"),
    ] {
        r.pair(format!("{canonical}.{inner}"), format!("{ldm}.{theirs}"));
    }
}

/// How many blocks the autoencoder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaeBlocks {
    encoder: [usize; 2],
    decoder: [usize; 2],
}

impl VaeBlocks {
    /// As the configuration says.
    pub fn of(c: &VaeConfig) -> Self {
        VaeBlocks { encoder: [c.levels(), c.layers_per_block], decoder: [c.levels(), c.layers_per_block + 1] }
    }

    /// As the keys show (without [`VAE`]); none if they are not an autoencoder's.
    pub fn from_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut blocks = VaeBlocks { encoder: [0; 2], decoder: [0; 2] };
        for key in keys {
            let parts: Vec<&str> = key.split('.').take(5).collect();
            let (side, level, block) = match parts[..] {
                ["encoder", "down", level, "block", block] => (&mut blocks.encoder, level, block),
                ["decoder", "up", level, "block", block] => (&mut blocks.decoder, level, block),
                _ => continue,
            };
            // A real autoencoder has a handful; more is not one, and must not make us loop for long.
            if let (Ok(level @ 0..64), Ok(block @ 0..64)) = (level.parse::<usize>(), block.parse::<usize>()) {
                side[0] = side[0].max(level + 1);
                side[1] = side[1].max(block + 1);
            }
        }
        (blocks.encoder[0] > 0 || blocks.decoder[0] > 0).then_some(blocks)
    }

    /// The map of module names.
    pub fn renames(&self) -> Renames {
        let mut r = Renames::default();
        for name in ["encoder.conv_in", "encoder.conv_out", "decoder.conv_in", "decoder.conv_out"] {
            r.pair(name, name);
        }
        for name in ["quant_conv", "post_quant_conv"] {
            r.pair(name, name);
        }
        for side in ["encoder", "decoder"] {
            r.pair(format!("{side}.conv_norm_out"), format!("{side}.norm_out"));
            for i in 0..2 {
                vae_resnet(&mut r, &format!("{side}.mid_block.resnets.{i}"), &format!("{side}.mid.block_{}", i + 1));
            }
            let (ours, theirs) = (format!("{side}.mid_block.attentions.0"), format!("{side}.mid.attn_1"));
            for (inner, their) in
                [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]
            {
                r.pair(format!("{ours}.{inner}"), format!("{theirs}.{their}"));
            }
        }
        let [levels, layers] = self.encoder;
        for i in 0..levels {
            for j in 0..layers {
                vae_resnet(
                    &mut r,
                    &format!("encoder.down_blocks.{i}.resnets.{j}"),
                    &format!("encoder.down.{i}.block.{j}"),
                );
            }
            r.pair(format!("encoder.down_blocks.{i}.downsamplers.0"), format!("encoder.down.{i}.downsample"));
        }
        let [levels, layers] = self.decoder;
        for i in 0..levels {
            // Counted from the latent's side by diffusers, from the picture's side here.
            let their = levels - 1 - i;
            for j in 0..layers {
                let ours = format!("decoder.up_blocks.{i}.resnets.{j}");
                vae_resnet(&mut r, &ours, &format!("decoder.up.{their}.block.{j}"));
            }
            r.pair(format!("decoder.up_blocks.{i}.upsamplers.0"), format!("decoder.up.{their}.upsample"));
        }
        r
    }
}

fn vae_resnet(r: &mut Renames, canonical: &str, ldm: &str) {
    for (inner, theirs) in [
        ("norm1", "norm1"),
        ("conv1", "conv1"),
        ("norm2", "norm2"),
        ("conv2", "conv2"),
        ("conv_shortcut", "nin_shortcut"),
    ] {
        r.pair(format!("{canonical}.{inner}"), format!("{ldm}.{theirs}"));
    }
}
