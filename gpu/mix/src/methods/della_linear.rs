//! DELLA without a vote: elements of each change are dropped at random, small ones of a row more often; the rest is weighed and added.

use super::consensus::{Consensus, Keep, TaskVectors, Vote};
use super::dare_linear::{OWN_NORMALIZE, PROBABILITY, RESCALE};
use super::della::EPSILON;
use super::ties::LAMBDA;
use crate::method::{About, Knob, Settings};

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, RESCALE];
static MODEL_KNOBS: &[Knob] = &[PROBABILITY, EPSILON];

/// DELLA without a vote, mergekit's variant.
pub(crate) static DELLA_LINEAR: TaskVectors = TaskVectors::new(
    About::new(
        "della_linear",
        "DELLA without a vote",
        "Deep et al. 2024, DELLA-Merging, arXiv 2406.11617, as in mergekit 0.1.5 `della_linear`: rescaled by the L1 norms",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let range = |i| (settings.model_knob(MODEL_KNOBS, i, "density"), settings.model_knob(MODEL_KNOBS, i, "epsilon"));
    Consensus {
        keep: Keep::Ranked((0..settings.weights.len()).map(range).collect()),
        vote: Vote::None,
        tie: 1.0,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}
