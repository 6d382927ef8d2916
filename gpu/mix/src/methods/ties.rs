//! TIES as mergekit computes it: per tensor, keep the largest changes, weigh them, vote on signs, average those that agree.

use super::consensus::{Consensus, Keep, TaskVectors, Vote, each_model, kept_count};
use crate::method::{About, Knob, Settings};
use crate::select::Selection;

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

/// TIES-merging, mergekit's variant.
pub(crate) static TIES: TaskVectors = TaskVectors::new(
    About::new(
        "ties",
        "TIES (mergekit)",
        "Yadav et al. 2023, TIES-Merging, arXiv 2306.01708, as in mergekit 0.1.5 `ties`: trimmed per tensor, weighted before the vote",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let len = settings.len();
    let largest = |(i, density)| Selection::largest(i, kept_count(density, len), len);
    let kept = each_model(settings, MODEL_KNOBS, "density").into_iter().enumerate().map(largest).collect();
    Consensus::mergekits(Keep::Selected(kept), Vote::Weighted, KNOBS, settings)
}
