//! DELLA with TIES' vote: elements of each change are dropped at random, small ones of a row more often than large ones.

use super::consensus::{Consensus, Keep, TaskVectors, Vote};
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
    let range = |i| (settings.model_knob(MODEL_KNOBS, i, "density"), settings.model_knob(MODEL_KNOBS, i, "epsilon"));
    Consensus {
        keep: Keep::Ranked((0..settings.weights.len()).map(range).collect()),
        vote: Vote::Weighted,
        tie: 1.0,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}
