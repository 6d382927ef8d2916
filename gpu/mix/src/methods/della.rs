//! DELLA with TIES' vote: elements of each change are dropped at random, small ones of a row more often than large ones.

use super::consensus::{Consensus, Keep, TaskVectors, Vote, each_model};
use super::dare_linear::{PROBABILITY, RESCALE};
use super::ties::{LAMBDA, NORMALIZE};
use crate::method::{About, Knob, Settings};

pub(crate) const EPSILON: Knob = Knob::number(
    "epsilon",
    "Epsilon",
    0.0,
    0.5,
    0.15,
    "How far the probability of a row's largest element lies above density, and that of its smallest below.",
);

static KNOBS: &[Knob] = &[LAMBDA, NORMALIZE, RESCALE];
static MODEL_KNOBS: &[Knob] = &[PROBABILITY, EPSILON];

/// DELLA, mergekit's variant.
pub(crate) static DELLA: TaskVectors = TaskVectors::new(
    About::new(
        "della",
        "DELLA",
        "Deep et al. 2024, DELLA-Merging, arXiv 2406.11617, as in mergekit 0.1.5 `della`: rescaled by the L1 norms",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let [densities, epsilons] = ["density", "epsilon"].map(|knob| each_model(settings, MODEL_KNOBS, knob));
    let ranges = densities.into_iter().zip(epsilons).collect();
    Consensus::mergekits(Keep::Ranked(ranges), Vote::Weighted, KNOBS, settings)
}
