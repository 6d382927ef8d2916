//! The mix: two models with a slider between them, the method with its knobs, and adapters.

use egui::{ScrollArea, Ui};

use super::adapters::adapters;
use super::stages::stages;
use crate::studio::Studio;
use crate::studio::widgets::heading;

/// Draws the panel.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    ui.horizontal(|ui| {
        heading(ui, "Mix");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let mixed = studio.document.is_mixed();
            let button = ui.add_enabled(mixed, egui::Button::new("Export"));
            let button = button.on_hover_text("Write this mix as a checkpoint file, its recipe inside.");
            if button.on_disabled_hover_text("There is nothing mixed yet: add a model or an adapter.").clicked() {
                studio.export();
            }
        });
    });
    ScrollArea::vertical().id_salt("mix").auto_shrink([false, true]).show(ui, |ui| {
        stages(studio, ui);
        ui.add_space(6.0);
        adapters(studio, ui);
        ui.add_space(6.0);
        super::figures::show(studio, ui);
    });
}
