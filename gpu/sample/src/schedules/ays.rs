//! Levels optimised for a model family, ten steps long, interpolated to other lengths.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::log_linear;
use crate::{Info, Knob, KnobValues, Result};

/// Sabour et al. 2024. The levels are those that the authors publish; they belong to their models and ignore this one's range.
pub struct AlignYourSteps;

const MODEL: Knob =
    Knob::choice("ays_model", "Levels for", &["sd1", "sdxl", "svd"], "the model family they were optimised for");

const SD1: [f64; 11] = [
    14.6146412293,
    6.4745760956,
    3.8636745985,
    2.6946151520,
    1.8841921177,
    1.3943805092,
    0.9642583904,
    0.6523686016,
    0.3977456272,
    0.1515232662,
    0.0291671582,
];
const SDXL: [f64; 11] = [
    14.6146412293,
    6.3184485287,
    3.7681790315,
    2.1811480769,
    1.3405244945,
    0.8620721141,
    0.5550693289,
    0.3798540708,
    0.2332364134,
    0.1114188177,
    0.0291671582,
];
const SVD: [f64; 11] = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002];

impl Schedule for AlignYourSteps {
    fn info(&self) -> Info {
        Info {
            name: "ays",
            label: "Align Your Steps",
            citation: "Sabour et al. 2024, arXiv 2404.14507; ComfyUI AlignYourStepsScheduler",
            knobs: &[MODEL],
            aliases: &["align_your_steps", "align your steps"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, knobs: &KnobValues) -> Result<Grid> {
        let published = match knobs.get(&MODEL) as usize {
            0 => SD1,
            1 => SDXL,
            _ => SVD,
        };
        let mut sigmas = log_linear(&published, request.steps + 1);
        sigmas.pop();
        Ok(request.from_sigmas(sigmas))
    }
}
