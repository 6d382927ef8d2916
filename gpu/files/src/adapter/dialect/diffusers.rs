//! diffusers' `save_lora_weights`: the component and the path; before 0.20 through attention processors
//! (`attn1.processor.to_q_lora`). What else has dots: ComfyUI's `diffusion_model.` with the original code's paths and its `text_encoders.`, and
//! OMI's names (`unet.` with the original code's paths, `clip_l.`, `clip_g.`), which OneTrainer writes.

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
            for encoder in encoders(m.component) {
                put(format!("{encoder}.{path}"));
                put(format!("text_encoders.{encoder}.transformer.{path}"));
            }
            // diffusers before 0.14 gave the text encoder's projections the U-Net's names.
            if let Some((attention, ours)) = path.rsplit_once('.')
                && let Some((_, old)) = OLD_PROJECTIONS.iter().find(|(name, _)| *name == ours)
            {
                put(format!("{}.{attention}.{old}", m.component));
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
            put(format!("unet.{ldm}"));
            put(format!("diffusion_model.{ldm}"));
            put(format!("model.diffusion_model.{ldm}"));
        }
    }
}

/// What the text encoder of a component is called by its kind: CLIP L (SD 1, SDXL's first), OpenCLIP H (SD 2), OpenCLIP bigG (SDXL's second).
fn encoders(component: &str) -> &'static [&'static str] {
    match component {
        "text_encoder" => &["clip_l", "clip_h"],
        "text_encoder_2" => &["clip_g"],
        _ => &[],
    }
}

/// Projections of CLIP's attention, and what they were called once.
const OLD_PROJECTIONS: [(&str, &str); 4] =
    [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")];
