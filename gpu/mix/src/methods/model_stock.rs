//! Model Stock: the models' mean, drawn to the base by how little their changes agree (`shaders/mix/model_stock.wgsl`).

use admix_tensor::Recorder;

use super::spherical::{Spherical, reference};
use crate::MixError;
use crate::flat::{Flat, MAX_MODELS};
use crate::method::{About, HostInputs, Inputs, Method, Settings};
use crate::sums::Vectors;

/// Model Stock, mergekit's variant over whole tensors.
pub struct ModelStock;

static ABOUT: About = About::new(
    "model_stock",
    "Model Stock",
    "Jang, Yun, Han 2024, Model Stock, arXiv 2403.19522; mergekit 0.1.5 `model_stock`, over whole tensors",
)
.models(2, MAX_MODELS - 2)
.without_weights()
.with_origin();

impl Method for ModelStock {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        _settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        Spherical { shader: "mix/model_stock", of: Vectors::Changes, knobs: [0.0; 4], weights: &[] }
            .record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, _settings: &Settings<'_>) -> Vec<f32> {
        reference(Vectors::Changes, inputs, |gram| {
            let count = gram.len();
            let pairs: Vec<(usize, usize)> = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j))).collect();
            let cos = |(i, j): (usize, usize)| {
                (gram[i][j] / (gram[i][i].sqrt() * gram[j][j].sqrt()).max(1e-6)).clamp(-1.0, 1.0)
            };
            let mean = pairs.iter().map(|p| cos(*p)).sum::<f64>() / pairs.len() as f64;
            let below = 1.0 + (count as f64 - 1.0) * mean;
            let t = if below.abs() < 1e-6 { 0.0 } else { count as f64 * mean / below };
            vec![t / count as f64; count]
        })
    }
}
