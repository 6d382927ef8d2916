//! Model Breadcrumbs with TIES' vote on signs.

use admix_tensor::Recorder;

use super::breadcrumbs::{CRUMBS_RESCALE, GAMMA, windows};
use super::consensus::{Consensus, Keep};
use super::dare_linear::OWN_NORMALIZE;
use super::ties::{DENSITY, LAMBDA};
use crate::MixError;
use crate::flat::Flat;
use crate::method::{HostInputs, Inputs, Knob, Method, Settings};

/// Model Breadcrumbs with TIES, mergekit's variant.
pub struct BreadcrumbsTies;

static KNOBS: &[Knob] = &[LAMBDA, OWN_NORMALIZE, CRUMBS_RESCALE];
static MODEL_KNOBS: &[Knob] = &[DENSITY, GAMMA];

fn plan(settings: &Settings<'_>) -> Consensus {
    Consensus {
        keep: Keep::Window(windows(settings, MODEL_KNOBS)),
        vote: true,
        normalize: settings.switch(KNOBS, "normalize"),
        rescale: settings.switch(KNOBS, "rescale"),
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

impl Method for BreadcrumbsTies {
    fn name(&self) -> &'static str {
        "breadcrumbs_ties"
    }

    fn label(&self) -> &'static str {
        "Model Breadcrumbs with TIES"
    }

    fn citation(&self) -> &'static str {
        "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv 2312.06795, as in mergekit 0.1.5 `breadcrumbs_ties`"
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
