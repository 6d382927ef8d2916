//! Two weighted sums in a row: ((1 - w1) B + w1 M1) (1 - w2) + w2 M2.

use admix_tensor::Recorder;

use super::linear;
use super::weighted_sum::linear_reference;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// Two weighted sums in a row: ((1 - w1) B + w1 M1) (1 - w2) + w2 M2.
pub struct SumTwice;

/// Factors of the models, and of the base.
fn factors(settings: &Settings<'_>) -> (Vec<f64>, f64) {
    let [first, second] = [settings.weights[0], settings.weights[1]];
    (vec![first * (1.0 - second), second], (1.0 - first) * (1.0 - second))
}

static ABOUT: About =
    About::new("sum_twice", "Sum twice", "SuperMerger `sum Twice`, https://github.com/hako-mikan/sd-webui-supermerger")
        .models(2, 2);

impl Method for SumTwice {
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
