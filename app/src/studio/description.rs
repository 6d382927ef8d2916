//! What an adapter does, told from pictures that are drawn in the background: `Describe from pictures` on its card.

use admix_engine::Picture;
use admix_engine::select::card::Seen;
use admix_engine::select::describe::{Look, View, describe};

use super::Studio;
use super::cards::Change;
use super::document::Document;
use super::study::{State, Study};

/// Things that any model can draw, plain enough for changes to show.
const SWEEP: [&str; 4] = ["cat face", "red apple", "rocket", "house"];

impl Studio {
    /// Opens the card of an adapter to change it.
    pub fn edit_card(&mut self, reference: &str) {
        match &self.suggest.cards {
            Some(cards) => cards.card(reference),
            // The tab reads cards when they are first wanted.
            None => self.suggest.wanted = Some(reference.to_owned()),
        }
    }

    pub(super) fn change_card(&mut self, change: Change) {
        if let (Some(editing), Some(cards)) = (&self.suggest.editing, &self.suggest.cards) {
            cards.change(&editing.reference, change);
            cards.card(&editing.reference);
        }
    }

    pub(super) fn save_card(&mut self) {
        if let Some(edits) = self.suggest.editing.as_ref().map(|e| e.edits()) {
            self.change_card(Change::Edit(Box::new(edits)));
            self.notices.info("The card is kept.".to_owned());
        }
    }

    /// Takes the card off the screen and gives up its pictures.
    pub(super) fn close_card(&mut self) {
        if let Some(study) = self.suggest.editing.take().and_then(|e| e.study) {
            study.stop(&self.desk);
        }
    }

    /// Draws the pictures.
    pub(super) fn describe_card(&mut self) {
        let Some(editing) = &mut self.suggest.editing else { return };
        let triggers: Vec<String> =
            editing.fields.triggers.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
        let mut cells = Vec::new();
        for thing in SWEEP {
            let mut without = Document::default();
            without.recipe.base = self.document.recipe.base.clone();
            let (width, height) = (self.document.recipe.sample.width, self.document.recipe.sample.height);
            (without.recipe.sample.width, without.recipe.sample.height) = (width, height);
            without.recipe.sample.prompt = Some(thing.to_owned());
            without.add_first_trigger(&triggers);
            let mut with = without.clone();
            let at = with.add_adapter(&editing.reference);
            with.recipe.adapters[at].weight = editing.fields.weight;
            cells.extend([(format!("{thing} without"), without), (format!("{thing} with"), with)]);
        }
        let mut study = Study::beside("Description".into(), &self.document, cells, true);
        study.begin(&self.context, &mut self.desk, &self.study_cache, 0);
        editing.study = Some(study);
    }

    /// Notes what the pictures tell once all are there.
    pub(super) fn finish_description(&mut self) {
        let Some(editing) = &mut self.suggest.editing else { return };
        let Some(study) = editing.study.take_if(|s| s.waiting().is_empty()) else { return };
        let picture = |state: &State| -> Option<std::sync::Arc<Picture>> {
            let State::Done(finished, _) = state else { return None };
            finished.pictures.first().cloned()
        };
        let pictures: Vec<_> = study.cells.iter().filter_map(|c| picture(&c.state)).collect();
        if pictures.len() < study.cells.len() {
            return self.notices.error("the pictures to describe it by were not all drawn".to_owned());
        }
        let look = |p: &Picture| Look::of(View { width: p.width, rgb: &p.rgb });
        let pairs: Vec<(Look, Look)> = pictures.as_chunks::<2>().0.iter().map(|[a, b]| (look(a), look(b))).collect();
        editing.seen = describe(&pairs);
        let prompts = study.cells.iter().step_by(2).filter_map(|c| c.document.recipe.sample.prompt.clone()).collect();
        let model = self.document.recipe.base.reference.clone();
        let seen = Seen { text: editing.seen.clone(), model, prompts };
        let (reference, with) = (editing.reference.clone(), pictures[1].clone());
        if let (Some(cards), Ok(png)) = (&self.suggest.cards, with.to_png(&[])) {
            cards.change(&reference, Change::Seen(seen, png));
        }
        // The first picture with it is its small picture on the shelf, too.
        self.thumbs.set(&self.context, &reference, &with);
    }
}
