//! SuperMerger's cosineB: more of the base where the columns of both models point the same way; columns as they are, which favours the structure of the model.

use std::ops::RangeInclusive;

use admix_tensor::Recorder;

use super::cosine::{Cosine, in_vae};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Method, Settings, SurveyPlan};

/// B k + M (1 - k), k = clip(scaled cosine - weight, 0, 1) of each column.
pub struct CosineB;

const COSINE: Cosine = Cosine { unit: false };

impl Method for CosineB {
    fn name(&self) -> &'static str {
        "cosine_b"
    }

    fn label(&self) -> &'static str {
        "Cosine B"
    }

    fn citation(&self) -> &'static str {
        "recoilme 2023, https://github.com/recoilme/losslessmix; SuperMerger `cosineB`: scaled by the model-wide 1st to 99th percentile, the VAE stays"
    }

    fn models(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn keeps_base(&self, settings: &Settings<'_>) -> bool {
        in_vae(settings.name)
    }

    fn survey(&self, _settings: &Settings<'_>) -> Option<SurveyPlan> {
        Some(COSINE.survey())
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        COSINE.record(rec, inputs, settings, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        COSINE.reference(inputs, settings)
    }
}
