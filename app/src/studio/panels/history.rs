//! The history: click restores, Alt-click compares.

use egui::{Key, Label, RichText, ScrollArea, Sense, Ui, vec2};

use crate::studio::Studio;
use crate::studio::canvas::Compare;
use crate::studio::theme::palette;
use crate::studio::widgets::{heading, menu_of};

const CELL: f32 = 76.0;

/// Draws the panel.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.horizontal(|ui| {
        heading(ui, "History");
        let count = studio.history.entries.len();
        ui.label(RichText::new(format!("{count}")).color(p.soft));
    });
    if studio.history.entries.is_empty() {
        ui.label(RichText::new("Pictures you make stay here, each with the recipe that makes it again.").color(p.soft));
        return;
    }
    // One row for either, so that the pictures stay where they are.
    ui.horizontal(|ui| {
        ui.set_min_height(ui.spacing().interact_size.y);
        if studio.canvas.other.is_none() {
            let hint = "Click restores, Alt- or Ctrl-click compares.";
            ui.add(Label::new(RichText::new(hint).small().color(p.soft)).truncate()).on_hover_text(hint);
            return;
        }
        ui.selectable_value(&mut studio.canvas.mode, Compare::Wipe, "Wipe");
        ui.selectable_value(&mut studio.canvas.mode, Compare::SideBySide, "Side by side");
        if ui.button("Done").on_hover_text("Stop comparing").clicked() {
            studio.canvas.other = None;
        }
    });
    let columns = ((ui.available_width() + 6.0) / (CELL + 6.0)).floor().max(1.0) as usize;
    let count = studio.history.entries.len();
    let rows = count.div_ceil(columns);
    let (mut restore, mut compare, mut remove, mut save, mut copy) = (None, None, None, None, None);
    let mut delete = None;
    ui.spacing_mut().item_spacing = vec2(6.0, 6.0);
    ScrollArea::vertical().id_salt("history").auto_shrink([false, true]).show_rows(ui, CELL, rows, |ui, range| {
        for row in range {
            ui.horizontal(|ui| {
                for column in 0..columns {
                    let n = row * columns + column;
                    // Newest first.
                    let Some(entry) = count.checked_sub(n + 1).and_then(|at| studio.history.entries.get(at)) else {
                        break;
                    };
                    let id = entry.id;
                    let (rect, response) = ui.allocate_exact_size(vec2(CELL, CELL), Sense::click());
                    let more = entry.count();
                    let prompt = entry.recipe.sample.prompt.clone().unwrap_or_default();
                    let seconds = entry.seconds.map_or(String::new(), |s| format!("\n{s:.1} s"));
                    let trouble = entry.trouble().map(String::from);
                    let about = trouble.clone().unwrap_or_else(|| format!("{}{seconds}", entry.infotext()));
                    match studio.history.small(ui.ctx(), id) {
                        Some(texture) => {
                            egui::Image::new((texture.id(), texture.size_vec2())).corner_radius(6.0).paint_at(ui, rect);
                        }
                        None => {
                            ui.painter().rect_filled(rect, 6.0, p.well);
                            let text = if trouble.is_some() { "unreadable" } else { "" };
                            let (at, font) = (rect.center(), egui::FontId::proportional(11.0));
                            ui.painter().text(at, egui::Align2::CENTER_CENTER, text, font, p.warn);
                        }
                    }
                    if more > 1 {
                        let at = rect.right_bottom() - vec2(4.0, 4.0);
                        crate::studio::widgets::caption(
                            ui.painter(),
                            at,
                            egui::Align2::RIGHT_BOTTOM,
                            &more.to_string(),
                        );
                    }
                    let edge = if studio.canvas.shown == Some(id) {
                        Some(p.fill)
                    } else if studio.canvas.other == Some(id) {
                        Some(p.good)
                    } else {
                        (response.hovered() || response.has_focus()).then_some(p.soft)
                    };
                    if let Some(color) = edge {
                        ui.painter().rect_stroke(rect, 6.0, egui::Stroke::new(2.0, color), egui::StrokeKind::Inside);
                    }
                    response.widget_info(|| {
                        let name = format!("Picture {}: {prompt}", count - n);
                        egui::WidgetInfo::labeled(egui::Role::Button, true, name)
                    });
                    let response = response.on_hover_text(about);
                    if response.clicked() {
                        // Many window managers keep Alt with the pointer for themselves.
                        if ui.input(|i| i.modifiers.alt || i.modifiers.command) {
                            compare = Some(id);
                        } else {
                            restore = Some(id);
                        }
                    }
                    if response.has_focus() {
                        let pressed = |key| ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, key));
                        delete = pressed(Key::Delete).then_some(id);
                        compare = pressed(Key::B).then_some(id).or(compare);
                    }
                    menu_of(&response, |ui| {
                        if ui.button("Restore its settings").clicked() {
                            restore = Some(id);
                        }
                        if ui.button("Compare with the canvas").clicked() {
                            compare = Some(id);
                        }
                        if ui.button("Save as PNG").clicked() {
                            save = Some(id);
                        }
                        if ui.button("Copy picture").clicked() {
                            copy = Some(id);
                        }
                        if ui.button("Copy recipe").clicked()
                            && let Some(entry) = studio.history.get(id)
                        {
                            ui.ctx().copy_text(entry.recipe.to_json(true));
                        }
                        if ui.button("Delete").clicked() {
                            remove = Some(id);
                        }
                    });
                }
            });
        }
    });
    // Nothing brings a picture back: one press of a key is too little.
    if let Some(id) = delete {
        let first = egui::Id::unique("first delete");
        if ui.data_mut(|d| d.remove_temp::<u64>(first)) == Some(id) {
            remove = Some(id);
        } else {
            ui.data_mut(|d| d.insert_temp(first, id));
            studio.notices.info("Delete once more takes this picture away for good.");
        }
    }
    if let Some(id) = restore {
        studio.restore(id);
    }
    if let Some(id) = copy {
        studio.copy_picture(id);
    }
    if let Some(id) = compare {
        studio.compare_with(id);
    }
    if let Some(id) = save {
        studio.save_picture(id);
    }
    if let Some(id) = remove {
        studio.forget(id);
    }
}
