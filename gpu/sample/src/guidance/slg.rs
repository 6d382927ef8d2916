//! Skip-layer guidance: away from a picture made without some transformer blocks.

use super::{Branch, Guidance, Perturbation, Place, Step};
use crate::{Info, Knob, Result};

/// Stability AI 2024 and Hyung et al. 2024 (STG), with whole blocks left out; diffusers' SkipLayerGuidance. Costs one evaluation more.
pub struct Slg;

/// Strength.
pub const SCALE: Knob = Knob::number("slg_scale", "SLG", 0.0, 20.0, 0.0, "strength; 0 is off, 2.8 is usual");
const LAYERS: Knob = Knob::text(
    "slg_layers",
    "SLG blocks",
    "blocks left out: mid (the default), down.2, up.0.1 and so on, separated by commas",
);
const START: Knob = Knob::number("slg_start", "SLG from", 0.0, 1.0, 0.01, "share of the steps before it begins");
const STOP: Knob = Knob::number("slg_stop", "SLG to", 0.0, 1.0, 0.2, "share of the steps after which it ends");

impl Guidance for Slg {
    fn info(&self) -> Info {
        Info {
            name: "slg",
            label: "Skip-layer guidance",
            citation: "Hyung et al. 2024, arXiv 2411.18664; diffusers SkipLayerGuidance",
            knobs: &[SCALE, LAYERS, START, STOP],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        let places = Place::list(&LAYERS, knobs.text(&LAYERS))?;
        if knobs.get(&SCALE) > 0.0 && step.is_within(knobs.get(&START), knobs.get(&STOP)) {
            step.push_away(Branch::Perturbed(Perturbation::Skipped(places)), knobs.get(&SCALE));
        }
        Ok(())
    }
}
