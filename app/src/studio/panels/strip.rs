//! The strip over the canvas's lower edge: small pictures along a setting, or with and without an adapter. A click adopts one.

use egui::{Align2, Panel, RichText, ScrollArea, Sense, Stroke, StrokeKind, Ui, vec2};

use crate::studio::Studio;
use crate::studio::layout::padded;
use crate::studio::study::{Setting, State, Value};
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, caption, icon_button};

/// Edge of a frame's picture in points: as large as the room allows for all to be seen at once.
const FRAME: std::ops::RangeInclusive<f32> = 68.0..=132.0;

/// Draws the strip, if there is one.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    if studio.strip.is_none() {
        studio.canvas.hovered = None;
        return;
    }
    let frame = padded(ui);
    Panel::bottom("strip").resizable(false).frame(frame).show(ui, |ui| contents(studio, ui));
}

fn contents(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    let Some(strip) = &studio.strip else { return };
    let (mut close, mut redraw, mut adopt, mut second) = (false, false, None, None);
    let current = strip.current(&studio.document).or(strip.chosen);
    let is_stale = strip.is_stale(&studio.document);
    ui.horizontal(|ui| {
        ui.label(RichText::new(&strip.title).strong());
        ui.label(
            RichText::new(strip.progress().unwrap_or_else(|| "Click a picture to adopt it.".into()))
                .small()
                .color(p.soft),
        );
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            close = icon_button(ui, Icon::Cross, "Close the strip").clicked();
            if strip.axes[0].setting.is_some() {
                let response =
                    egui::ComboBox::from_id_salt("second axis").selected_text("Grid with").show_ui(ui, |ui| {
                        for setting in Setting::all(&studio.document) {
                            if Some(&setting) != strip.axes[0].setting.as_ref()
                                && ui.selectable_label(false, setting.label(&studio.document)).clicked()
                            {
                                second = Some(setting);
                            }
                        }
                    });
                response
                    .response
                    .accessible_name("Grid with")
                    .on_hover_text("A second setting beside this one: a grid");
                if is_stale && ui.button("Draw again").on_hover_text("The settings have changed since").clicked() {
                    redraw = true;
                }
            }
        });
    });
    let mut hovered = None;
    let (count, gap) = (strip.cells.len().max(1) as f32, ui.spacing().item_spacing.x);
    let edge = ((ui.available_width() + gap) / count - gap).floor().clamp(*FRAME.start(), *FRAME.end());
    ScrollArea::horizontal().id_salt("strip frames").auto_shrink([false, true]).show(ui, |ui| {
        ui.horizontal(|ui| {
            for (at, cell) in strip.cells.iter().enumerate() {
                let value = strip.axes[0].values.get(at);
                let label = strip.axes[0].label(at);
                // Names stand alone; a bare number needs its setting's.
                let spoken = match value {
                    Some(Value::Number(_) | Value::Seed(_)) => format!("{} {label}", strip.title),
                    _ => label.clone(),
                };
                let (rect, response) = ui.allocate_exact_size(vec2(edge, edge + 20.0), Sense::click());
                let picture = egui::Rect::from_min_size(rect.min, vec2(edge, edge));
                picture_of(ui, &cell.state, picture, is_stale);
                let frame = match () {
                    () if current == Some(at) => Stroke::new(2.5, p.fill),
                    () if response.hovered() || response.has_focus() => Stroke::new(2.0, p.ink),
                    () => Stroke::new(1.0, p.line),
                };
                ui.painter().rect_stroke(picture, 5.0, frame, StrokeKind::Inside);
                let color = if current == Some(at) { p.fill } else { p.ink };
                let galley = ui.painter().layout(label, egui::FontId::proportional(12.0), color, edge);
                let place = picture.center_bottom() + vec2(-galley.size().x / 2.0, 3.0);
                ui.painter().with_clip_rect(rect).galley(place, galley, color);
                let response = described(response, &spoken, &cell.state);
                if response.hovered() || response.has_focus() {
                    hovered = Some(at);
                }
                if response.clicked() {
                    adopt = Some(at);
                }
            }
        });
    });
    studio.canvas.hovered = hovered.and_then(|at| match &strip.cells[at].state {
        State::Done(_, texture) => Some((texture.clone(), strip.axes[0].label(at))),
        _ => None,
    });
    let first = strip.axes[0].setting.clone();
    if let Some(at) = adopt {
        studio.adopt_cell(false, at);
    }
    if redraw {
        studio.redraw_strip();
    }
    if let (Some(first), Some(second)) = (first, second) {
        studio.open_grid(first);
        studio.grid_setup.axes[1] = studio.filled_axis(Some(second));
        studio.close_strip();
        studio.make_grid();
    } else if close {
        studio.close_strip();
    }
}

/// A cell's picture, or what stands in its place.
pub fn picture_of(ui: &Ui, state: &State, rect: egui::Rect, is_stale: bool) {
    let p = palette(ui);
    ui.painter().rect_filled(rect, 5.0, p.well);
    match state {
        State::Done(_, texture) => {
            let at = crate::studio::canvas::fit(rect, texture.size_vec2());
            let tint = egui::Color32::WHITE.gamma_multiply(if is_stale { 0.45 } else { 1.0 });
            egui::Image::new((texture.id(), at.size())).corner_radius(5.0).tint(tint).paint_at(ui, at);
        }
        State::Waiting(_) => {
            ui.painter().circle_stroke(rect.center(), 5.0, Stroke::new(1.5, p.soft));
        }
        State::Failed(why) => caption(
            ui.painter(),
            rect.center(),
            Align2::CENTER_CENTER,
            if why.is_empty() { "cancelled" } else { "failed" },
        ),
    }
}

/// Name and hover text of a cell.
pub fn described(response: egui::Response, label: &str, state: &State) -> egui::Response {
    let state = match state {
        State::Done(..) => "Click to adopt these settings",
        State::Waiting(_) => "Waiting for its turn",
        State::Failed(why) if why.is_empty() => "Cancelled",
        State::Failed(why) => why,
    };
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Adopt {label}")));
    response.on_hover_text(format!("{label}\n{state}"))
}
