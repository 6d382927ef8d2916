//! diffusers' and transformers' own spellings over the years, brought to one.

use std::borrow::Cow;

/// The component of a canonical name: `unet`, `vae`, `text_encoder`, `text_encoder_2`.
pub fn component_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(component, _)| component)
}

/// Today's canonical key of a stored key within a component (without the component's prefix).
///
/// - VAE attention was `query`, `key`, `value`, `proj_attn` before diffusers 0.18.
/// - transformers 5 saves CLIPTextModel without the leading `text_model.`.
pub fn canonical_key<'a>(component: &str, key: &'a str) -> Cow<'a, str> {
    if component == "vae" {
        if let Some((before, after)) = key.split_once(".attentions.") {
            let mut parts: Vec<&str> = after.split('.').collect();
            if let [_, name, _] = &mut parts[..] {
                *name = match *name {
                    "query" => "to_q",
                    "key" => "to_k",
                    "value" => "to_v",
                    "proj_attn" => "to_out.0",
                    other => other,
                };
                return Cow::Owned(format!("{before}.attentions.{}", parts.join(".")));
            }
        }
    } else if component.starts_with("text_encoder")
        && ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|p| key.starts_with(p))
    {
        return Cow::Owned(format!("text_model.{key}"));
    }
    Cow::Borrowed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_spellings_meet() {
        for (component, old, new) in [
            ("vae", "encoder.mid_block.attentions.0.query.weight", "encoder.mid_block.attentions.0.to_q.weight"),
            ("vae", "decoder.mid_block.attentions.0.proj_attn.bias", "decoder.mid_block.attentions.0.to_out.0.bias"),
            ("vae", "decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid_block.attentions.0.to_out.0.bias"),
            ("vae", "decoder.mid_block.attentions.0.group_norm.bias", "decoder.mid_block.attentions.0.group_norm.bias"),
            ("text_encoder", "final_layer_norm.bias", "text_model.final_layer_norm.bias"),
            ("text_encoder", "text_model.final_layer_norm.bias", "text_model.final_layer_norm.bias"),
            ("text_encoder_2", "text_projection.weight", "text_projection.weight"),
            ("unet", "mid_block.attentions.0.norm.weight", "mid_block.attentions.0.norm.weight"),
        ] {
            assert_eq!(canonical_key(component, old), new);
        }
    }
}
