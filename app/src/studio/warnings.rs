//! What a picture that was made warns of: under the names people know, and with what puts it right.

use super::Studio;
use super::notices::Fix;
use crate::io::catalogue::short;

impl Studio {
    /// Shows a warning of the engine, which names things as recipes do.
    pub(super) fn warn_of(&mut self, warning: &str) {
        let adapters = self.document.recipe.adapters.iter().map(|a| &a.source.reference);
        let about = adapters.filter(|r| warning.starts_with(&format!("{r} "))).max_by_key(|r| r.len());
        let Some(reference) = about else { return self.notices.remind(warning.into(), None) };
        let text = warning.replacen(reference.as_str(), &short(reference), 1);
        // `strength_line` of the engine's `understand` module.
        let fix = warning.contains("times the strength").then(|| Fix::WeightOne(reference.clone()));
        self.notices.remind(text, fix);
    }

    /// An adapter as strong as it was trained to be.
    pub(super) fn set_to_one(&mut self, reference: &str) {
        for adapter in self.document.recipe.adapters.iter_mut().filter(|a| a.source.reference == reference) {
            adapter.weight = 1.0;
        }
    }
}
