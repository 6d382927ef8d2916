//! FreeU: a stronger backbone and skips with less of their lowest frequencies.

use super::{Guidance, Step};
use crate::{Info, Knob, Result};

/// Si et al. 2023; diffusers' `enable_freeu`. Costs next to nothing.
pub struct FreeU;

const ON: Knob = Knob::choice("freeu", "FreeU", &["off", "on"], "reweighs the two deepest up blocks");
const B1: Knob =
    Knob::number("freeu_b1", "FreeU b1", 0.0, 3.0, 1.5, "factor of half the backbone's channels, deepest up block");
const B2: Knob = Knob::number("freeu_b2", "FreeU b2", 0.0, 3.0, 1.6, "the same, second up block");
const S1: Knob =
    Knob::number("freeu_s1", "FreeU s1", 0.0, 3.0, 0.9, "factor of the skips' lowest frequencies, deepest up block");
const S2: Knob = Knob::number("freeu_s2", "FreeU s2", 0.0, 3.0, 0.2, "the same, second up block");

impl Guidance for FreeU {
    fn info(&self) -> Info {
        Info {
            name: "freeu",
            label: "FreeU",
            citation: "Si et al. 2023, arXiv 2309.11497; diffusers enable_freeu",
            knobs: &[ON, B1, B2, S1, S2],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        if knobs.get(&ON) > 0.0 {
            step.inside.freeu = Some([&B1, &B2, &S1, &S2].map(|k| knobs.get(k)));
        }
        Ok(())
    }
}
