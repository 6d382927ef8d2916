//! What the engine tells: finished pictures, cards, exports, token counts, failures.

use egui::Context;

use super::Studio;
use super::notices::Level;
use crate::session::{Export, News, Purpose, Work};

impl Studio {
    pub(super) fn take_news(&mut self, context: &Context) {
        for news in self.desk.news() {
            match news {
                News::Rendered { id, purpose: Purpose::Study, finished } => self.take_study(context, id, *finished),
                News::Rendered { purpose, finished, .. } => self.take_finished(context, purpose, *finished),
                News::Opened { reference, against, card } => {
                    if let Err(error) = &card
                        && self.shelf.find(&reference).is_some_and(|i| !i.builtin)
                    {
                        self.notices.error(error.clone());
                    }
                    self.shelf.learn(&reference, against, card);
                }
                News::Exported { name } => self.notices.info(format!("Exported {name}")),
                News::Understood { recipe, figures } => self.figures.learn(*recipe, figures),
                News::Counted { texts, counts } => self.counting.learn(&texts, counts),
                News::Failed { id, error, trouble, .. } => {
                    if !self.miss_study(id, &error) {
                        self.canvas.drop_scrub();
                        let fix = self.fix_for(&error, trouble);
                        self.notices.error_with(error, fix);
                    }
                }
                News::Cancelled { id } => {
                    self.miss_study(id, "");
                }
            }
        }
        let places = std::mem::take(&mut *self.export_places.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (recipe, place) in places {
            self.exported = Some(recipe.clone());
            self.desk.submit(Work::Export(Box::new(Export { recipe, place })));
        }
    }

    pub(super) fn take_finished(&mut self, context: &Context, purpose: Purpose, finished: crate::session::Finished) {
        self.notices.clear_errors();
        if purpose == Purpose::Scrub {
            if let Some(picture) = finished.pictures.first() {
                self.canvas.show_scrub(context, picture);
            }
            return;
        }
        if finished.dropped_tokens > 0 {
            let text = format!(
                "The prompt is {} tokens too long for this model; they were left out.",
                finished.dropped_tokens
            );
            self.notices.add(Level::Warning, text, Vec::new());
        }
        for warning in &finished.warnings {
            self.notices.add(Level::Warning, warning.clone(), Vec::new());
        }
        let before = self.canvas.shown;
        self.thumbs.learn(context, &finished);
        self.thumbs.note_pace(finished.seconds);
        let id = self.history.add(finished);
        self.keep_history();
        let is_compared = self.canvas.other;
        self.canvas.show_entry(id);
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
        if purpose == Purpose::Asked && !self.document.seed_locked && self.desk.waiting() == 0 && before.is_some() {
            self.roll_seed();
            self.live_render.settle(&self.document);
        }
    }
}
