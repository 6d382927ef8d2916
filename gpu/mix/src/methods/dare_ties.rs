//! DARE with TIES' vote: drop elements of each change at random, restore its L1 norm, weigh, vote on signs.

use admix_tensor::Recorder;

use super::consensus::{Consensus, Keep};
use super::dare_linear::{OWN_NORMALIZE, PROBABILITY, RESCALE};
use super::ties::LAMBDA;
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Knob, Method, Settings};

/// DARE with TIES, mergekit's variant.
pub struct DareTies;

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, RESCALE];
static MODEL_KNOBS: &[Knob] = &[PROBABILITY];

fn plan(settings: &Settings<'_>) -> Consensus {
    let density = |i| settings.model_knob(MODEL_KNOBS, i, "density");
    Consensus {
        keep: Keep::Random((0..settings.weights.len()).map(density).collect()),
        vote: true,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

impl Method for DareTies {
    fn name(&self) -> &'static str {
        "dare_ties"
    }

    fn label(&self) -> &'static str {
        "DARE TIES"
    }

    fn citation(&self) -> &'static str {
        "Yu et al. 2024, Language Models are Super Mario, arXiv 2311.03099, as in mergekit 0.1.5 `dare_ties`: rescaled by the L1 norms"
    }

    fn knobs(&self) -> &'static [Knob] {
        KNOBS
    }

    fn model_knobs(&self) -> &'static [Knob] {
        MODEL_KNOBS
    }

    fn uses_origin(&self) -> bool {
        true
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        plan(settings).record(rec, inputs, settings, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        plan(settings).reference(inputs, settings)
    }
}
