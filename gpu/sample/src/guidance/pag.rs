//! Perturbed-attention guidance: away from a picture without structure.

use super::{Branch, Guidance, Perturbation, Place, Step};
use crate::{Info, Knob, Result};

/// Ahn et al. 2024; diffusers' PAG pipelines. Costs one evaluation more.
pub struct Pag;

/// Strength.
pub const SCALE: Knob = Knob::number("pag_scale", "PAG", 0.0, 20.0, 0.0, "strength; 0 is off, 3 is usual");
const LAYERS: Knob = Knob::text(
    "pag_layers",
    "PAG blocks",
    "where attention is replaced: mid (the default), down.2, up.0.1 and so on, separated by commas",
);
const ADAPTIVE: Knob =
    Knob::number("pag_adaptive", "PAG fade", 0.0, 1.0, 0.0, "taken off the strength for every timestep below 1000");

impl Guidance for Pag {
    fn info(&self) -> Info {
        Info {
            name: "pag",
            label: "Perturbed-attention guidance",
            citation: "Ahn et al. 2024, arXiv 2403.17377; diffusers StableDiffusionPAGPipeline",
            knobs: &[SCALE, LAYERS, ADAPTIVE],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        let places = Place::list(&LAYERS, knobs.text(&LAYERS))?;
        let scale = (knobs.get(&SCALE) - knobs.get(&ADAPTIVE) * (1000.0 - step.ask.timestep)).max(0.0);
        if scale > 0.0 {
            step.push_away(Branch::Perturbed(Perturbation::Identity(places)), scale);
        }
        Ok(())
    }
}
