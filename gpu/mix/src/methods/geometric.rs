//! The weighted geometric mean of the base and a model, in complex numbers (`shaders/mix/geometric.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// The real part of B^(1 - w) M^w.
pub struct Geometric;

static ABOUT: About =
    About::new("geometric", "Geometric sum", "sd-mecha 1.1.8 `geometric_sum`, https://github.com/ljleb/sd-mecha")
        .models(1, 1);

impl Method for Geometric {
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
        let mut pass = Pass::new("mix/geometric", inputs.base, inputs.models);
        pass.model[0][0] = bits(settings.weights[0]);
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let t = settings.weights[0];
        // 0^0 is 1 and 0^t is 0, as in complex arithmetic.
        let part = |v: f32, t: f64| if t == 0.0 { 1.0 } else { f64::from(v.abs()).powf(t) };
        let turn = |v: f32, t: f64| if v < 0.0 { t } else { 0.0 };
        let at = |(b, m): (&f32, &f32)| {
            let angle = std::f64::consts::PI * (turn(*b, 1.0 - t) + turn(*m, t));
            (part(*b, 1.0 - t) * part(*m, t) * angle.cos()) as f32
        };
        inputs.base.iter().zip(inputs.models[0]).map(at).collect()
    }
}
