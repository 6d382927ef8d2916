//! The part of the model's difference that is perpendicular to the base's, added to the base (`shaders/mix/add_perpendicular.wgsl`).

use admix_tensor::{Launch, Recorder};

use super::add_difference::compared;
use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Method, Settings};
use crate::sums::{Vectors, gram, gram_reference};

/// B + w (b - a <a, b> / |a|^2), a = B - minus, b = M - minus.
pub struct AddPerpendicular;

static ABOUT: About = About::new(
    "add_perpendicular",
    "Add perpendicular",
    "sd-mecha 1.1.8 `add_perpendicular`, https://github.com/ljleb/sd-mecha",
)
.models(1, 1)
.with_minus()
.with_origin();

impl Method for AddPerpendicular {
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
        let from = compared(inputs, 0);
        let products = inputs.known(rec, "perpendicular", |rec| {
            gram(rec, from, None, &[inputs.base, inputs.models[0]], Vectors::Changes)
        })?;
        let factors = rec.tensor(1, 4)?;
        let mut params = vec![bits(settings.weights[0])];
        params.resize(12, 0);
        rec.launch(Launch {
            shader: "mix/add_perpendicular",
            defines: &[("N", 2), ("CHANGES", 1), ("ORIGIN", 0)],
            params: &params,
            reads: &[&products],
            writes: &[&factors],
            groups: [1, 1, 1],
        })?;
        let models = [inputs.models[0], from];
        let extra = [&factors];
        let mut pass = Pass::new("mix/perpendicular_sum", inputs.base, &models);
        pass.extra = &extra;
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let change = |m: &[f32]| m.iter().zip(inputs.minus[0]).map(|(m, c)| f64::from(m - c)).collect::<Vec<f64>>();
        let (own, model) = (change(inputs.base), change(inputs.models[0]));
        let gram = gram_reference(&[own.clone(), model.clone()]);
        if gram[0][0] == 0.0 {
            return inputs.base.to_vec();
        }
        let (w, along) = (settings.weights[0], gram[0][1] / gram[0][0]);
        let at = |i: usize| (f64::from(inputs.base[i]) + w * (model[i] - along * own[i])) as f32;
        (0..own.len()).map(at).collect()
    }
}
