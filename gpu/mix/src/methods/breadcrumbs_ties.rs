//! Model Breadcrumbs with TIES' vote on signs.

use super::breadcrumbs::{CRUMBS_RESCALE, GAMMA, windows};
use super::consensus::{Consensus, Keep, TaskVectors, Vote};
use super::dare_linear::OWN_NORMALIZE;
use super::ties::{DENSITY, LAMBDA};
use crate::method::{About, Knob, Settings};

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, CRUMBS_RESCALE];
static MODEL_KNOBS: &[Knob] = &[DENSITY, GAMMA];

/// Model Breadcrumbs with TIES, mergekit's variant.
pub(crate) static BREADCRUMBS_TIES: TaskVectors = TaskVectors::new(
    About::new(
        "breadcrumbs_ties",
        "Model Breadcrumbs with TIES",
        "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv 2312.06795, as in mergekit 0.1.5 `breadcrumbs_ties`",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    Consensus::mergekits(Keep::Window(windows(settings, MODEL_KNOBS)), Vote::Weighted, KNOBS, settings)
}
