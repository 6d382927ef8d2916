//! The base, held between the smallest and the largest value of the models (`shaders/mix/clamp.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, MAX_MODELS, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};

/// B clamped to the models' range.
pub struct Clamp;

static KNOBS: &[Knob] = &[Knob::number(
    "stiffness",
    "Stiffness",
    0.0,
    1.0,
    0.0,
    "Draws both bounds to the model values nearest their mean: 1 leaves the narrowest range around it.",
)];

static ABOUT: About = About::new(
    "clamp",
    "Clamp",
    "sd-mecha 1.1.8 `clamp`, https://github.com/ljleb/sd-mecha: the bounds are the models",
)
.knobs(KNOBS)
.models(1, MAX_MODELS - 2)
.without_weights();

impl Method for Clamp {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        let mut pass = Pass::new("mix/clamp", inputs.base, inputs.models);
        pass.knobs[0] = bits(settings.knob(KNOBS, "stiffness"));
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let stiffness = settings.knob(KNOBS, "stiffness") as f32;
        let at = |i: usize| {
            let bounds = || inputs.models.iter().map(|m| m[i]);
            let (mut low, mut high) = (bounds().fold(f32::MAX, f32::min), bounds().fold(f32::MIN, f32::max));
            let mean = bounds().sum::<f32>() / inputs.models.len() as f32;
            if stiffness != 0.0 {
                let above = bounds().filter(|v| *v >= mean).fold(high, f32::min);
                let below = bounds().filter(|v| *v <= mean).fold(low, f32::max);
                high = (1.0 - stiffness) * high + stiffness * above;
                low = (1.0 - stiffness) * low + stiffness * below;
            }
            inputs.base[i].max(low).min(high)
        };
        (0..inputs.base.len()).map(at).collect()
    }
}
