//! DARE with TIES' vote: drop elements of each change at random, restore its L1 norm, weigh, vote on signs.

use super::consensus::{Consensus, Keep, TaskVectors, Vote, each_model};
use super::dare_linear::{OWN_NORMALIZE, PROBABILITY, RESCALE};
use super::ties::LAMBDA;
use crate::method::{About, Knob, Settings};

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, RESCALE];
static MODEL_KNOBS: &[Knob] = &[PROBABILITY];

/// DARE with TIES, mergekit's variant.
pub(crate) static DARE_TIES: TaskVectors = TaskVectors::new(
    About::new(
        "dare_ties",
        "DARE TIES",
        "Yu et al. 2024, Language Models are Super Mario, arXiv 2311.03099, as in mergekit 0.1.5 `dare_ties`: rescaled by the L1 norms",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let densities = each_model(settings, MODEL_KNOBS, "density");
    Consensus::mergekits(Keep::Random(densities), Vote::Weighted, KNOBS, settings)
}
