//! What moves from one studio to the next when the graphics device is lost.

use admix_engine::mix::Recipe;
use egui::util::undoer::Undoer;

use super::Studio;
use super::document::Document;
use super::history::History;
use super::prefs::Prefs;
use super::seeds::Seeds;

/// Everything a person made or set, without anything that lay on the device.
pub struct Carried {
    document: Document,
    prefs: Prefs,
    undo: Undoer<Document>,
    history: History,
    shown: Option<u64>,
    exported: Option<Recipe>,
    seeds: Seeds,
}

impl Studio {
    /// Stops the work and hands out what another studio can go on with.
    pub fn leave(&mut self) -> Carried {
        self.desk.cancel(true);
        self.prefs.note_looks(&self.context);
        let mut history = std::mem::take(&mut self.history);
        history.drop_textures();
        Carried {
            document: self.document.clone(),
            prefs: self.prefs.clone(),
            undo: self.undo.clone(),
            history,
            shown: self.canvas.shown,
            exported: self.exported.clone(),
            seeds: self.seeds.clone(),
        }
    }

    /// Goes on with what another studio left.
    pub fn join(&mut self, carried: Carried) {
        let Carried { document, prefs, undo, history, shown, exported, seeds } = carried;
        self.live_render.settle(&document);
        (self.document, self.prefs, self.undo, self.history) = (document, prefs, undo, history);
        self.prefs.dress(&self.context);
        (self.exported, self.seeds) = (exported, seeds);
        // What was on its way is gone with the device: it may be asked for once more.
        self.seeds.forget();
        self.canvas.shown = shown;
    }
}
