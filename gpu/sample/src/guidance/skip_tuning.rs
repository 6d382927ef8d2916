//! Skip tuning: weaker skips, weakest at the bottom.

use super::{Guidance, Step};
use crate::{Info, Knob, Result};

/// Ma et al. 2024: skip connections multiplied by factors that go evenly from the deepest to the shallowest.
pub struct SkipTuning;

const BOTTOM: Knob = Knob::number(
    "skip_bottom",
    "Deepest skip",
    0.0,
    2.0,
    1.0,
    "factor of the deepest skip; the paper uses 0.6 to 0.9 for few steps",
);
const TOP: Knob = Knob::number("skip_top", "Shallowest skip", 0.0, 2.0, 1.0, "factor of the shallowest skip");

impl Guidance for SkipTuning {
    fn info(&self) -> Info {
        Info {
            name: "skip_tuning",
            label: "Skip tuning",
            citation: "Ma et al. 2024, arXiv 2402.15170",
            knobs: &[BOTTOM, TOP],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let ends = [&BOTTOM, &TOP].map(|k| step.ask.knobs.get(k));
        if ends != [1.0, 1.0] {
            step.inside.skips = Some(ends);
        }
        Ok(())
    }
}
