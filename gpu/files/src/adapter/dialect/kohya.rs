//! kohya-ss sd-scripts: `lora_unet_` or `lora_te_` and the path with underscores for dots; LyCORIS' `lycoris_`.
//! SD 1 and 2 files use diffusers' paths, SDXL files those of the original code.

use super::{Dialect, ModelModule, flat};

pub(super) struct Kohya;

impl Dialect for Kohya {
    fn id(&self) -> &'static str {
        "kohya"
    }

    fn is(&self, module: &str) -> bool {
        !module.contains('.')
            && ["lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lycoris_", "lora_"]
                .iter()
                .any(|p| module.starts_with(p))
    }

    fn spell(&self, m: &ModelModule<'_>, put: &mut dyn FnMut(String)) {
        let prefixes: &[&str] = match m.component {
            "unet" => &["lora_unet_", "lycoris_", "lycoris_unet_"],
            "text_encoder" => &["lora_te_", "lora_te1_", "lycoris_", "lycoris_te_", "lycoris_te1_"],
            "text_encoder_2" => &["lora_te2_", "lycoris_", "lycoris_te2_"],
            _ => return,
        };
        for path in m.paths().chain(m.ldm) {
            for prefix in prefixes {
                put(format!("{prefix}{}", flat(path)));
            }
        }
    }
}
