//! Classifier-free guidance, in a part of the run and with a scale that changes along it.

use super::{Ask, Guidance, Step, sum, within};
use crate::{Info, Knob, Result, SampleError};

/// Ho and Salimans 2022: uncond + scale (cond - uncond). Interval: Kynkäänniemi et al. 2024.
pub struct Cfg;

const START: Knob = Knob::number("cfg_start", "CFG from", 0.0, 1.0, 0.0, "share of the steps before guidance begins");
const STOP: Knob = Knob::number("cfg_stop", "CFG to", 0.0, 1.0, 1.0, "share of the steps after which guidance ends");
const CURVE: Knob = Knob::text(
    "cfg_curve",
    "CFG curve",
    "scale along the run in place of one number, as share:scale, e.g. 0:9, 0.5:6, 1:3; straight between",
);
/// Whether branches run at once.
pub const BATCH: Knob = Knob::choice(
    "guidance_batch",
    "Branches at once",
    &["auto", "on", "off"],
    "off runs prompt and negative prompt one after the other in half the memory; auto: only where the device cannot hold both",
);

/// The scale in force; 1 outside the interval.
pub(super) fn scale(ask: &Ask<'_>) -> Result<f64> {
    if ask.cfg == 1.0 || !within(ask, ask.knobs.get(&START), ask.knobs.get(&STOP)) {
        return Ok(1.0);
    }
    let points = curve(ask.knobs.text(&CURVE))?;
    let at = if ask.steps > 1 { ask.step as f64 / (ask.steps - 1) as f64 } else { 0.0 };
    let after = points.iter().position(|(p, _)| *p >= at);
    Ok(match (points.len(), after) {
        (0, _) => ask.cfg,
        (_, Some(0)) => points[0].1,
        (n, None) => points[n - 1].1,
        (_, Some(i)) => {
            let ((a, low), (b, high)) = (points[i - 1], points[i]);
            low + (high - low) * (at - a) / (b - a)
        }
    })
}

/// Shares and scales, shares growing.
fn curve(text: &str) -> Result<Vec<(f64, f64)>> {
    let bad =
        |why: &str| SampleError::setting(CURVE.name, format!("{why}; write share:scale pairs such as 0:9, 0.5:6, 1:3"));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let pair = part
            .split_once(':')
            .and_then(|(a, b)| Some((a.trim().parse::<f64>().ok()?, b.trim().parse::<f64>().ok()?)));
        let (at, scale) = pair.ok_or_else(|| bad(&format!("`{part}` is no point")))?;
        if !(0.0..=1.0).contains(&at) || !(0.0..=100.0).contains(&scale) {
            return Err(bad(&format!("`{part}` is out of range (shares 0 to 1, scales 0 to 100)")));
        }
        if points.last().is_some_and(|(before, _)| *before >= at) {
            return Err(bad("the shares must grow"));
        }
        points.push((at, scale));
    }
    Ok(points)
}

impl Guidance for Cfg {
    fn info(&self) -> Info {
        Info {
            name: "cfg",
            label: "Classifier-free guidance",
            citation: "Ho and Salimans 2022, arXiv 2207.12598; interval: Kynkäänniemi et al. 2024, arXiv 2404.07724",
            knobs: &[START, STOP, CURVE, BATCH],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        if step.is_guided() && step.guided.is_none() {
            let (uncond, scale) = (step.unconditional(), step.scale);
            step.guided = Some(sum(&[(&uncond, 1.0 - scale), (&step.cond, scale)]));
        }
        Ok(())
    }
}
