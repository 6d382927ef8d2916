//! Two weighted sums in a row: ((1 - w1) B + w1 M1) (1 - w2) + w2 M2.

use std::ops::RangeInclusive;

use admix_tensor::Recorder;

use super::linear;
use super::weighted_sum::linear_reference;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Method, Settings};

/// Two weighted sums in a row: ((1 - w1) B + w1 M1) (1 - w2) + w2 M2.
pub struct SumTwice;

/// Factors of the models, and of the base.
fn factors(settings: &Settings<'_>) -> (Vec<f64>, f64) {
    let [first, second] = [settings.weights[0], settings.weights[1]];
    (vec![first * (1.0 - second), second], (1.0 - first) * (1.0 - second))
}

impl Method for SumTwice {
    fn name(&self) -> &'static str {
        "sum_twice"
    }

    fn label(&self) -> &'static str {
        "Sum twice"
    }

    fn citation(&self) -> &'static str {
        "SuperMerger `sum Twice`, https://github.com/hako-mikan/sd-webui-supermerger"
    }

    fn models(&self) -> RangeInclusive<usize> {
        2..=2
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
