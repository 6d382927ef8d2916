//! The list of keys.

use egui::{Align, Label, Layout, RichText, ScrollArea, Ui, vec2};

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
        let window = ui.ctx().content_rect().size();
        let width = (window.x - 40.0).min(460.0);
        ui.set_width(width);
        ui.label(RichText::new("Keys and gestures").heading().strong());
        let height = (window.y - 160.0).max(80.0);
        ScrollArea::vertical().max_height(height).min_scrolled_height(height).show(ui, |ui| {
            let commands = COMMANDS.iter().filter(|c| !c.keys.is_empty());
            let commands = commands.map(|c| (c.shown_keys(ui.ctx()), c.name)).collect::<Vec<_>>();
            let ctrl = if ui.ctx().os().is_mac() { "Cmd" } else { "Ctrl" };
            let pointer = POINTER.iter().map(|(gesture, effect)| (gesture.replace("Ctrl", ctrl), *effect));
            for (keys, name) in commands.into_iter().chain(pointer) {
                ui.horizontal_top(|ui| {
                    // Both columns wrap, so that neither leaves a narrow window.
                    let [left, right] = [0.4, 0.6].map(|part| (width - 24.0) * part);
                    column(ui, left, RichText::new(keys).monospace());
                    column(ui, right, RichText::new(name).color(p.ink));
                });
            }
        });
        ui.button("Close").clicked()
    });
    if shown.should_close() || shown.inner {
        studio.keys_open = false;
    }
}

fn column(ui: &mut Ui, width: f32, text: RichText) {
    ui.allocate_ui_with_layout(vec2(width, 0.0), Layout::top_down(Align::Min), |ui| {
        ui.set_width(width);
        ui.add(Label::new(text).wrap());
    });
}
