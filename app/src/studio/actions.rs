//! What panels, shortcuts and the palette ask for: undo, pictures, history.

use admix_engine::mix::Recipe;

use super::Studio;
use super::notices::Level;
use crate::io::pick;
use crate::session::{Purpose, Render, Work};

impl Studio {
    /// True when there is something to undo.
    pub fn can_undo(&self) -> bool {
        self.undo.has_undo(&self.document)
    }

    /// True when there is something to redo.
    pub fn can_redo(&self) -> bool {
        self.undo.has_redo(&self.document)
    }

    /// One step back.
    pub fn undo(&mut self) {
        if let Some(document) = self.undo.undo(&self.document) {
            self.document = document.clone();
        }
    }

    /// One step forth.
    pub fn redo(&mut self) {
        if let Some(document) = self.undo.redo(&self.document) {
            self.document = document.clone();
        }
    }

    // Pictures.

    pub(super) fn submit(&mut self, recipe: Recipe, purpose: Purpose) {
        self.desk.submit(Work::Render(Box::new(Render::new(recipe, purpose))));
    }

    /// Makes the picture of the settings.
    pub fn make(&mut self) {
        self.notices.clear_errors();
        self.live_render.settle(&self.document);
        self.submit(self.document.effective(), Purpose::Asked);
    }

    /// Draws another seed.
    pub fn roll_seed(&mut self) {
        // Steele et al. 2014's SplitMix64: any state will do, repeats are 2^32 draws away.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.document.recipe.sample.seed = Some((z ^ (z >> 31)) >> 32);
    }

    /// Live on or off.
    pub fn set_live(&mut self, on: bool) {
        self.prefs.live = on;
        self.live_render.settle(&self.document);
        if on {
            // Something to change must be in sight, and the seed must hold still.
            self.document.seed_locked = true;
            self.live_render.settle(&self.document);
            if self.canvas.is_empty() {
                self.make();
            }
        } else {
            self.desk.cancel_live();
            self.canvas.drop_scrub();
        }
    }

    /// Brings a history entry back: picture and settings.
    pub fn restore(&mut self, id: u64) {
        let Some(entry) = self.history.get(id) else { return };
        self.document.adopt(entry.recipe.clone());
        self.live_render.settle(&self.document);
        self.desk.cancel_live();
        self.canvas.show_entry(id);
    }

    /// Takes a history entry away.
    pub fn forget(&mut self, id: u64) {
        self.history.remove(id);
        if self.canvas.other == Some(id) {
            self.canvas.other = None;
        }
        if self.canvas.shown == Some(id) {
            self.canvas.shown = self.history.newest();
        }
    }

    /// Compares the picture on show with the one made before it.
    pub fn compare_with_last(&mut self) {
        let shown = self.canvas.shown;
        match self.canvas.other {
            Some(_) => self.canvas.other = None,
            None => {
                let before = self.history.entries.iter().rev().map(|e| e.id).find(|id| Some(*id) < shown);
                if let Some(id) = before {
                    self.canvas.compare_with(id);
                }
            }
        }
    }

    /// Saves a history entry's picture.
    pub fn save_picture(&mut self, id: u64) {
        let picture = self.canvas.zoomed.filter(|_| self.canvas.shown == Some(id)).unwrap_or(0);
        let Some(entry) = self.history.get(id) else { return };
        match entry.png(picture) {
            Ok(png) => pick::save(&self.inbox, &entry.file_name(), "png", png),
            Err(error) => self.notices.error(error),
        }
    }

    /// Saves the picture on show.
    pub fn save_shown(&mut self) {
        match self.canvas.shown {
            Some(id) => self.save_picture(id),
            None => self.notices.info("There is no picture yet to save."),
        }
    }

    /// The picture on show becomes a shelf row's small picture.
    pub fn give_thumbnail(&mut self, reference: &str) {
        let entry = self.canvas.shown.and_then(|id| self.history.get(id));
        match entry.and_then(|e| e.pictures.first()) {
            Some(picture) => self.thumbs.set(&self.context, reference, picture),
            None => self.notices.info("There is no picture yet."),
        }
    }

    /// The recipe to the clipboard; the next frame does it.
    pub fn copy_recipe(&mut self) {
        let text = self.document.effective().to_json(true);
        self.notices.add(Level::Info, "The recipe is on the clipboard.", Vec::new());
        self.inbox.copy(text);
    }

    /// A link to the recipe to the clipboard. Natively only its end, which can be pasted into any Admix.
    pub fn copy_link(&mut self) {
        let fragment = crate::io::link::fragment(&self.document.effective());
        #[cfg(target_arch = "wasm32")]
        let fragment = crate::io::assets::address() + &fragment;
        self.notices.add(Level::Info, "A link to the recipe is on the clipboard.", Vec::new());
        self.inbox.copy(fragment);
    }

    /// Saves the recipe.
    pub fn save_recipe(&mut self) {
        pick::save(&self.inbox, "recipe.json", "json", self.document.effective().to_json(true).into_bytes());
    }
}
