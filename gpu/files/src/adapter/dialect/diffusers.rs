//! diffusers' `save_lora_weights`: the component and the path; before 0.20 through attention processors
//! (`attn1.processor.to_q_lora`). ComfyUI's `diffusion_model.` with the original code's paths also has dots.

use super::{Dialect, ModelModule};

pub(super) struct Diffusers;

impl Dialect for Diffusers {
    fn id(&self) -> &'static str {
        "diffusers"
    }

    fn is(&self, module: &str) -> bool {
        module.contains('.')
    }

    fn spell(&self, m: &ModelModule<'_>, put: &mut dyn FnMut(String)) {
        for path in m.paths() {
            put(format!("{}.{path}", m.component));
            if m.component == "unet" {
                // A U-Net's own `save_attn_procs` has no component before the path.
                put(path.to_owned());
            }
            if let Some((attention, inner)) = path.rsplit_once(".to_") {
                // The old processors call the output projection `to_out`, the module list's first entry is the matrix.
                let inner = if inner == "out.0" { "out" } else { inner };
                put(format!("{}.{attention}.processor.to_{inner}", m.component));
                if m.component == "unet" {
                    put(format!("{attention}.processor.to_{inner}"));
                }
            }
        }
        if let (Some(ldm), "unet") = (m.ldm, m.component) {
            put(format!("diffusion_model.{ldm}"));
            put(format!("model.diffusion_model.{ldm}"));
        }
    }
}
