//! DARE without a vote: drop elements of each change at random, restore its L1 norm, weigh and add.

use super::consensus::{Consensus, Keep, TaskVectors, Vote, each_model};
use super::ties::{LAMBDA, NORMALIZE};
use crate::method::{About, Knob, Settings};

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

/// DARE with task arithmetic, mergekit's variant.
pub(crate) static DARE_LINEAR: TaskVectors = TaskVectors::new(
    About::new(
        "dare_linear",
        "DARE",
        "Yu et al. 2024, Language Models are Super Mario, arXiv 2311.03099, as in mergekit 0.1.5 `dare_linear`: rescaled by the L1 norms",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let densities = each_model(settings, MODEL_KNOBS, "density");
    Consensus::mergekits(Keep::Random(densities), Vote::None, KNOBS, settings)
}
