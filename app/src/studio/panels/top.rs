//! The bar along the top: what is loaded, undo and redo, light and dark.

use egui::{RichText, Ui};

use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, icon_button};

/// Draws the bar.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    let narrow = ui.available_width() < 640.0;
    ui.horizontal_centered(|ui| {
        ui.label(RichText::new("Admix").size(17.0).strong().color(p.fill));
        ui.add_space(6.0);
        ui.add_enabled_ui(studio.can_undo(), |ui| {
            if icon_button(ui, Icon::Undo, "Undo (Ctrl+Z)").clicked() {
                studio.undo();
            }
        });
        ui.add_enabled_ui(studio.can_redo(), |ui| {
            if icon_button(ui, Icon::Redo, "Redo (Ctrl+Y)").clicked() {
                studio.redo();
            }
        });
        ui.separator();
        let mut summary = studio.document.summary();
        if studio.document.is_mixed() {
            summary.push_str(if studio.is_exported() { ", saved" } else { ", unsaved" });
        }
        let room = (ui.available_width() - if narrow { 70.0 } else { 330.0 }).max(60.0);
        ui.allocate_ui(egui::vec2(room, 24.0), |ui| {
            ui.set_max_width(room);
            ui.add(egui::Label::new(RichText::new(&summary).strong()).truncate())
                .on_hover_text(format!("In use: {summary}\nA mix lives here until you export it."));
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let dark = ui.visuals().dark_mode;
            if icon_button(ui, Icon::Theme, if dark { "Light colours" } else { "Dark colours" }).clicked() {
                studio.switch_theme();
            }
            if !narrow {
                if ui.button("Commands").on_hover_text("Every action by name (Ctrl+K)").clicked() {
                    studio.palette.toggle();
                }
                let mut line = studio.device_line();
                if studio.show_frames {
                    let [(busy, _), (idle, _)] = studio.frames.p95();
                    line = format!("frames: 95% under {busy:.1} ms rendering, {idle:.1} ms idle");
                } else if let Some((_, text)) = studio.memory_estimate() {
                    line = format!("{text}, {line}");
                }
                ui.add(egui::Label::new(RichText::new(line).small().color(p.soft)).truncate());
            }
        });
    });
}
