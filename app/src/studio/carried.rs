//! What moves from one studio to the next when the graphics device is lost.

use egui::util::undoer::Undoer;

use super::Studio;
use super::document::Document;
use super::history::History;
use super::prefs::Prefs;

/// Everything a person made or set, without anything that lay on the device.
pub struct Carried {
    document: Document,
    prefs: Prefs,
    undo: Undoer<Document>,
    history: History,
    shown: Option<u64>,
}

impl Studio {
    /// Stops the work and hands out what another studio can go on with.
    pub fn leave(&mut self) -> Carried {
        self.desk.cancel(true);
        let mut history = std::mem::take(&mut self.history);
        history.drop_textures();
        Carried {
            document: self.document.clone(),
            prefs: self.prefs.clone(),
            undo: self.undo.clone(),
            history,
            shown: self.canvas.shown,
        }
    }

    /// Goes on with what another studio left.
    pub fn join(&mut self, carried: Carried) {
        let Carried { document, prefs, undo, history, shown } = carried;
        self.live_render.settle(&document);
        (self.document, self.prefs, self.undo, self.history) = (document, prefs, undo, history);
        self.canvas.shown = shown;
    }
}
