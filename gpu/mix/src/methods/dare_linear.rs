//! DARE without a vote: drop elements of each change at random, restore its L1 norm, weigh and add.

use admix_tensor::Recorder;

use super::consensus::{Consensus, Keep};
use super::ties::{LAMBDA, NORMALIZE};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Knob, Method, Settings};

/// DARE with task arithmetic, mergekit's variant.
pub struct DareLinear;

pub(crate) const RESCALE: Knob =
    Knob::switch("rescale", "Rescale", true, "Multiply what is left of a change until its L1 norm is what it was.");
pub(crate) const PROBABILITY: Knob = Knob::number(
    "density",
    "Density",
    0.0,
    1.0,
    1.0,
    "Probability with which an element of the model's change is kept.",
);
/// Off by default, as in mergekit.
pub(crate) const OWN_NORMALIZE: Knob = Knob { default: 0.0, ..NORMALIZE };

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, RESCALE];
static MODEL_KNOBS: &[Knob] = &[PROBABILITY];

fn plan(settings: &Settings<'_>) -> Consensus {
    let density = |i| settings.model_knob(MODEL_KNOBS, i, "density");
    Consensus {
        keep: Keep::Random((0..settings.weights.len()).map(density).collect()),
        vote: false,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

impl Method for DareLinear {
    fn name(&self) -> &'static str {
        "dare_linear"
    }

    fn label(&self) -> &'static str {
        "DARE"
    }

    fn citation(&self) -> &'static str {
        "Yu et al. 2024, Language Models are Super Mario, arXiv 2311.03099, as in mergekit 0.1.5 `dare_linear`: rescaled by the L1 norms"
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
