//! Weighted sum of models: B (1 - sum w) + sum w M (`shaders/mix/linear.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Kind, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// B (1 - sum w) + sum w M.
pub struct WeightedSum;

/// Records `factor * base + sum of weights * models` in passes of as many models as the device binds at once.
pub(crate) fn linear(
    rec: &mut Recorder,
    factor: f64,
    base: &Flat,
    models: &[&Flat],
    weights: &[f64],
    out: &Flat,
) -> Result<(), MixError> {
    let room = crate::methods::room(rec.gpu(), 0);
    let mut sum: Option<Flat> = None;
    let mut first = 0;
    loop {
        let last = (first + room).min(models.len());
        let part = &models[first..last];
        let previous = sum.take();
        let (from, scale) = previous.as_ref().map_or((base, factor), |s| (s, 1.0));
        let mut pass = Pass::new("mix/linear", from, part);
        pass.defines.push(("COEFFICIENTS", 0));
        pass.knobs[0] = bits(scale);
        for (words, weight) in pass.model.iter_mut().zip(&weights[first..last]) {
            words[0] = bits(*weight);
        }
        if last == models.len() {
            return pass.write(rec, out);
        }
        let next = Flat::temporary(rec, base.len, Kind::F32)?;
        pass.write(rec, &next)?;
        sum = Some(next);
        first = last;
    }
}

/// CPU twin of [`linear`].
pub(crate) fn linear_reference(factor: f64, weights: &[f64], inputs: &HostInputs<'_>) -> Vec<f32> {
    let at = |i: usize| {
        let models = inputs.models.iter().zip(weights).map(|(m, w)| w * f64::from(m[i]));
        factor * f64::from(inputs.base[i]) + models.sum::<f64>()
    };
    (0..inputs.base.len()).map(|i| at(i) as f32).collect()
}

static ABOUT: About = About::new(
    "weighted_sum",
    "Weighted sum",
    "Wortsman et al. 2022, Model soups, arXiv 2203.05482; mergekit `linear` with weights that add up to 1, the base's being the rest",
)
.between();

impl Method for WeightedSum {
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
        let rest = 1.0 - settings.weights.iter().sum::<f64>();
        linear(rec, rest, inputs.base, inputs.models, &settings.weights, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        linear_reference(1.0 - settings.weights.iter().sum::<f64>(), &settings.weights, inputs)
    }
}
