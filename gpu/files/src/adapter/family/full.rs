//! Whole differences and replacements: LyCORIS `full` (`diff`, `diff_b`), and ComfyUI's `set_weight` and `reshape_weight`
//! (<https://github.com/comfyanonymous/ComfyUI>, comfy/lora.py).

use super::{BiasUse, Built, Family, Fits, Group, RESHAPE, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};

pub(super) struct Full;

impl Family for Full {
    fn id(&self) -> &'static str {
        "full"
    }

    fn label(&self) -> &'static str {
        "full-difference"
    }

    fn citation(&self) -> &'static str {
        "LyCORIS `full`, arXiv 2309.14859; ComfyUI's `set_weight`"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".diff", "diff"), (".diff_b", "diff_b"), (".set_weight", "set_weight"), (".reshape_weight", RESHAPE)]
    }

    fn claims(&self, group: &Group) -> bool {
        ["diff", "diff_b", "set_weight"].iter().any(|r| group.has(r))
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        if group.has("diff") && group.has("set_weight") {
            return Err("it both adds to the weight and replaces it".into());
        }
        let fits = match (group.get("diff"), group.get("set_weight"), group.get("diff_b")) {
            (Some(slot), ..) | (None, Some(slot), _) => Fits::Whole(slot.info.shape.clone()),
            (None, None, Some(bias)) => Fits::Rows(bias.info.elements()),
            (None, None, None) => Fits::Any,
        };
        let bias = if group.has("diff_b") { BiasUse::Needed } else { BiasUse::Untouched };
        Ok(Built { bias, ..Built::new(fits, None, 1.0) })
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let weight = match (values.get("diff"), values.get("set_weight")) {
            (Some(diff), _) => Some(Change::Add { values: diff.data.clone(), scale: module.scale }),
            (None, Some(set)) => Some(Change::Replace(set.data.clone())),
            (None, None) => None,
        };
        // The bias is added for every family in one place.
        Ok(Changes { weight, bias: None })
    }
}
