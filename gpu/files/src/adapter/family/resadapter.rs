//! ResAdapter: LoRA on the convolutions of the residual blocks, and whole normalisations that replace the model's (Cheng et al., arXiv
//! 2403.02084). Its normalisations have the names of ordinary weights, so they count only beside modules of another kind.

use super::{BiasUse, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};

pub(super) struct ResAdapter;

impl Family for ResAdapter {
    fn id(&self) -> &'static str {
        "resadapter"
    }

    fn label(&self) -> &'static str {
        "ResAdapter"
    }

    fn citation(&self) -> &'static str {
        "Cheng et al., ResAdapter: Domain Consistent Resolution Adapter for Diffusion Models, arXiv 2403.02084"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".weight", "weight"), (".bias", "bias")]
    }

    fn is_companion(&self) -> bool {
        true
    }

    fn claims(&self, group: &Group) -> bool {
        group.shape("weight").len() == 1 && group.slots.keys().all(|r| matches!(*r, "weight" | "bias"))
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let shape = group.need("weight")?;
        if group.has("bias") && group.shape("bias") != shape {
            return Err(format!("its weight has shape {shape:?}, its bias {:?}", group.shape("bias")));
        }
        let bias = if group.has("bias") { BiasUse::Needed } else { BiasUse::Untouched };
        Ok(Built { bias, ..Built::new(Fits::Whole(shape.to_vec()), None, 1.0) })
    }

    fn changes(&self, values: &Values, _: &Module, _: Extent) -> Result<Changes, String> {
        Ok(replacement(values))
    }
}

/// The stored weight and bias in the place of the model's.
pub(super) fn replacement(values: &Values) -> Changes {
    let replace = |role| values.get(role).map(|a| Change::Replace(a.data.clone()));
    Changes { weight: replace("weight"), bias: replace("bias") }
}
