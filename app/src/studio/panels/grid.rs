//! The XYZ grid: what varies along columns, rows and pages, and the pictures themselves, each of which can be adopted.

use egui::{Align2, ComboBox, FontId, RichText, ScrollArea, Sense, Stroke, StrokeKind, TextEdit, Ui, vec2};

use super::strip::{described, picture_of};
use crate::studio::Studio;
use crate::studio::study::{Axis, MOST, Setting, State};
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, big_button, heading, icon_button};

/// Draws the panel in which a grid is set up.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    heading(ui, "Grid");
    ScrollArea::vertical().id_salt("grid setup").auto_shrink([false, true]).show(ui, |ui| {
        let mut counts = [1; 3];
        for (at, (letter, what)) in [("X", "columns"), ("Y", "rows"), ("Z", "pages")].into_iter().enumerate() {
            ui.push_id(letter, |ui| {
                ui.horizontal(|ui| {
                    ui.label(RichText::new(letter).strong()).on_hover_text(what);
                    axis_choice(studio, ui, at, letter);
                });
                if studio.grid_setup.axes[at].setting.is_some() {
                    let edit = TextEdit::singleline(&mut studio.grid_setup.axes[at].text).desired_width(f32::INFINITY);
                    ui.add(edit).accessible_name(format!("Values of {letter}")).on_hover_text(format!(
                        "Numbers: 1, 2.5, 1-5, 1-9 (+2), 0-1 [5]. Names: between commas. Words of the prompt: the first is replaced by the others. At most {MOST}."
                    ));
                    match studio.read_axis(&studio.grid_setup.axes[at]) {
                        Ok(axis) => counts[at] = axis.len(),
                        Err(error) => {
                            ui.label(RichText::new(error).small().color(p.bad));
                        }
                    }
                }
            });
        }
        let help = "A few steps and the preview decoder: a rough picture in a fraction of the time";
        ui.checkbox(&mut studio.grid_setup.is_quick, "Quick look").on_hover_text(help);
        let count: usize = counts.iter().product();
        let is_set = studio.grid_setup.axes.iter().any(|a| a.setting.is_some());
        ui.horizontal_wrapped(|ui| {
            let text = if count > 1 { format!("Make {count} pictures") } else { "Make grid".into() };
            if big_button(ui, &text, is_set).clicked() {
                studio.make_grid();
            }
            let Some(grid) = &studio.grid else { return };
            let progress = grid.progress();
            if let Some(text) = &progress {
                ui.label(RichText::new(text).small().color(p.soft));
            }
            if progress.is_some() && ui.button("Stop").on_hover_text("Keep what is there").clicked() {
                grid.stop(&studio.desk);
            }
            let mut is_over = false;
            let mut is_out = false;
            if progress.is_none() {
                is_out = ui.button("Export").on_hover_text("Save the grid as one picture with its labels").clicked();
            }
            if !studio.grid_on_show && ui.button("Show grid").on_hover_text("In the picture's place").clicked() {
                studio.grid_on_show = true;
            }
            is_over |= ui.button("Close grid").on_hover_text("Back to the picture").clicked();
            if is_out {
                studio.export_grid();
            }
            if is_over {
                studio.drop_grid();
            }
        });
    });
}

fn axis_choice(studio: &mut Studio, ui: &mut Ui, at: usize, letter: &str) {
    let now = studio.grid_setup.axes[at].setting.clone();
    let text = now.as_ref().map_or("nothing".to_string(), |s| s.label(&studio.document));
    let mut chosen = None;
    let width = ui.available_width();
    let combo = ComboBox::from_id_salt("axis").selected_text(text).width(width).truncate().height(420.0);
    let response = combo.show_ui(ui, |ui| {
        if ui.selectable_label(now.is_none(), "nothing").clicked() {
            chosen = Some(None);
        }
        for setting in Setting::all(&studio.document) {
            if ui.selectable_label(now.as_ref() == Some(&setting), setting.label(&studio.document)).clicked() {
                chosen = Some(Some(setting));
            }
        }
    });
    response.response.accessible_name(format!("Axis {letter}"));
    if let Some(setting) = chosen {
        studio.grid_setup.axes[at] = studio.filled_axis(setting);
    }
}

/// Draws the grid in the canvas's place.
pub fn pictures(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.painter().rect_filled(ui.max_rect(), 0.0, p.paper);
    let Some(grid) = &mut studio.grid else { return };
    let [columns, rows, pages] = grid.axes.each_ref().map(Axis::len);
    let (mut adopt, mut close) = (None, false);
    ui.horizontal(|ui| {
        ui.add_space(8.0);
        let named = |axis: &Axis| axis.setting.is_some().then(|| axis.name.clone());
        let names: Vec<String> = grid.axes.iter().filter_map(named).collect();
        ui.label(RichText::new(names.join(" x ")).strong());
        if pages > 1 {
            for page in 0..pages {
                let label = format!("{} {}", grid.axes[2].name, grid.axes[2].label(page));
                ui.selectable_value(&mut grid.page, page, label);
            }
        }
        if let Some(text) = grid.progress() {
            ui.label(RichText::new(text).small().color(p.soft));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            close = icon_button(ui, Icon::Cross, "Close the grid").clicked();
        });
    });
    let page = grid.page.min(pages - 1);
    let is_stale = grid.is_stale(&studio.document);
    let current = grid.current(&studio.document).or(grid.chosen);
    let left = if grid.axes[1].values.is_empty() { 8.0 } else { 92.0 };
    let space = ui.available_size() - vec2(left + 16.0, 40.0);
    let fit = (space.x / columns as f32).min(space.y / rows as f32) - 4.0;
    let edge = fit.clamp(72.0, 420.0);
    ScrollArea::both().id_salt("grid pictures").auto_shrink([false, false]).show(ui, |ui| {
        ui.spacing_mut().item_spacing = vec2(4.0, 4.0);
        let label = |ui: &mut Ui, size: egui::Vec2, text: String| {
            let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
            let galley = ui.painter().layout(text, FontId::proportional(12.5), p.ink, size.x);
            let at = Align2::CENTER_CENTER.anchor_size(rect.center(), galley.size());
            ui.painter().with_clip_rect(rect.intersect(ui.clip_rect())).galley(at.min, galley, p.ink);
        };
        if !grid.axes[0].values.is_empty() {
            ui.horizontal(|ui| {
                ui.add_space(left);
                (0..columns).for_each(|c| label(ui, vec2(edge, 22.0), grid.axes[0].label(c)));
            });
        }
        for r in 0..rows {
            ui.horizontal(|ui| {
                if left > 10.0 {
                    label(ui, vec2(left - 4.0, edge), grid.axes[1].label(r));
                } else {
                    ui.add_space(left);
                }
                for c in 0..columns {
                    let at = (page * rows + r) * columns + c;
                    let cell = &grid.cells[at];
                    let (rect, response) = ui.allocate_exact_size(vec2(edge, edge), Sense::click());
                    if !ui.is_rect_visible(rect) {
                        continue;
                    }
                    picture_of(ui, &cell.state, rect, is_stale);
                    let stroke = match () {
                        () if current == Some(at) => Stroke::new(2.5, p.fill),
                        () if response.hovered() || response.has_focus() => Stroke::new(2.0, p.ink),
                        () => Stroke::new(1.0, p.line),
                    };
                    ui.painter().rect_stroke(rect, 5.0, stroke, StrokeKind::Inside);
                    let parts =
                        [(0, c), (1, r), (2, page)].into_iter().filter(|(i, _)| grid.axes[*i].setting.is_some());
                    let parts = parts.map(|(i, n)| format!("{} {}", grid.axes[i].name, grid.axes[i].label(n)));
                    let spoken = parts.collect::<Vec<_>>().join(", ");
                    if described(response, &spoken, &cell.state).clicked() {
                        adopt = Some(at);
                    }
                }
            });
        }
    });
    if let Some(at) = adopt {
        let is_done = matches!(grid.cells[at].state, State::Done(..));
        let is_adopted = studio.adopt_cell(true, at);
        let text = if is_done {
            "Its settings are in use now; undo takes them back."
        } else {
            "Its settings are in use now; its picture is not made yet."
        };
        if is_adopted {
            studio.notices.info(text);
        }
    }
    if close {
        studio.drop_grid();
    }
}
