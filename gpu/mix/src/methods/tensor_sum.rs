//! A run of the model's rows in place of the base's: the first dimension from beta to alpha + beta (`shaders/mix/tensor_sum.wgsl`).

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Pass};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};

/// Rows [beta n, (alpha + beta) n) of M, the others of B; alpha is the weight.
pub struct TensorSum;

static KNOBS: &[Knob] =
    &[Knob::number("beta", "Beta", 0.0, 1.0, 0.0, "Where in the first dimension the model's rows begin.")];

/// First and last element of the run, and whether what lies outside is the model's: the run wraps around the end.
fn region(settings: &Settings<'_>) -> (usize, usize, bool) {
    let (alpha, beta) = (settings.weights[0].clamp(0.0, 1.0), settings.knob(KNOBS, "beta"));
    let rows = settings.shape.first().copied().unwrap_or(1);
    let row = settings.len() / rows.max(1);
    let at = |share: f64| (rows as f64 * share) as usize * row;
    if alpha + beta <= 1.0 { (at(beta), at(alpha + beta), false) } else { (at(alpha + beta - 1.0), at(beta), true) }
}

static ABOUT: About = About::new(
    "tensor_sum",
    "Tensor sum",
    "SuperMerger `tensor`, https://github.com/hako-mikan/sd-webui-supermerger/blob/main/calcmode_en.md",
)
.knobs(KNOBS)
.models(1, 1);

impl Method for TensorSum {
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
        let mut pass = Pass::new("mix/tensor_sum", inputs.base, inputs.models);
        let (first, last, outside) = region(settings);
        pass.knobs = [first as u32, last as u32, outside.into(), 0];
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (first, last, outside) = region(settings);
        let at = |i: usize| if (first..last).contains(&i) != outside { inputs.models[0][i] } else { inputs.base[i] };
        (0..inputs.base.len()).map(at).collect()
    }
}
