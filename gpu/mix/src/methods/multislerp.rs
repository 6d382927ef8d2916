//! Multi-SLERP: barycentric interpolation of several tensors on a sphere (`shaders/mix/multislerp.wgsl`).

use admix_tensor::Recorder;

use super::spherical::{Spherical, reference};
use crate::MixError;
use crate::flat::{Flat, MAX_MODELS};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};
use crate::sums::Vectors;

/// Multi-SLERP of the models' changes from the base, mergekit's variant with a base model.
pub struct MultiSlerp;

static KNOBS: &[Knob] =
    &[Knob::switch("normalize_weights", "Normalise weights", true, "Divide the weights by their sum first.")];

fn weights(settings: &Settings<'_>) -> Vec<f64> {
    let sum: f64 = settings.weights.iter().sum();
    let divisor = if settings.switch(KNOBS, "normalize_weights") && sum != 0.0 { sum } else { 1.0 };
    settings.weights.iter().map(|w| w / divisor).collect()
}

static ABOUT: About = About::new(
    "multislerp",
    "Multi-SLERP",
    "Goddard 2025, https://goddard.blog/posts/multislerp-wow-what-a-cool-idea; mergekit 0.1.5 `multislerp` with a base model; weights that cancel exactly give the weighted sum",
)
.knobs(KNOBS)
.models(2, MAX_MODELS - 2)
.with_origin();

impl Method for MultiSlerp {
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
        let weights = weights(settings);
        Spherical { shader: "mix/multislerp", of: Vectors::Changes, knobs: [0.0; 4], weights: &weights }
            .record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let weights = weights(settings);
        reference(Vectors::Changes, inputs, |gram| {
            let count = gram.len();
            let eps = 1e-8;
            let norm: Vec<f64> = (0..count).map(|i| gram[i][i].sqrt()).collect();
            let cos = |i: usize, j: usize| gram[i][j] / (norm[i] + eps) / (norm[j] + eps);
            let length = |f: &[f64]| {
                let pairs = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
                pairs.map(|(i, j)| f[i] * f[j] * cos(i, j)).sum::<f64>().max(0.0).sqrt()
            };
            let start = length(&weights);
            if start < eps {
                return weights.clone();
            }
            let mean: Vec<f64> = weights.iter().map(|w| w / start).collect();
            let to_mean = |i: usize| (0..count).map(|j| mean[j] * cos(i, j)).sum::<f64>();
            let pull: f64 = (0..count).map(|i| weights[i] * to_mean(i)).sum();
            let tangent: Vec<f64> = (0..count).map(|i| weights[i] - pull * mean[i]).collect();
            let angle = length(&tangent) + eps;
            let scale: f64 = weights.iter().zip(&norm).map(|(w, n)| w * n).sum();
            let along = |i: usize| mean[i] * angle.cos() + tangent[i] * angle.sin() / angle;
            (0..count).map(|i| scale * along(i) / (norm[i] + eps)).collect()
        })
    }
}
