//! NearSwap: the model's value where it is near the base's, less of it the farther it is (`shaders/mix/nearswap.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};

/// NearSwap, mergekit's variant.
pub struct NearSwap;

static KNOBS: &[Knob] =
    &[Knob::number("t", "Reach", 0.0, 1e3, 0.001, "Difference up to which the model's value is taken whole.")];

static ABOUT: About = About::new(
    "nearswap",
    "NearSwap",
    "alchemonaut 2024, https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001; mergekit 0.1.5 `nearswap`",
)
.knobs(KNOBS)
.models(1, 1)
.without_weights();

impl Method for NearSwap {
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
        let mut pass = Pass::new("mix/nearswap", inputs.base, inputs.models);

        pass.knobs = [bits(settings.knob(KNOBS, "t")), 0, 0, 0];
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let t = settings.knob(KNOBS, "t") as f32;
        let pairs = inputs.base.iter().zip(inputs.models[0]);
        pairs
            .map(|(b, m)| {
                let w = f64::from((t / (b - m).abs().max(1e-6)).clamp(0.0, 1.0));
                (w * f64::from(*m) + (1.0 - w) * f64::from(*b)) as f32
            })
            .collect()
    }
}
