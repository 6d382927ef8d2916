//! SuperMerger's trainDifference: the difference M - minus, larger where the model is far from the base (`shaders/mix/train_difference.wgsl`).

use admix_tensor::Recorder;

use super::add_difference::differences;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// B + 1.8 w |M - B| / (|M - minus| + |M - B|) (M - minus).
pub struct TrainDifference;

static ABOUT: About = About::new(
    "train_difference",
    "Train difference",
    "SuperMerger `trainDifference`, https://github.com/hako-mikan/sd-webui-supermerger/blob/main/calcmode_en.md",
)
.models(1, 1)
.with_minus()
.with_origin();

impl Method for TrainDifference {
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
        differences(rec, "mix/train_difference", inputs, &settings.weights, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let at = |i: usize| {
            let (b, m, c) = (inputs.base[i], inputs.models[0][i], inputs.minus[0][i]);
            let (d, far) = (m - c, (m - b).abs());
            let sum = d.abs() + far;
            let share = if sum == 0.0 { 0.0 } else { f64::from(far) / f64::from(sum) };
            (f64::from(b) + settings.weights[0] * 1.8 * share * f64::from(d)) as f32
        };
        (0..inputs.base.len()).map(at).collect()
    }
}
