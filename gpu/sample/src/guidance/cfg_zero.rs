//! CFG-Zero*: the unconditional branch scaled to where it serves the conditional one best, and nothing done in the first steps.

use super::{Guidance, GuideOp, Step};
use crate::{Info, Knob, Result};

/// Fan et al. 2025; diffusers' ClassifierFreeZeroStarGuidance.
pub struct CfgZero;

const ON: Knob = Knob::choice(
    "cfg_zero",
    "CFG-Zero*",
    &["off", "on"],
    "scales the unconditional result by its best fit to the conditional one",
);
const INIT: Knob = Knob::number(
    "zero_init_steps",
    "Zero steps",
    0.0,
    10.0,
    0.0,
    "first steps in which the prediction is taken for zero (1 for flow models)",
);

impl Guidance for CfgZero {
    fn info(&self) -> Info {
        Info {
            name: "cfg_zero",
            label: "CFG-Zero*",
            citation: "Fan et al. 2025, arXiv 2503.18886; diffusers ClassifierFreeZeroStarGuidance",
            knobs: &[ON, INIT],
            aliases: &["cfg_zero_star"],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        if step.ask.knobs.get(&ON) == 0.0 {
            return Ok(());
        }
        if (step.ask.step as f64) < step.ask.knobs.get(&INIT).floor() {
            step.guided = Some(Vec::new());
        } else if step.is_guided() {
            let (cond, uncond) = (step.cond.clone(), step.unconditional());
            let (a, b, dst) = (step.hold(&cond), step.hold(&uncond), step.temp());
            step.ops.push(GuideOp::Project { dst, a, b, keep: 0.0, along: 1.0, eps: 1e-8 });
            step.uncond = Some(vec![(dst, 1.0)]);
        }
        Ok(())
    }
}
