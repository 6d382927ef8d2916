//! The point with the smallest sum of distances to the base and the models, by Weiszfeld's steps (`shaders/mix/geometric_median.wgsl`).

use admix_tensor::Recorder;

use super::spherical::{Spherical, reference};
use crate::MixError;
use crate::flat::{Flat, MAX_MODELS};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};
use crate::sums::Vectors;

/// Geometric median of whole tensors.
pub struct GeometricMedian;

static KNOBS: &[Knob] = &[
    Knob::number("eps", "Least distance", 1e-12, 1.0, 1e-6, "Distances below this one count as this one."),
    Knob::whole("maxiter", "Most steps", 0.0, 1000.0, 100.0, "Steps towards the median at most."),
    Knob::number("ftol", "Tolerance", 0.0, 1.0, 1e-20, "Relative gain below which the steps end."),
];

/// Mirrors `solve` of the shader: point 0 is the base, point 1 + j change j.
fn solve(gram: &[Vec<f64>], eps: f64, steps: usize, ftol: f64) -> Vec<f64> {
    let count = gram.len();
    let distance = |i: usize, f: &[f64]| {
        let u: Vec<f64> = (0..count).map(|j| f[j] - f64::from(u8::from(i == j + 1))).collect();
        let pairs = (0..count).flat_map(|j| (0..count).map(move |k| (j, k)));
        pairs.map(|(j, k)| u[j] * u[k] * gram[j][k]).sum::<f64>().max(0.0).sqrt()
    };
    let total = |f: &[f64]| (0..=count).map(|i| distance(i, f)).sum::<f64>();
    let mut f = vec![1.0 / (count + 1) as f64; count];
    let mut objective = total(&f);
    for _ in 0..steps {
        let near: Vec<f64> = (0..=count).map(|i| 1.0 / distance(i, &f).max(eps)).collect();
        let sum: f64 = near.iter().sum();
        f = near[1..].iter().map(|n| n / sum).collect();
        let before = std::mem::replace(&mut objective, total(&f));
        if (before - objective).abs() <= ftol * objective {
            break;
        }
    }
    f
}

static ABOUT: About = About::new(
    "geometric_median",
    "Geometric median",
    "Weiszfeld 1937; Pillutla et al. 2022, arXiv 1912.13445; sd-mecha 1.1.8 `geometric_median`, the base being the first model",
)
.knobs(KNOBS)
.models(2, MAX_MODELS - 2)
.without_weights();

impl Method for GeometricMedian {
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
        let knob = |name| settings.knob(KNOBS, name);
        let knobs = [knob("eps"), knob("maxiter"), knob("ftol"), 0.0];
        Spherical { shader: "mix/geometric_median", of: Vectors::Changes, knobs, weights: &[] }.record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let knob = |name| settings.knob(KNOBS, name);
        let from_base = HostInputs { origin: inputs.base, ..*inputs };
        reference(Vectors::Changes, &from_base, |gram| solve(gram, knob("eps"), knob("maxiter") as usize, knob("ftol")))
    }
}
