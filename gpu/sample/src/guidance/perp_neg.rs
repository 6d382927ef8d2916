//! Perp-Neg: only what the negative prompt says that the prompt does not.

use super::{Branch, Guidance, GuideOp, Step, alone, sum};
use crate::{Info, Knob, Result};

/// Armandpour et al. 2023; ComfyUI's PerpNegGuider. Asks the empty prompt too.
pub struct PerpNeg;

/// Weight of the negative prompt.
pub const SCALE: Knob = Knob::number(
    "perp_neg",
    "Perp-Neg",
    0.0,
    20.0,
    0.0,
    "weight of the part of the negative prompt that is orthogonal to the prompt; 0 is off",
);

impl Guidance for PerpNeg {
    fn info(&self) -> Info {
        Info {
            name: "perp_neg",
            label: "Perp-Neg",
            citation: "Armandpour et al. 2023, arXiv 2304.04968; ComfyUI PerpNegGuider",
            knobs: &[SCALE],
            aliases: &["perpneg"],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let weight = step.ask.knobs.get(&SCALE);
        if weight == 0.0 || !step.is_guided() {
            return Ok(());
        }
        alone(step, "perp_neg")?;
        let empty = vec![(step.branch(Branch::Empty), 1.0)];
        let away = |what: &super::Linear| sum(&[(what, 1.0), (&empty, -1.0)]);
        let (positive, negative) = (away(&step.cond), away(&step.unconditional()));
        let (pos, neg, dst) = (step.hold(&positive), step.hold(&negative), step.temp());
        step.ops.push(GuideOp::Project { dst, a: neg, b: pos, keep: 1.0, along: -1.0, eps: 0.0 });
        let scale = step.scale;
        step.guided = Some(sum(&[(&empty, 1.0), (&[(pos, 1.0)], scale), (&[(dst, 1.0)], -scale * weight)]));
        step.uncond = Some(empty);
        Ok(())
    }
}
