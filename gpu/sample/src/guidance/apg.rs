//! Adaptive projected guidance: guidance without what it adds along the conditional estimate.

use super::{Guidance, GuideOp, Step, Value, alone, sum};
use crate::{Info, Knob, Result};

/// Sadat et al. 2024, on the clean estimates as the paper does it; diffusers' AdaptiveProjectedGuidance has the same formula.
pub struct Apg;

const ON: Knob = Knob::choice(
    "apg",
    "APG",
    &["off", "on"],
    "projected guidance in place of plain CFG: high scales without burnt colours",
);
const ETA: Knob = Knob::number(
    "apg_eta",
    "Parallel part",
    0.0,
    2.0,
    0.0,
    "how much of the part along the conditional estimate stays; 1 is all",
);
const RADIUS: Knob =
    Knob::number("apg_norm", "Longest update", 0.0, 500.0, 15.0, "norm to which an update is shortened; 0 leaves it");
const MOMENTUM: Knob = Knob::number(
    "apg_momentum",
    "Momentum",
    -1.0,
    1.0,
    -0.5,
    "share of the updates before; negative pushes away from them",
);

/// The running sum of updates.
const AVERAGE: Value = Value::Kept(1);

impl Guidance for Apg {
    fn info(&self) -> Info {
        Info {
            name: "apg",
            label: "Adaptive projected guidance",
            citation: "Sadat et al. 2024, arXiv 2410.02416; diffusers AdaptiveProjectedGuidance",
            knobs: &[ON, ETA, RADIUS, MOMENTUM],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        if knobs.get(&ON) == 0.0 || !step.is_guided() {
            return Ok(());
        }
        alone(step, "apg")?;
        let (cond, uncond) = (step.clean(&step.cond), step.clean(&step.unconditional()));
        let mut update = sum(&[(&cond, 1.0), (&uncond, -1.0)]);
        let momentum = knobs.get(&MOMENTUM);
        if momentum != 0.0 {
            // Kept values begin as zero.
            let terms = sum(&[(&update, 1.0), (&[(AVERAGE, 1.0)], momentum)]);
            step.ops.push(GuideOp::Combine { dst: AVERAGE, terms });
            update = vec![(AVERAGE, 1.0)];
        }
        let (x, radius) = (step.own(&update), knobs.get(&RADIUS));
        if radius > 0.0 {
            step.ops.push(GuideOp::Shorten { x, radius });
        }
        let (b, dst) = (step.hold(&cond), step.temp());
        step.ops.push(GuideOp::Project { dst, a: x, b, keep: 1.0, along: knobs.get(&ETA) - 1.0, eps: 0.0 });
        let guided = sum(&[(&cond, 1.0), (&[(dst, 1.0)], step.scale - 1.0)]);
        step.guided = Some(step.prediction(&guided));
        Ok(())
    }
}
