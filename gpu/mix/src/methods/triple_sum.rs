//! A weighted sum of three: (1 - w1 - w2) B + w1 M1 + w2 M2.

use std::ops::RangeInclusive;

use admix_tensor::Recorder;

use super::linear;
use super::weighted_sum::linear_reference;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Method, Settings};

/// A weighted sum of three: (1 - w1 - w2) B + w1 M1 + w2 M2.
pub struct TripleSum;

/// Factors of the models, and of the base.
fn factors(settings: &Settings<'_>) -> (Vec<f64>, f64) {
    (settings.weights.clone(), 1.0 - settings.weights.iter().sum::<f64>())
}

impl Method for TripleSum {
    fn name(&self) -> &'static str {
        "triple_sum"
    }

    fn label(&self) -> &'static str {
        "Triple sum"
    }

    fn citation(&self) -> &'static str {
        "SuperMerger `Triple sum`, https://github.com/hako-mikan/sd-webui-supermerger"
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
