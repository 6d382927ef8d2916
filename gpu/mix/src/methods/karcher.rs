//! The Karcher mean of the base and the models on the unit sphere, scaled by their mean norm (`shaders/mix/karcher.wgsl`).

use admix_tensor::Recorder;

use super::spherical::{Spherical, reference};
use crate::MixError;
use crate::flat::{Flat, MAX_MODELS};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};
use crate::sums::Vectors;

/// Karcher mean, mergekit's variant.
pub struct Karcher;

static KNOBS: &[Knob] = &[
    Knob::whole("max_iter", "Most steps", 1.0, 1000.0, 10.0, "Steps towards the mean at most."),
    Knob::number("tol", "Tolerance", 1e-12, 1.0, 1e-5, "Angle in radians below which a step is not taken."),
];

/// Steps in the space of factors on the unit vectors; mirrors `solve` of the shader.
fn solve(gram: &[Vec<f64>], steps: usize, tolerance: f64) -> Vec<f64> {
    let count = gram.len();
    let norm: Vec<f64> = (0..count).map(|i| gram[i][i].sqrt()).collect();
    let valid: Vec<usize> = (0..count).filter(|i| norm[*i] > tolerance).collect();
    let scale = norm.iter().sum::<f64>() / count as f64;
    let share = 1.0 / valid.len().max(1) as f64;
    let cos = |i: usize, j: usize| gram[i][j] / norm[i] / norm[j];
    let length = |f: &[f64]| {
        let pairs = valid.iter().flat_map(|i| valid.iter().map(move |j| (*i, *j)));
        pairs.map(|(i, j)| f[i] * f[j] * cos(i, j)).sum::<f64>().max(0.0).sqrt()
    };
    let Some(first) = valid.first() else { return vec![0.0; count] };
    let mut mean = vec![0.0; count];
    valid.iter().for_each(|i| mean[*i] = share);
    let start = length(&mean);
    if start < tolerance {
        mean.fill(0.0);
        mean[*first] = 1.0;
    } else {
        mean.iter_mut().for_each(|m| *m /= start);
    }
    for _ in 0..steps {
        let mut tangent = vec![0.0; count];
        for &i in &valid {
            let c = valid.iter().map(|&j| mean[j] * cos(i, j)).sum::<f64>().clamp(-1.0, 1.0);
            let angle = c.acos();
            if angle >= tolerance {
                let pull = share * angle / angle.sin();
                tangent[i] += pull;
                valid.iter().for_each(|&j| tangent[j] -= pull * c * mean[j]);
            }
        }
        let angle = length(&tangent);
        if angle < tolerance {
            break;
        }
        mean.iter_mut().zip(&tangent).for_each(|(m, t)| *m = angle.cos() * *m + angle.sin() * t / angle);
        let unit = length(&mean);
        if unit > tolerance {
            mean.iter_mut().for_each(|m| *m /= unit);
        }
    }
    (0..count).map(|i| if norm[i] > tolerance { scale * mean[i] / norm[i] } else { 0.0 }).collect()
}

static ABOUT: About =
    About::new("karcher", "Karcher mean", "arXiv 2603.04972; mergekit 0.1.5 `karcher`, the base being the first model")
        .knobs(KNOBS)
        .models(1, MAX_MODELS - 2)
        .without_weights();

impl Method for Karcher {
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
        let knobs = [settings.knob(KNOBS, "max_iter"), settings.knob(KNOBS, "tol"), 0.0, 0.0];
        Spherical { shader: "mix/karcher", of: Vectors::Whole, knobs, weights: &[] }.record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (steps, tolerance) = (settings.knob(KNOBS, "max_iter") as usize, settings.knob(KNOBS, "tol"));
        reference(Vectors::Whole, inputs, |gram| solve(gram, steps, tolerance))
    }
}
