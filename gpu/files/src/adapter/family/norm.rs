//! LyCORIS `norms`: differences of a normalisation's weight and bias.

use super::{BiasUse, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};

pub(super) struct Norm;

impl Family for Norm {
    fn id(&self) -> &'static str {
        "norm"
    }

    fn label(&self) -> &'static str {
        "norm-difference"
    }

    fn citation(&self) -> &'static str {
        "LyCORIS `norms`, arXiv 2309.14859"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".w_norm", "w_norm"), (".b_norm", "b_norm")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("w_norm") || group.has("b_norm")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let lengths = ["w_norm", "b_norm"].map(|r| group.get(r).map(|s| s.info.elements()));
        let length = match lengths {
            [Some(w), Some(b)] if w != b => return Err(format!("its weight has {w} elements, its bias {b}")),
            [a, b] => a.or(b).unwrap_or(0),
        };
        let bias = if group.has("b_norm") { BiasUse::Needed } else { BiasUse::Untouched };
        Ok(Built { bias, ..Built::new(Fits::Whole(vec![length]), None, 1.0) })
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let add = |role| values.get(role).map(|a| Change::Add { values: a.data.clone(), scale: module.scale });
        Ok(Changes { weight: add("w_norm"), bias: add("b_norm") })
    }
}
