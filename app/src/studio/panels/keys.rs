//! The list of keys.

use egui::{RichText, Ui};

use crate::studio::Studio;
use crate::studio::shortcuts::{COMMANDS, POINTER};
use crate::studio::theme::palette;

/// Draws the list, if it is open.
pub fn show(studio: &mut Studio, ui: &Ui) {
    if !studio.keys_open {
        return;
    }
    let shown = egui::Modal::new(egui::Id::unique("keys")).show(ui.ctx(), |ui| {
        let p = palette(ui);
        ui.set_width(380.0);
        ui.label(RichText::new("Keys and gestures").heading().strong());
        egui::ScrollArea::vertical().max_height(ui.ctx().content_rect().height() * 0.7).show(ui, |ui| {
            egui::Grid::new("keys").num_columns(2).spacing([24.0, 6.0]).striped(true).show(ui, |ui| {
                let keys = COMMANDS.iter().filter(|c| !c.keys.is_empty()).map(|c| (c.keys, c.name));
                for (keys, name) in keys.chain(POINTER.iter().copied()) {
                    ui.label(RichText::new(keys).monospace());
                    ui.label(RichText::new(name).color(p.ink));
                    ui.end_row();
                }
            });
        });
        ui.button("Close").clicked()
    });
    if shown.should_close() || shown.inner {
        studio.keys_open = false;
    }
}
