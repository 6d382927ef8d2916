//! What the engine tells: finished pictures, cards, exports, token counts, failures.

use egui::Context;

use super::Studio;
use super::notices::{Fix, Level};
use crate::session::{News, Purpose, Trouble};

impl Studio {
    pub(super) fn take_news(&mut self, context: &Context) {
        for news in self.desk.news() {
            match news {
                News::Rendered { id, purpose: Purpose::Study, finished } => self.take_study(context, id, *finished),
                News::Rendered { id, purpose, finished } => self.take_finished(context, id, purpose, *finished),
                News::Opened { reference, against, card } => {
                    // Of a file that was just brought; other rows say for themselves what is wrong with them.
                    if let Err(error) = &card
                        && self.details.as_ref() == Some(&reference)
                    {
                        self.notices.error(error.clone());
                    }
                    self.shelf.learn(&reference, against, card);
                }
                News::Exported { id, name } => {
                    self.exported = self.exporting.remove(&id);
                    self.notices.info(format!("Exported {name}"));
                }
                News::Understood { recipe, figures } => self.figures.learn(*recipe, figures),
                News::Counted { texts, counts } => self.counting.learn(&texts, counts),
                News::Failed { id, purpose, error, trouble } => self.take_failure(id, purpose, error, trouble),
                News::Cancelled { id } => {
                    self.exporting.remove(&id);
                    self.seeds.missed(id);
                    self.figures.stopped(id);
                    self.miss_study(id, "");
                }
            }
        }
        self.begin_exports();
    }

    /// Says what failed, with what puts that right: no picture is made where none was asked for.
    fn take_failure(&mut self, id: u64, purpose: Option<Purpose>, error: String, trouble: Trouble) {
        if let Some(drawn) = self.first_failure(id) {
            let fix = self.fix_for_study(&error, trouble, drawn);
            self.notices.error_with(error.clone(), fix);
        }
        if self.miss_study(id, &error) {
            return;
        }
        self.seeds.missed(id);
        self.figures.stopped(id);
        let fix = match self.exporting.remove(&id) {
            Some(_) => Some(Fix::ExportAgain),
            None => purpose.and_then(|_| self.fix_for(&error, trouble)),
        };
        self.canvas.drop_scrub();
        self.notices.error_with(error, fix);
    }

    fn take_finished(&mut self, context: &Context, id: u64, purpose: Purpose, finished: crate::session::Finished) {
        if purpose == Purpose::Scrub {
            if let Some(picture) = finished.pictures.first() {
                self.canvas.show_scrub(context, picture);
            }
            return;
        }
        self.notices.clear_errors();
        if finished.dropped_tokens > 0 {
            let text = format!(
                "The prompt is {} tokens too long for this model; they were left out.",
                finished.dropped_tokens
            );
            self.notices.add(Level::Warning, text, Vec::new());
        }
        for warning in &finished.warnings {
            self.warn_of(warning);
        }
        let before = self.canvas.shown;
        self.thumbs.learn(context, &finished);
        self.thumbs.note_pace(finished.seconds);
        let seed = finished.recipe.sample.seed;
        let entry = self.history.add(finished);
        self.keep_history();
        if purpose != Purpose::Settle {
            self.canvas.drop_offered();
        }
        let is_compared = self.canvas.other;
        self.canvas.show_entry(entry);
        // A knob was let go: what it was like before lies under the new picture, a drag away.
        if let (Purpose::Settle, true, Some(before)) =
            (purpose, self.prefs.live, before.filter(|_| is_compared.is_none()))
        {
            self.canvas.offer_before(before);
        } else if let (Purpose::Settle, true, Some(before)) = (purpose, self.canvas.is_offered(), before) {
            self.canvas.offer_before(before);
        }
        if !self.prefs.begun {
            self.prefs.begun = true;
            self.prefs.shelf_open = true;
            self.prefs.mix_open = true;
            self.prefs.guide_open = true;
            self.prefs.history_open = true;
            self.notices.info("Now mix: add an adapter from the shelf, or drop a model here.");
        }
        if purpose == Purpose::Asked {
            // The seed alone changes, which is nothing for Live to follow; what a person changed meanwhile is.
            let is_followed = self.live_render.has_seen(&self.document);
            if self.seeds.done(id, seed, &mut self.document, before.is_some()) && is_followed {
                self.live_render.settle(&self.document);
            }
        }
    }
}
