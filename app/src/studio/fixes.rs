//! What a failure can be put right with, at one click.

use super::Studio;
use super::document::Document;
use super::notices::Fix;
use crate::io::pick;
use crate::session::Trouble;

impl Studio {
    /// The one fix that a failure offers.
    pub(super) fn fix_for(&self, error: &str, trouble: Trouble) -> Option<Fix> {
        let recipe = &self.document.recipe;
        // By the whole reference, or by the file's name where that is all the message says.
        let is_named = |reference: &str| {
            let file = reference.rsplit(['/', '\\', ':']).next().unwrap_or(reference);
            error.contains(reference) || (file.len() > 3 && error.contains(file))
        };
        let models = recipe.merge.iter().flat_map(|s| s.models.iter().map(|m| &m.source.reference));
        let mut parts = recipe.adapters.iter().map(|a| &a.source.reference).chain(models);
        let mut part = || parts.find(|r| is_named(r)).map(|r| Fix::Drop(r.clone()));
        match trouble {
            Trouble::File => {
                let is_base = is_named(&recipe.base.reference) && recipe.base.reference != "builtin:mini";
                part().or(is_base.then_some(Fix::BuiltinModel)).or_else(|| self.undo_fix())
            }
            Trouble::Sampling => Some(Fix::PlainSampling),
            Trouble::Value if error.contains("multiple of") || error.contains("multiples of") => Some(Fix::NativeSize),
            Trouble::Value => part().or_else(|| self.undo_fix()),
            Trouble::Device => Some(Fix::Smaller),
            Trouble::Other => Some(Fix::Again),
        }
    }

    fn undo_fix(&self) -> Option<Fix> {
        self.can_undo().then_some(Fix::Undo)
    }

    /// Carries a fix out and makes the picture that failed.
    pub fn apply(&mut self, fix: Fix) {
        let native = self.native_size();
        let sample = &mut self.document.recipe.sample;
        match fix {
            Fix::Again => {}
            Fix::Undo => self.undo(),
            Fix::AddFiles => return pick::open(&self.inbox),
            Fix::BuiltinModel => self.use_base("builtin:mini"),
            Fix::NativeSize => {
                (sample.width, sample.height) = (native.map(|n| n[0]), native.map(|n| n[1]));
                sample.batch = Some(1);
            }
            Fix::Smaller => {
                let half = |side: Option<u32>| side.map(|s| (s / 2).div_ceil(64) * 64);
                (sample.width, sample.height) = (half(sample.width), half(sample.height));
                sample.batch = Some(1);
            }
            Fix::PlainSampling => {
                let fresh = Document::default().recipe.sample;
                (sample.sampler, sample.schedule, sample.steps) = (fresh.sampler, fresh.schedule, fresh.steps);
                self.document.keep_fitting_knobs();
            }
            Fix::Drop(reference) => {
                while let Some(at) = self.document.recipe.adapters.iter().position(|a| a.source.reference == reference)
                {
                    self.drop_adapter(at);
                }
                for at in (0..self.document.recipe.merge.len()).rev() {
                    let held = &self.document.recipe.merge[at].models;
                    if let Some(model) = held.iter().position(|m| m.source.reference == reference) {
                        self.document.remove_model(at, model);
                    }
                }
            }
        }
        self.make();
    }
}
