//! A weighted sum of three: (1 - w1 - w2) B + w1 M1 + w2 M2.

use admix_tensor::Recorder;

use super::linear;
use super::weighted_sum::linear_reference;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// A weighted sum of three: (1 - w1 - w2) B + w1 M1 + w2 M2.
pub struct TripleSum;

/// Factors of the models, and of the base.
fn factors(settings: &Settings<'_>) -> (Vec<f64>, f64) {
    (settings.weights.clone(), 1.0 - settings.weights.iter().sum::<f64>())
}

static ABOUT: About = About::new(
    "triple_sum",
    "Triple sum",
    "SuperMerger `Triple sum`, https://github.com/hako-mikan/sd-webui-supermerger",
)
.models(2, 2);

impl Method for TripleSum {
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
        let (weights, rest) = factors(settings);
        linear(rec, rest, inputs.base, inputs.models, &weights, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (weights, rest) = factors(settings);
        linear_reference(rest, &weights, inputs)
    }
}
