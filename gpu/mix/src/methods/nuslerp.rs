//! NuSLERP (`shaders/mix/nuslerp.wgsl`): with one model between the base and it, t = its weight; with two models between their changes from
//! the base, t = w2 / (w1 + w2). Flattened, which is mergekit's default.

use admix_tensor::Recorder;

use super::spherical::{Spherical, arc, reference};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};
use crate::sums::Vectors;

/// NuSLERP, mergekit's.
pub struct NuSlerp;

/// What is interpolated, and where.
fn plan(settings: &Settings<'_>) -> (Vectors, f64) {
    match settings.weights[..] {
        [first, second] => {
            let sum = first + second;
            (Vectors::Changes, if sum.abs() < 1e-6 { 0.5 } else { second / sum })
        }
        _ => (Vectors::Whole, settings.weights[0]),
    }
}

static ABOUT: About = About::new(
    "nuslerp",
    "NuSLERP",
    "Goddard et al. 2024, mergekit 0.1.5 `nuslerp`, flattened: t = w2 / (w1 + w2); linear only where exactly colinear",
)
.models(1, 2)
.between()
.with_origin();

impl Method for NuSlerp {
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
        let (of, t) = plan(settings);
        Spherical { shader: "mix/nuslerp", of, knobs: [t, 0.0, 0.0, 0.0], weights: &[] }.record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (of, t) = plan(settings);
        reference(of, inputs, |gram| {
            let norm = |i: usize| gram[i][i].sqrt().max(1e-7);
            let cos = (gram[0][1] / norm(0) / norm(1)).clamp(-1.0, 1.0);
            if 1.0 - cos * cos <= 1e-16 { vec![1.0 - t, t] } else { arc(cos.acos(), t) }
        })
    }
}
