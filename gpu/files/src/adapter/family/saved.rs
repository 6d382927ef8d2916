//! Layers that peft trained and saved whole, beside what an adapter changes by factors: `modules_to_save`, and the biases of `bias="all"`. They
//! replace the model's own (peft/utils/save_and_load.py). Their keys are those of ordinary weights behind peft's prefix, so they count only beside
//! modules of another kind.

use super::resadapter::replacement;
use super::{BiasUse, Built, Family, Fits, Group, Settings, Values, WHOLE_BIAS};
use crate::adapter::Module;
use crate::adapter::change::{Changes, Extent};
use crate::adapter::dialect::PEFT_PREFIX;

pub(super) struct Saved;

impl Family for Saved {
    fn id(&self) -> &'static str {
        "saved"
    }

    fn label(&self) -> &'static str {
        "saved-layer"
    }

    fn citation(&self) -> &'static str {
        "peft's `modules_to_save` and `bias`, https://github.com/huggingface/peft, utils/save_and_load.py"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".weight", "weight"), (".bias", WHOLE_BIAS)]
    }

    fn is_companion(&self) -> bool {
        true
    }

    fn claims(&self, group: &Group) -> bool {
        !group.slots.is_empty()
            && group.slots.iter().all(|(r, s)| matches!(*r, "weight" | WHOLE_BIAS) && s.key.contains(PEFT_PREFIX))
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let (weight, bias) = (group.get("weight"), group.shape(WHOLE_BIAS));
        let rows = weight.map(|w| w.info.shape.first().copied().unwrap_or(0));
        if group.has(WHOLE_BIAS) && (bias.len() != 1 || rows.is_some_and(|rows| bias != [rows])) {
            return Err(format!("its weight has shape {:?}, its bias {bias:?}", group.shape("weight")));
        }
        let fits = match weight {
            Some(weight) => Fits::Whole(weight.info.shape.clone()),
            None => Fits::Rows(bias.iter().product()),
        };
        let bias = if group.has(WHOLE_BIAS) { BiasUse::Needed } else { BiasUse::Untouched };
        Ok(Built { bias, ..Built::new(fits, None, 1.0) })
    }

    fn changes(&self, values: &Values, _: &Module, _: Extent) -> Result<Changes, String> {
        Ok(replacement(values))
    }
}
