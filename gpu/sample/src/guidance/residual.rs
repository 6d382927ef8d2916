//! Residual CFG: the unconditional branch runs once, at the start.

use super::{Ask, Branch, Guidance, GuideOp, Step, Value, sum};
use crate::{Info, Knob, Result};

/// Kodaira et al. 2023 (StreamDiffusion), onetime-negative: later steps take the first unconditional estimate of the clean latent for theirs, so
/// that guidance costs one evaluation in all.
pub struct Residual;

const MODE: Knob = Knob::choice(
    "rcfg",
    "Residual CFG",
    &["off", "onetime"],
    "onetime: the negative prompt is asked in the first step alone",
);
const DELTA: Knob = Knob::number(
    "rcfg_delta",
    "Residual strength",
    0.0,
    2.0,
    1.0,
    "factor on the noise that stands for the unconditional one",
);

/// Where the first estimate is kept.
const FIRST: Value = Value::Kept(0);

/// Whether the kept estimate stands in for the unconditional branch.
pub(super) fn stands_in(ask: &Ask<'_>) -> bool {
    ask.knobs.get(&MODE) > 0.0 && !ask.first
}

impl Guidance for Residual {
    fn info(&self) -> Info {
        Info {
            name: "rcfg",
            label: "Residual CFG",
            citation: "Kodaira et al. 2023, arXiv 2312.12491, section 3.2",
            knobs: &[MODE, DELTA],
            aliases: &["residual_cfg"],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        if step.ask.knobs.get(&MODE) == 0.0 || (step.ask.first && step.scale == 1.0 && step.ask.cfg == 1.0) {
            return Ok(());
        }
        if step.ask.first {
            // Asked whether guidance is in force yet or not: later steps need it.
            let uncond = step.branch(Branch::Uncond);
            let terms = step.clean(&vec![(uncond, 1.0)]);
            step.ops.push(GuideOp::Combine { dst: FIRST, terms });
        } else if step.is_guided() {
            // Noise delta (x - first) / sigma, as a clean estimate.
            let delta = step.ask.knobs.get(&DELTA);
            let clean = sum(&[(&[(Value::Latent, 1.0)], 1.0 - delta), (&[(FIRST, 1.0)], delta)]);
            step.uncond = Some(step.prediction(&clean));
        }
        Ok(())
    }
}
