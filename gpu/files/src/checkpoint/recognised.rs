//! Files that are no Stable Diffusion checkpoint but something people have beside them: named, so that "not this" comes with "but that".

/// A kind of file by pieces of its keys: some key has one of them.
struct Kind {
    label: &'static str,
    marks: &'static [&'static str],
}

const fn kind(label: &'static str, marks: &'static [&'static str]) -> Kind {
    Kind { label, marks }
}

/// In this order: what is built from another's parts comes first.
const KINDS: &[Kind] = &[
    kind("a ControlNet", &["control_model.", "controlnet_cond_embedding.", "controlnet_down_blocks."]),
    kind("an IP-Adapter", &["ip_adapter.", "image_proj.latents", "image_proj.proj.weight"]),
    kind("a motion module (AnimateDiff)", &["motion_modules."]),
    kind("a FLUX model", &["double_blocks.", "single_transformer_blocks."]),
    kind("an SD 3 model", &["joint_blocks.", "transformer_blocks.0.norm1_context."]),
    kind("a PixArt model", &["adaln_single."]),
    kind("an AuraFlow model", &["double_layers.", "joint_transformer_blocks."]),
    kind("a Stable Cascade model", &["clip_txt_pooled_mapper.", "clip_txt_mapper."]),
    kind("a Würstchen or Kandinsky prior", &["prior.", "clip_mean"]),
    kind("a T2I-Adapter", &["adapter.body.", "body.0.resnets."]),
    kind("a preview decoder (TAESD)", &["taesd_decoder.", "decoder.layers.0."]),
    kind("an upscaler (ESRGAN or alike)", &["RRDB_trunk.", "conv_first.", "model.1.sub."]),
    kind("a vision encoder", &["vision_model.", "visual.transformer."]),
    kind("a T5 text encoder", &["SelfAttention.relative_attention_bias"]),
    kind("a language model", &["model.layers.0.", "lm_head."]),
];

/// What a file with these keys is, where that is known.
pub(crate) fn recognise<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let has = |mark: &str| keys.clone().any(|key| key.contains(mark));
    KINDS.iter().find(|kind| kind.marks.iter().any(|mark| has(mark))).map(|kind| kind.label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_files_are_named() {
        // A key of each as its authors publish it.
        for (key, words) in [
            ("control_model.input_blocks.0.0.weight", "ControlNet"),
            ("controlnet_cond_embedding.conv_in.weight", "ControlNet"),
            ("image_proj.proj.weight", "IP-Adapter"),
            ("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "AnimateDiff"),
            ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FLUX"),
            ("single_transformer_blocks.0.attn.to_q.weight", "FLUX"),
            ("model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight", "SD 3"),
            ("transformer_blocks.0.norm1_context.linear.weight", "SD 3"),
            ("adaln_single.linear.weight", "PixArt"),
            ("double_layers.0.attn.w1q.weight", "AuraFlow"),
            ("clip_txt_pooled_mapper.weight", "Cascade"),
            ("adapter.body.0.resnets.0.block1.weight", "T2I-Adapter"),
            ("taesd_decoder.1.weight", "TAESD"),
            ("RRDB_trunk.0.RDB1.conv1.weight", "upscaler"),
            ("vision_model.embeddings.class_embedding", "vision"),
            ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "T5"),
            ("model.layers.0.self_attn.q_proj.weight", "language model"),
        ] {
            let found = recognise([key].into_iter()).unwrap_or("nothing");
            assert!(found.contains(words), "{key}: {found}");
        }
        for key in ["model.diffusion_model.input_blocks.0.0.weight", "x.y", "first_stage_model.decoder.conv_in.weight"]
        {
            assert_eq!(recognise([key].into_iter()), None, "{key}");
        }
    }
}
