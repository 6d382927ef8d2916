//! TIES as mergekit computes it: per tensor, keep the largest changes, weigh them, vote on signs, average those that agree.

use admix_tensor::Recorder;

use super::consensus::{Consensus, Keep, kept_count};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Knob, Method, Settings};
use crate::select::Selection;

/// TIES-merging, mergekit's variant.
pub struct Ties;

pub(crate) const LAMBDA: Knob =
    Knob::number("lambda", "Lambda", -10.0, 10.0, 1.0, "Factor on the merged change before it is added to the base.");
pub(crate) const NORMALIZE: Knob = Knob::switch(
    "normalize",
    "Normalise",
    true,
    "Divide by the weights of the models that took part, so that only their ratio counts.",
);
pub(crate) const DENSITY: Knob =
    Knob::number("density", "Density", 0.0, 1.0, 1.0, "Part of the model's change that is kept, the largest first.");

static KNOBS: &[Knob] = &[LAMBDA, NORMALIZE];
static MODEL_KNOBS: &[Knob] = &[DENSITY];

fn plan(settings: &Settings<'_>) -> Consensus {
    let len = settings.len();
    let largest = |i| Selection::largest(i, kept_count(settings.model_knob(MODEL_KNOBS, i, "density"), len), len);
    Consensus {
        keep: Keep::Selected((0..settings.weights.len()).map(largest).collect()),
        vote: true,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: false,
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

impl Method for Ties {
    fn name(&self) -> &'static str {
        "ties"
    }

    fn label(&self) -> &'static str {
        "TIES (mergekit)"
    }

    fn citation(&self) -> &'static str {
        "Yadav et al. 2023, TIES-Merging, arXiv 2306.01708, as in mergekit 0.1.5 `ties`: trimmed per tensor, weighted before the vote"
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
