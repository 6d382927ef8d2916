//! Model Breadcrumbs: of each change drop the largest outliers and the smallest elements, weigh and add.

use admix_tensor::Recorder;

use super::consensus::{Consensus, Keep};
use super::dare_linear::{OWN_NORMALIZE, RESCALE};
use super::ties::{DENSITY, LAMBDA};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Knob, Method, Settings};
use crate::select::Selection;

/// Model Breadcrumbs, mergekit's variant.
pub struct Breadcrumbs;

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

fn plan(settings: &Settings<'_>) -> Consensus {
    Consensus {
        keep: Keep::Window(windows(settings, MODEL_KNOBS)),
        vote: false,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

impl Method for Breadcrumbs {
    fn name(&self) -> &'static str {
        "breadcrumbs"
    }

    fn label(&self) -> &'static str {
        "Model Breadcrumbs"
    }

    fn citation(&self) -> &'static str {
        "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv 2312.06795, as in mergekit 0.1.5 `breadcrumbs`"
    }

    fn knobs(&self) -> &'static [Knob] {
        KNOBS
    }

    fn model_knobs(&self) -> &'static [Knob] {
        MODEL_KNOBS
    }

    fn uses_origin(&self) -> bool {
        true
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        plan(settings).record(rec, inputs, settings, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        plan(settings).reference(inputs, settings)
    }
}
