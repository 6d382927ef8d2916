//! Every tensor that a configuration implies, with its shape.

use crate::config::{TextConfig, UNetConfig, VaeConfig};
use indexmap::IndexMap;

/// Canonical names and shapes.
pub type Shapes = IndexMap<String, Vec<usize>>;

struct Tensors(Shapes);

impl Tensors {
    fn put(&mut self, name: String, shape: &[usize]) {
        self.0.insert(name, shape.to_vec());
    }

    fn linear(&mut self, name: &str, out: usize, inp: usize) {
        self.put(format!("{name}.weight"), &[out, inp]);
        self.put(format!("{name}.bias"), &[out]);
    }

    fn conv(&mut self, name: &str, out: usize, inp: usize, kernel: usize) {
        self.put(format!("{name}.weight"), &[out, inp, kernel, kernel]);
        self.put(format!("{name}.bias"), &[out]);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.put(format!("{name}.weight"), &[width]);
        self.put(format!("{name}.bias"), &[width]);
    }

    /// A residual block; `time` is the width of the time embedding, if it takes one.
    fn resnet(&mut self, name: &str, inp: usize, out: usize, time: Option<usize>) {
        self.norm(&format!("{name}.norm1"), inp);
        self.conv(&format!("{name}.conv1"), out, inp, 3);
        if let Some(time) = time {
            self.linear(&format!("{name}.time_emb_proj"), out, time);
        }
        self.norm(&format!("{name}.norm2"), out);
        self.conv(&format!("{name}.conv2"), out, out, 3);
        if inp != out {
            self.conv(&format!("{name}.conv_shortcut"), out, inp, 1);
        }
    }

    fn transformer(&mut self, name: &str, width: usize, context: usize, layers: usize, linear: bool) {
        self.norm(&format!("{name}.norm"), width);
        let project = |t: &mut Self, which: &str| {
            let name = format!("{name}.{which}");
            if linear { t.linear(&name, width, width) } else { t.conv(&name, width, width, 1) }
        };
        project(self, "proj_in");
        for i in 0..layers {
            let block = format!("{name}.transformer_blocks.{i}");
            for (attention, key_width) in [("attn1", width), ("attn2", context)] {
                self.put(format!("{block}.{attention}.to_q.weight"), &[width, width]);
                self.put(format!("{block}.{attention}.to_k.weight"), &[width, key_width]);
                self.put(format!("{block}.{attention}.to_v.weight"), &[width, key_width]);
                self.linear(&format!("{block}.{attention}.to_out.0"), width, width);
            }
            for n in 1..=3 {
                self.norm(&format!("{block}.norm{n}"), width);
            }
            self.linear(&format!("{block}.ff.net.0.proj"), 8 * width, width);
            self.linear(&format!("{block}.ff.net.2"), width, 4 * width);
        }
        project(self, "proj_out");
    }
}

/// Tensors of a U-Net, under `unet.`.
pub fn unet_tensors(c: &UNetConfig) -> Shapes {
    let mut t = Tensors(IndexMap::new());
    let widths = &c.block_out_channels;
    let (first, time, levels) = (widths[0], c.time_width(), c.levels());
    t.conv("unet.conv_in", first, c.in_channels, c.conv_in_kernel);
    t.linear("unet.time_embedding.linear_1", time, first);
    t.linear("unet.time_embedding.linear_2", time, time);
    if let Some(width) = c.time_cond_proj_dim {
        t.put("unet.time_embedding.cond_proj.weight".into(), &[first, width]);
    }
    if c.addition_embed_type.as_deref() == Some("text_time")
        && let Some(width) = c.projection_class_embeddings_input_dim
    {
        t.linear("unet.add_embedding.linear_1", time, width);
        t.linear("unet.add_embedding.linear_2", time, time);
    }
    let transformer = |t: &mut Tensors, name: String, level: usize| {
        let (width, context) = (widths[level], c.cross_attention(level));
        t.transformer(&name, width, context, c.transformer_layers(level), c.use_linear_projection);
    };
    let mut inp = first;
    for (i, &out) in widths.iter().enumerate() {
        for j in 0..c.layers(i) {
            t.resnet(&format!("unet.down_blocks.{i}.resnets.{j}"), inp, out, Some(time));
            inp = out;
            if c.down_has_attention(i) {
                transformer(&mut t, format!("unet.down_blocks.{i}.attentions.{j}"), i);
            }
        }
        if i + 1 < levels {
            t.conv(&format!("unet.down_blocks.{i}.downsamplers.0.conv"), out, out, 3);
        }
    }
    if c.mid_block_type.is_some() {
        t.resnet("unet.mid_block.resnets.0", inp, inp, Some(time));
        if c.mid_has_attention() {
            transformer(&mut t, "unet.mid_block.attentions.0".into(), levels - 1);
        }
        t.resnet("unet.mid_block.resnets.1", inp, inp, Some(time));
    }
    for i in 0..levels {
        let level = levels - 1 - i;
        let out = widths[level];
        // The skip connections come back in reverse; a level's last block meets the level above.
        let above = widths[level.saturating_sub(1)];
        let layers = c.layers(level) + 1;
        for j in 0..layers {
            let skip = if j + 1 == layers { above } else { out };
            t.resnet(&format!("unet.up_blocks.{i}.resnets.{j}"), inp + skip, out, Some(time));
            inp = out;
            if c.up_has_attention(i) {
                transformer(&mut t, format!("unet.up_blocks.{i}.attentions.{j}"), level);
            }
        }
        if i + 1 < levels {
            t.conv(&format!("unet.up_blocks.{i}.upsamplers.0.conv"), out, out, 3);
        }
    }
    t.norm("unet.conv_norm_out", first);
    t.conv("unet.conv_out", c.out_channels, first, c.conv_out_kernel);
    t.0
}

/// Tensors of an autoencoder, under `vae.`.
pub fn vae_tensors(c: &VaeConfig) -> Shapes {
    let mut t = Tensors(IndexMap::new());
    let widths = &c.block_out_channels;
    let levels = c.levels();
    let latent = c.latent_channels;
    let coded = if c.double_z { 2 * latent } else { latent };
    let mid = |t: &mut Tensors, side: &str, width: usize| {
        t.resnet(&format!("vae.{side}.mid_block.resnets.0"), width, width, None);
        if c.mid_block_add_attention {
            let name = format!("vae.{side}.mid_block.attentions.0");
            t.norm(&format!("{name}.group_norm"), width);
            for which in ["to_q", "to_k", "to_v", "to_out.0"] {
                t.linear(&format!("{name}.{which}"), width, width);
            }
        }
        t.resnet(&format!("vae.{side}.mid_block.resnets.1"), width, width, None);
    };
    let (first, last) = (widths[0], widths[levels - 1]);
    t.conv("vae.encoder.conv_in", first, c.in_channels, 3);
    let mut inp = first;
    for (i, &out) in widths.iter().enumerate() {
        for j in 0..c.layers_per_block {
            t.resnet(&format!("vae.encoder.down_blocks.{i}.resnets.{j}"), inp, out, None);
            inp = out;
        }
        if i + 1 < levels {
            t.conv(&format!("vae.encoder.down_blocks.{i}.downsamplers.0.conv"), out, out, 3);
        }
    }
    mid(&mut t, "encoder", last);
    t.norm("vae.encoder.conv_norm_out", last);
    t.conv("vae.encoder.conv_out", coded, last, 3);
    if c.use_quant_conv {
        t.conv("vae.quant_conv", coded, coded, 1);
    }
    if c.use_post_quant_conv {
        t.conv("vae.post_quant_conv", latent, latent, 1);
    }
    t.conv("vae.decoder.conv_in", last, latent, 3);
    mid(&mut t, "decoder", last);
    for i in 0..levels {
        let out = widths[levels - 1 - i];
        for j in 0..=c.layers_per_block {
            t.resnet(&format!("vae.decoder.up_blocks.{i}.resnets.{j}"), inp, out, None);
            inp = out;
        }
        if i + 1 < levels {
            t.conv(&format!("vae.decoder.up_blocks.{i}.upsamplers.0.conv"), out, out, 3);
        }
    }
    t.norm("vae.decoder.conv_norm_out", first);
    t.conv("vae.decoder.conv_out", c.out_channels, first, 3);
    t.0
}

/// Tensors of a CLIP text encoder, under `component.` (`text_encoder` or `text_encoder_2`).
pub fn text_tensors(component: &str, c: &TextConfig) -> Shapes {
    let mut t = Tensors(IndexMap::new());
    let (width, inner) = (c.hidden_size, c.intermediate_size);
    let model = format!("{component}.text_model");
    t.put(format!("{model}.embeddings.token_embedding.weight"), &[c.vocab_size, width]);
    t.put(format!("{model}.embeddings.position_embedding.weight"), &[c.max_position_embeddings, width]);
    for i in 0..c.num_hidden_layers {
        let layer = format!("{model}.encoder.layers.{i}");
        for which in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            t.linear(&format!("{layer}.self_attn.{which}"), width, width);
        }
        t.norm(&format!("{layer}.layer_norm1"), width);
        t.linear(&format!("{layer}.mlp.fc1"), inner, width);
        t.linear(&format!("{layer}.mlp.fc2"), width, inner);
        t.norm(&format!("{layer}.layer_norm2"), width);
    }
    t.norm(&format!("{model}.final_layer_norm"), width);
    if c.has_projection {
        t.put(format!("{component}.text_projection.weight"), &[c.projection_dim, width]);
    }
    t.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts every tool knows of Stable Diffusion 1.5.
    #[test]
    fn sd15_has_686_and_248_tensors() {
        let unet = UNetConfig::from_json("unet", br#"{"cross_attention_dim": 768}"#).unwrap();
        let shapes = unet_tensors(&unet);
        assert_eq!(shapes.len(), 686);
        let parameters: usize = shapes.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(parameters, 859_520_964);
        let vae = r#"{"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
            "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
        let shapes = vae_tensors(&VaeConfig::from_json("vae", vae.as_bytes()).unwrap());
        assert_eq!(shapes.len(), 248);
        let parameters: usize = shapes.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(parameters, 83_653_863);
        let text = r#"{"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}"#;
        let shapes = text_tensors("text_encoder", &TextConfig::from_json("text", text.as_bytes()).unwrap());
        assert_eq!(shapes.len(), 196);
        let parameters: usize = shapes.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(parameters, 123_060_480);
    }
}
