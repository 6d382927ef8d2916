//! Tangential damping: the unconditional branch keeps only what it shares with the conditional one.

use super::{Guidance, GuideOp, Step};
use crate::{Info, Knob, Result};

/// Kwon et al. 2025; diffusers' TangentialClassifierFreeGuidance.
pub struct Tcfg;

const ON: Knob =
    Knob::choice("tcfg", "TCFG", &["off", "on"], "projects the unconditional result on the main direction of both");

impl Guidance for Tcfg {
    fn info(&self) -> Info {
        Info {
            name: "tcfg",
            label: "Tangential CFG",
            citation: "Kwon et al. 2025, arXiv 2503.18137; diffusers TangentialClassifierFreeGuidance",
            knobs: &[ON],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        if step.ask.knobs.get(&ON) > 0.0 && step.is_guided() {
            let (cond, uncond) = (step.cond.clone(), step.unconditional());
            let (a, b, dst) = (step.hold(&cond), step.hold(&uncond), step.temp());
            step.ops.push(GuideOp::Dominant { dst, a, b });
            step.uncond = Some(vec![(dst, 1.0)]);
        }
        Ok(())
    }
}
