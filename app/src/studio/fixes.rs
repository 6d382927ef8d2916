//! What a failure can be put right with, at one click.

use super::Studio;
use super::document::Document;
use super::notices::Fix;
use crate::io::{catalogue, pick};
use crate::session::Trouble;

/// Which study a fix is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// The strip.
    Strip,
    /// The grid.
    Grid,
}

/// How much of an error names a thing: the length of what stands there, the whole reference or else its file's name. Names that are part of
/// longer names do not count.
fn named_in(error: &str, reference: &str) -> Option<usize> {
    let file = reference.rsplit(['/', '\\', ':']).next().unwrap_or(reference);
    let is_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let stands = |name: &str, spaced: bool| {
        let ends = |c: Option<char>| c.is_none_or(|c| !is_of_a_name(c) || (spaced && c == ' '));
        // A full stop after a name ends the sentence.
        let after = |rest: &str| {
            let mut rest = rest.chars();
            match rest.next() {
                Some('.') => rest.next().is_none_or(char::is_whitespace),
                next => ends(next),
            }
        };
        let places = error.match_indices(name);
        (!name.is_empty()).then_some(())?;
        let mut places = places.filter(|(at, _)| ends(error[..*at].chars().next_back()));
        places.any(|(at, _)| after(&error[at + name.len()..])).then_some(name.len())
    };
    // A whole reference and a name with an ending stand for themselves in a sentence; a bare word may be the end of "my word".
    let is_whole = reference.contains(['/', '\\', ':']);
    stands(reference, is_whole || reference.contains('.'))
        .or_else(|| stands(file, file.contains('.')))
        .or_else(|| Some(catalogue::short(reference)).filter(|s| s.len() > 3).and_then(|s| stands(&s, false)))
}

impl Studio {
    /// The one fix that a failure to make a picture offers.
    pub(super) fn fix_for(&self, error: &str, trouble: Trouble) -> Option<Fix> {
        match trouble {
            Trouble::File => self.fix_of_part(error).or_else(|| self.undo_fix()),
            Trouble::Value if is_about_size(error) => Some(Fix::NativeSize),
            Trouble::Value => self.fix_of_part(error).or_else(|| self.undo_fix()),
            Trouble::Sampling => Some(Fix::PlainSampling),
            Trouble::Device => Some(Fix::Smaller),
            Trouble::Other => Some(Fix::Again),
        }
    }

    /// The one fix that a cell of a study offers; none where it failed for what varies along its axis.
    pub(super) fn fix_for_study(&self, error: &str, trouble: Trouble, drawn: Drawn) -> Option<Fix> {
        let fix = match trouble {
            Trouble::File => self.fix_of_part(error)?,
            Trouble::Value if is_about_size(error) => Fix::NativeSize,
            Trouble::Value => self.fix_of_part(error)?,
            Trouble::Sampling => return None,
            Trouble::Device => Fix::Smaller,
            Trouble::Other => Fix::Again,
        };
        Some(Fix::Draw(Box::new(fix), drawn))
    }

    /// The part of the mix that an error names, taken out: the one of which it says most.
    fn fix_of_part(&self, error: &str) -> Option<Fix> {
        let recipe = &self.document.recipe;
        let models = recipe.merge.iter().flat_map(|s| s.models.iter().map(|m| &m.source.reference));
        let base = &recipe.base.reference;
        let parts = recipe.adapters.iter().map(|a| &a.source.reference).chain(models).chain([base]);
        let named = parts.filter_map(|r| Some((named_in(error, r)?, r)));
        // The first of equals: what is mixed in leaves before the base does.
        let (_, part) = named.min_by_key(|(length, _)| std::cmp::Reverse(*length))?;
        match std::ptr::eq(part, base) {
            true => (part != "builtin:mini").then_some(Fix::BuiltinModel),
            false => Some(Fix::Drop(part.clone())),
        }
    }

    fn undo_fix(&self) -> Option<Fix> {
        self.can_undo().then_some(Fix::Undo)
    }

    /// Carries a fix out and makes what failed.
    pub fn apply(&mut self, fix: Fix) {
        match fix {
            Fix::AddFiles => pick::open(&self.inbox),
            Fix::ExportAgain => self.export(),
            Fix::Draw(fix, drawn) => {
                self.put_right(*fix);
                match drawn {
                    Drawn::Grid => self.make_grid(),
                    Drawn::Strip => self.redraw_strip(),
                }
            }
            fix => {
                self.put_right(fix);
                self.make();
            }
        }
    }

    /// Changes the settings as a fix says.
    fn put_right(&mut self, fix: Fix) {
        let native = self.native_size();
        let sample = &mut self.document.recipe.sample;
        match fix {
            Fix::Again | Fix::AddFiles | Fix::ExportAgain | Fix::Draw(..) => {}
            Fix::Undo => self.undo(),
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
            Fix::WeightOne(reference) => self.set_to_one(&reference),
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
    }
}

fn is_about_size(error: &str) -> bool {
    error.contains("multiple of") || error.contains("multiples of")
}

#[cfg(test)]
mod tests {
    use super::named_in;

    #[test]
    fn a_name_is_not_found_in_a_longer_one() {
        let error = "my blueprint.safetensors cannot be opened: No such file or directory (os error 2)";
        assert_eq!(named_in(error, "builtin:blueprint"), None);
        assert_eq!(named_in(error, "my blueprint.safetensors"), Some(24));
        assert_eq!(named_in(error, "/gone/my blueprint.safetensors"), Some(24));
        let error = "/x/ghost.safetensors: no adapter for this model; choose another.";
        assert_eq!(named_in(error, "/x/ghost.safetensors"), Some(20));
        assert_eq!(named_in(error, "ghost.safetensors"), Some(17));
        assert_eq!(named_in(error, "host.safetensors"), None);
        for error in ["builtin:ghost is not here", "there is no `ghost`", "cannot use \"builtin:ghost\"."] {
            assert!(named_in(error, "builtin:ghost").is_some(), "{error}");
            assert_eq!(named_in(error, "builtin:gho"), None, "{error}");
        }
        assert_eq!(named_in("é", ""), None);
    }
}
