//! The middle of the window: the picture, the strip over its lower edge, the prompt under it.

use egui::{CentralPanel, Frame, Panel, Ui};

use crate::studio::Studio;
use crate::studio::layout::padded;

/// Draws picture, strip and prompt.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let frame = padded(ui);
    Panel::bottom("prompt").resizable(false).frame(frame).show(ui, |ui| super::prompt::show(studio, ui));
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| picture(studio, ui));
}

/// Draws the picture with what lies over it.
pub fn picture(studio: &mut Studio, ui: &mut Ui) {
    let rect = ui.max_rect();
    super::strip::show(studio, ui);
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        if studio.prefs.grid_open && studio.grid_on_show && studio.grid.is_some() {
            super::grid::pictures(studio, ui);
            return;
        }
        // Strips and grids show their own progress.
        let live = studio.live().filter(|l| l.purpose != crate::session::Purpose::Study);
        let empty = if live.is_some() { "" } else { "Press Make image" };
        studio.canvas.show(ui, &mut studio.history, live.as_ref(), empty);
    });
    if let Some(fix) = studio.notices.show(ui, rect) {
        studio.apply(fix);
    }
    // A file over the window: say what will happen when it is let go.
    if ui.input(|i| !i.raw.hovered_files.is_empty()) {
        ui.painter().rect_filled(rect, 0.0, egui::Color32::from_black_alpha(150));
        let text = "Drop it: models and adapters go on the shelf, pictures and recipes bring their settings back";
        crate::studio::widgets::caption(ui.painter(), rect.center(), egui::Align2::CENTER_CENTER, text);
    }
}
