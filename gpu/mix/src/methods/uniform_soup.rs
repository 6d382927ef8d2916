//! The mean of the base and all models.

use admix_tensor::Recorder;

use super::linear;
use super::weighted_sum::linear_reference;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// The mean of the base and all models.
pub struct UniformSoup;

/// Factors of the models, and of the base.
fn factors(settings: &Settings<'_>) -> (Vec<f64>, f64) {
    let share = 1.0 / (settings.weights.len() + 1) as f64;
    (vec![share; settings.weights.len()], share)
}

static ABOUT: About = About::new(
    "uniform_soup",
    "Uniform soup",
    "Wortsman et al. 2022, Model soups, arXiv 2203.05482, the uniform soup: every ingredient counts alike, the base among them",
)
.models(1, usize::MAX)
.without_weights();

impl Method for UniformSoup {
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
