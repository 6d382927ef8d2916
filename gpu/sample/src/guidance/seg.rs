//! Smoothed energy guidance: away from a picture whose attention is blurred.

use super::{Branch, Guidance, Perturbation, Place, Step};
use crate::{Info, Knob, Result};

/// Hong 2024; SusungHong/SEG-SDXL. Costs one evaluation more.
pub struct Seg;

/// Strength.
pub const SCALE: Knob = Knob::number("seg_scale", "SEG", 0.0, 20.0, 0.0, "strength; 0 is off, 3 is usual");
const BLUR: Knob = Knob::number(
    "seg_blur",
    "SEG blur",
    0.0,
    10_000.0,
    10_000.0,
    "standard deviation of the blur of queries in cells; 10000 is the same query everywhere",
);
const LAYERS: Knob =
    Knob::text("seg_layers", "SEG blocks", "where: mid (the default), down.2, up.0.1 and so on, separated by commas");

/// Blurs from here on count as infinite, as in the reference.
const INFINITE: f64 = 9999.9;

impl Guidance for Seg {
    fn info(&self) -> Info {
        Info {
            name: "seg",
            label: "Smoothed energy guidance",
            citation: "Hong 2024, arXiv 2408.00760; SusungHong/SEG-SDXL",
            knobs: &[SCALE, BLUR, LAYERS],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        let places = Place::list(&LAYERS, knobs.text(&LAYERS))?;
        let blur = knobs.get(&BLUR);
        if knobs.get(&SCALE) > 0.0 && blur > 0.0 {
            let sigma = (blur <= INFINITE).then_some(blur);
            step.push_away(Branch::Perturbed(Perturbation::Blurred(places, sigma)), knobs.get(&SCALE));
        }
        Ok(())
    }
}
