//! TIES as peft computes it: vote on the trimmed changes before they are weighed, divide by how many agree.

use super::consensus::{Consensus, Keep, TaskVectors, Vote};
use super::ties::DENSITY;
use crate::method::{About, Knob, Settings};
use crate::select::Selection;

static KNOBS: &[Knob] = &[Knob::choice(
    "majority_sign_method",
    "Majority sign",
    &["total", "frequency"],
    "How a sign wins: by the sum of the changes, or by how many models have it.",
)];
static MODEL_KNOBS: &[Knob] = &[DENSITY];

/// TIES-merging, peft's variant.
pub(crate) static TIES_PEFT: TaskVectors = TaskVectors::new(
    About::new(
        "ties_peft",
        "TIES (peft)",
        "Yadav et al. 2023, TIES-Merging, arXiv 2306.01708, as in peft 0.21 `ties`: per tensor, the vote before the weights, divided by the count",
    ),
    KNOBS,
    MODEL_KNOBS,
    plan,
);

fn plan(settings: &Settings<'_>) -> Consensus {
    let len = settings.len();
    let largest = |i| {
        let density = settings.model_knob(MODEL_KNOBS, i, "density");
        Selection::largest(i, if density >= 1.0 { len } else { (density * len as f64) as usize }, len)
    };
    let frequency = settings.knob(KNOBS, "majority_sign_method") == 1.0;
    Consensus {
        keep: Keep::Selected((0..settings.weights.len()).map(largest).collect()),
        vote: if frequency { Vote::Frequency } else { Vote::Total },
        tie: 1.0,
        normalize: true,
        rescale: false,
        lambda: 1.0,
    }
}
