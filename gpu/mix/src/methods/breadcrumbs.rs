//! Model Breadcrumbs: of each change drop the largest outliers and the smallest elements, weigh and add.

use super::consensus::{Consensus, Keep, TaskVectors, Vote};
use super::dare_linear::{OWN_NORMALIZE, RESCALE};
use super::ties::{DENSITY, LAMBDA};
use crate::method::{About, Knob, Settings};
use crate::select::Selection;

pub(crate) const GAMMA: Knob = Knob::number(
    "gamma",
    "Gamma",
    0.0,
    1.0,
    0.01,
    "Part of the model's change, the largest elements, that is dropped.",
);
/// Off by default, as in mergekit.
pub(crate) const CRUMBS_RESCALE: Knob = Knob { default: 0.0, ..RESCALE };

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, CRUMBS_RESCALE];
static MODEL_KNOBS: &[Knob] = &[DENSITY, GAMMA];

/// Model Breadcrumbs, mergekit's variant.
pub(crate) static BREADCRUMBS: TaskVectors = TaskVectors::new(
    About::new(
        "breadcrumbs",
        "Model Breadcrumbs",
        "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv 2312.06795, as in mergekit 0.1.5 `breadcrumbs`",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    Consensus::mergekits(Keep::Window(windows(settings, MODEL_KNOBS)), Vote::None, KNOBS, settings)
}

/// In rising order of magnitude the elements from n_bot on, `density` of all: the selections are what ends there and what comes before.
pub(crate) fn windows(settings: &Settings<'_>, table: &[Knob]) -> Vec<Selection> {
    let len = settings.len();
    let window = |i: usize| {
        let density = settings.model_knob(table, i, "density");
        if density >= 1.0 {
            return [Selection::smallest(i, len, len), Selection::smallest(i, 0, len)];
        }
        let kept = (density * len as f64) as usize;
        let top = (settings.model_knob(table, i, "gamma") * len as f64) as usize;
        let below = len.saturating_sub(kept).saturating_sub(top);
        [Selection::smallest(i, below + kept, len), Selection::smallest(i, below, len)]
    };
    (0..settings.weights.len()).flat_map(window).collect()
}
