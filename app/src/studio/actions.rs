//! What panels, shortcuts and the palette ask for: pictures, history.

use admix_engine::mix::Recipe;

use super::Studio;
use super::history::color_image;
use super::notices::Level;
use crate::io::pick;
use crate::session::{Purpose, Render, Work};

/// What waits for a history entry to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Its settings and its picture come back.
    Restore,
    /// It is saved as a file.
    Save,
    /// It goes to the clipboard.
    Copy,
    /// It becomes a shelf row's small picture.
    Thumbnail(String),
}

impl Studio {
    pub(super) fn submit(&mut self, recipe: Recipe, purpose: Purpose) -> u64 {
        self.desk.submit(Work::Render(Box::new(Render::new(recipe, purpose))))
    }

    /// Makes the picture of the settings.
    pub fn make(&mut self) {
        self.notices.clear_errors();
        self.grid_on_show = false;
        self.seeds.before(&mut self.document);
        self.live_render.settle(&self.document);
        let recipe = self.document.effective();
        let id = self.submit(recipe.clone(), Purpose::Asked);
        self.seeds.asked(id, recipe);
    }

    /// Takes the settings of a recipe that was brought from elsewhere.
    pub(super) fn adopt(&mut self, recipe: Recipe) {
        self.document.adopt(recipe);
        self.seeds.forget();
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
            self.canvas.drop_offered();
        }
    }

    /// Does something with a history entry, at once or when it was read.
    pub(super) fn with_entry(&mut self, id: u64, then: Then) {
        let Some(entry) = self.history.get(id) else { return };
        if let Some(why) = entry.trouble() {
            return self.notices.error(why.to_string());
        }
        let is_ready = match then {
            Then::Restore => entry.is_known(),
            _ => !entry.pictures.is_empty(),
        };
        if !is_ready {
            self.history.want(id);
            return self.then.push((id, then));
        }
        match then {
            Then::Restore => self.restore(id),
            Then::Save => self.save_picture(id),
            Then::Copy => self.copy_picture(id),
            Then::Thumbnail(reference) => {
                if let Some(picture) = self.history.get(id).and_then(|e| e.pictures.first()) {
                    self.thumbs.set(&self.context, &reference, picture);
                }
            }
        }
    }

    /// A history entry was read: what waited for that is done.
    pub(super) fn go_on_with(&mut self, id: u64) {
        let (due, rest) = std::mem::take(&mut self.then).into_iter().partition(|(of, _)| *of == id);
        self.then = rest;
        let due: Vec<(u64, Then)> = due;
        due.into_iter().for_each(|(id, then)| self.with_entry(id, then));
    }

    /// Compares the picture on show with a history entry.
    pub fn compare_with(&mut self, id: u64) {
        self.grid_on_show = false;
        self.canvas.compare_with(id);
    }

    /// A history entry's picture to the clipboard.
    pub fn copy_picture(&mut self, id: u64) {
        match self.history.get(id).map(|e| e.pictures.first().map(|p| color_image(p))) {
            Some(Some(image)) => self.context.copy_image(image),
            Some(None) => self.with_entry(id, Then::Copy),
            None => {}
        }
    }

    /// Brings a history entry back: picture and settings.
    pub fn restore(&mut self, id: u64) {
        let Some(entry) = self.history.get(id) else { return };
        if !entry.is_known() {
            return self.with_entry(id, Then::Restore);
        }
        let recipe = entry.recipe.clone();
        self.adopt(recipe);
        self.canvas.drop_offered();
        self.grid_on_show = false;
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
                    self.compare_with(id);
                }
            }
        }
    }

    /// Saves a history entry's picture.
    pub fn save_picture(&mut self, id: u64) {
        let picture = self.canvas.zoomed.filter(|_| self.canvas.shown == Some(id)).unwrap_or(0);
        let Some(entry) = self.history.get(id) else { return };
        if entry.pictures.is_empty() {
            return self.with_entry(id, Then::Save);
        }
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
        match self.canvas.shown {
            Some(id) => self.with_entry(id, Then::Thumbnail(reference.into())),
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
