//! Dynamic thresholding: a high scale brought back to the range of a low one, channel by channel.

use super::{Guidance, GuideOp, Step, alone, sum};
use crate::{Info, Knob, Result};

/// Saharia et al. 2022 (Imagen), section 2.3, for latents as mcmonkey's "CFG scale fix" does it: the clean estimate at the full scale is clamped at a
/// percentile and brought to the largest magnitude that a low (mimic) scale gives.
pub struct DynamicThresholding;

const ON: Knob = Knob::choice("dynthresh", "Dynamic thresholding", &["off", "on"], "high scales without burnt colours");
const MIMIC: Knob =
    Knob::number("dynthresh_mimic", "Mimic scale", 1.0, 30.0, 7.0, "the scale whose range the result gets");
const PERCENTILE: Knob =
    Knob::number("dynthresh_percentile", "Percentile", 0.5, 1.0, 0.999, "magnitudes beyond it are clamped");
const MEASURE: Knob =
    Knob::choice("dynthresh_measure", "Measure", &["magnitude", "deviation"], "what is brought to the mimic scale's");
const PHI: Knob = Knob::number("dynthresh_phi", "Strength", 0.0, 1.0, 1.0, "share of the thresholded result");

impl Guidance for DynamicThresholding {
    fn info(&self) -> Info {
        Info {
            name: "dynthresh",
            label: "Dynamic thresholding",
            citation: "Saharia et al. 2022, arXiv 2205.11487, section 2.3; mcmonkeyprojects/sd-dynamic-thresholding",
            knobs: &[ON, MIMIC, PERCENTILE, MEASURE, PHI],
            aliases: &["dynamic_thresholding"],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let knobs = step.ask.knobs;
        if knobs.get(&ON) == 0.0 || !step.is_guided() {
            return Ok(());
        }
        alone(step, "dynthresh")?;
        let (cond, uncond) = (step.clean(&step.cond), step.clean(&step.unconditional()));
        let at = |scale: f64| sum(&[(&uncond, 1.0 - scale), (&cond, scale)]);
        let (full, phi) = (at(step.scale), knobs.get(&PHI));
        let (x, like) = (step.own(&full), step.own(&at(knobs.get(&MIMIC))));
        let percentile = (knobs.get(&MEASURE) == 0.0).then_some(knobs.get(&PERCENTILE));
        step.ops.push(GuideOp::Threshold { x, like, percentile });
        let mixed = sum(&[(&[(x, 1.0)], phi), (&full, 1.0 - phi)]);
        step.guided = Some(step.prediction(&mixed));
        Ok(())
    }
}
