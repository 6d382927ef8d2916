//! DELLA without a vote: elements of each change are dropped at random, small ones of a row more often; the rest is weighed and added.

use super::consensus::{Consensus, Keep, TaskVectors, Vote, each_model};
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
    let [densities, epsilons] = ["density", "epsilon"].map(|knob| each_model(settings, MODEL_KNOBS, knob));
    let ranges = densities.into_iter().zip(epsilons).collect();
    Consensus::mergekits(Keep::Ranked(ranges), Vote::None, KNOBS, settings)
}
