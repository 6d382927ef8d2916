//! peft's `adapter_model.safetensors`: `base_model.model.` and the path within the model it was made on.

use super::{Dialect, ModelModule};

pub(super) struct Peft;

/// What peft puts before every path.
pub(in crate::adapter) const PREFIX: &str = "base_model.model.";

impl Dialect for Peft {
    fn id(&self) -> &'static str {
        "peft"
    }

    fn is(&self, module: &str) -> bool {
        module.contains(PREFIX)
    }

    fn spell(&self, m: &ModelModule<'_>, put: &mut dyn FnMut(String)) {
        for path in m.paths().chain(m.ldm) {
            put(format!("{PREFIX}{path}"));
            // Some trainers wrap the whole pipeline.
            put(format!("{PREFIX}{}.{path}", m.component));
            // diffusers' training scripts hand peft's names to its own `save_lora_weights`.
            put(format!("{}.{PREFIX}{path}", m.component));
        }
    }
}
