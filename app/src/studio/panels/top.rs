//! The bar along the top: what is loaded, undo and redo, light and dark.

use egui::{Color32, RichText, Ui};

use crate::studio::Studio;
use crate::studio::shortcuts::with_keys;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, icon_button};

/// Narrower than this, some of the bar's words become icons; narrower still, the name of the program leaves.
const NARROW: [f32; 2] = [640.0, 480.0];

/// Draws the bar.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    let width = ui.available_width();
    let narrow = width < NARROW[0];
    ui.horizontal_centered(|ui| {
        if width >= NARROW[1] {
            ui.label(RichText::new("Admix").size(17.0).strong().color(p.fill));
            ui.add_space(6.0);
        }
        ui.add_enabled_ui(studio.can_undo(), |ui| {
            if icon_button(ui, Icon::Undo, &with_keys(ui, "Undo", "Undo")).clicked() {
                studio.undo();
            }
        });
        ui.add_enabled_ui(studio.can_redo(), |ui| {
            if icon_button(ui, Icon::Redo, &with_keys(ui, "Redo", "Redo")).clicked() {
                studio.redo();
            }
        });
        ui.separator();
        let room = (ui.available_width() - if narrow { 76.0 } else { 330.0 }).max(60.0);
        in_use(studio, ui, room);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let dark = ui.visuals().dark_mode;
            if icon_button(ui, Icon::Theme, if dark { "Light colours" } else { "Dark colours" }).clicked() {
                studio.switch_theme();
            }
            let help = with_keys(ui, "Every action by name", "Commands");
            let commands = match narrow {
                true => icon_button(ui, Icon::List, "Commands"),
                false => ui.button("Commands").on_hover_text(help),
            };
            if commands.clicked() {
                studio.palette.toggle();
            }
            if !narrow {
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

/// What is loaded, and whether a file holds it: that is read even where the names are cut.
fn in_use(studio: &Studio, ui: &mut Ui, room: f32) {
    let summary = studio.document.summary();
    let state = match (studio.document.is_mixed(), studio.is_exported()) {
        (false, _) => "",
        (true, true) => "saved",
        (true, false) => "unsaved",
    };
    let whole = if state.is_empty() { summary.clone() } else { format!("{summary}, {state}") };
    let help = match studio.memory_estimate() {
        Some((_, memory)) => format!("In use: {whole}\nA mix lives here until you export it.\nMemory: {memory}"),
        None => format!("In use: {whole}\nA mix lives here until you export it."),
    };
    let wide = |ui: &Ui, text: &str| {
        let font = egui::TextStyle::Body.resolve(ui.style());
        ui.painter().layout_no_wrap(text.into(), font, Color32::WHITE).size().x
    };
    let is_cut = !state.is_empty() && wide(ui, &whole) > room;
    let own = wide(ui, state) + ui.spacing().item_spacing.x;
    let mut label = |width: f32, text: &str| {
        ui.allocate_ui(egui::vec2(width, 24.0), |ui| {
            ui.set_max_width(width);
            ui.add(egui::Label::new(RichText::new(text).strong()).truncate()).on_hover_text(&help);
        });
    };
    if is_cut {
        label((room - own).max(20.0), &summary);
        ui.label(RichText::new(state).color(palette(ui).soft)).on_hover_text(&help);
    } else {
        label(room, &whole);
    }
}
