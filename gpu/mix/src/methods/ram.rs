//! Reinforced Agent Merging: changes that one model alone makes are kept whole, shared ones are averaged (`shaders/mix/ram.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};

/// RAM, mergekit's variant.
pub struct Ram;

static KNOBS: &[Knob] = &[Knob::number("epsilon", "Epsilon", 0.0, 1.0, 1e-5, "Changes up to this size count as none.")];

static ABOUT: About = About::new("ram", "RAM", "Reinforced Agent Merging 2026, arXiv 2601.13572; mergekit 0.1.5 `ram`")
    .knobs(KNOBS)
    .models(1, 5)
    .without_weights()
    .with_origin();

impl Method for Ram {
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
        let mut pass = Pass::new("mix/ram", inputs.base, inputs.models);
        pass.origin = inputs.origin;

        pass.knobs = [bits(settings.knob(KNOBS, "epsilon")), 0, 0, 0];
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let epsilon = settings.knob(KNOBS, "epsilon") as f32;
        let merged = |e: usize| {
            let changes = inputs.models.iter().map(|m| m[e] - inputs.origin[e]).filter(|d| d.abs() > epsilon);
            let (sum, count) = changes.fold((0f64, 0), |(s, n), d| (s + f64::from(d), n + 1));
            sum / f64::from(count.max(1))
        };
        (0..inputs.base.len()).map(|e| (f64::from(inputs.base[e]) + merged(e)) as f32).collect()
    }
}
