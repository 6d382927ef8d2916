//! Self-attention guidance: away from the estimate blurred where the network looks.

use super::{Branch, Guidance, Step, Value, sum};
use crate::{Info, Knob, Result};

/// Hong et al. 2022, equation 25; diffusers' StableDiffusionSAGPipeline. Costs one evaluation more.
pub struct Sag;

/// Strength.
pub const SCALE: Knob = Knob::number("sag_scale", "SAG", 0.0, 5.0, 0.0, "strength; 0 is off, 0.75 is usual");
const BLUR: Knob = Knob::number("sag_blur", "SAG blur", 0.1, 10.0, 1.0, "standard deviation of the blur in cells");

impl Guidance for Sag {
    fn info(&self) -> Info {
        Info {
            name: "sag",
            label: "Self-attention guidance",
            citation: "Hong et al. 2022, arXiv 2210.00939; diffusers StableDiffusionSAGPipeline",
            knobs: &[SCALE, BLUR],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        let scale = knobs.get(&SCALE);
        if scale > 0.0 {
            // The unconditional branch where there is one, else the conditional.
            let of = step.branches.iter().position(|b| *b == Branch::Uncond).unwrap_or(0);
            let degraded = step.branch(Branch::Degraded { of, sigma: knobs.get(&BLUR) });
            let away = sum(&[(&[(Value::Branch(of), 1.0)], 1.0), (&[(degraded, 1.0)], -1.0)]);
            step.add(&away, scale);
        }
        Ok(())
    }
}
