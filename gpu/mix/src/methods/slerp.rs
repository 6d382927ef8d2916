//! Spherical interpolation between the base and one model, flattened, t = the model's weight (`shaders/mix/slerp.wgsl`).

use admix_tensor::Recorder;

use super::spherical::{Spherical, arc, reference};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};
use crate::sums::Vectors;

/// Slerp, mergekit's variant.
pub struct Slerp;

static ABOUT: About = About::new(
    "slerp",
    "SLERP",
    "Shoemake 1985, Animating rotation with quaternion curves; mergekit 0.1.5 `slerp`: linear where |cos| > 0.9995",
)
.models(1, 1)
.between();

impl Method for Slerp {
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
        let knobs = [settings.weights[0], 0.0, 0.0, 0.0];
        Spherical { shader: "mix/slerp", of: Vectors::Whole, knobs, weights: &[] }.record(rec, inputs, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let t = settings.weights[0];
        reference(Vectors::Whole, inputs, |gram| {
            let norm = |i: usize| Some(gram[i][i].sqrt()).filter(|n| *n > 1e-8).unwrap_or(1.0);
            let cos = (gram[0][1] / norm(0) / norm(1)).clamp(-1.0, 1.0);
            if cos.abs() > 0.9995 { vec![1.0 - t, t] } else { arc(cos.acos(), t) }
        })
    }
}
