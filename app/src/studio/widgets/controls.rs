//! Buttons, chips and labelled sliders.

use egui::{
    Align2, Button, Color32, FontId, Response, RichText, Role, Sense, Slider, Stroke, StrokeKind, Ui, WidgetInfo, vec2,
};

use crate::studio::theme::palette;

/// The one large button.
pub fn big_button(ui: &mut Ui, text: &str, enabled: bool) -> Response {
    let p = palette(ui);
    let label = RichText::new(text).size(16.0).strong().color(if enabled { p.on_fill } else { p.soft });
    let fill = if enabled { p.fill } else { p.line };
    ui.add_enabled(enabled, Button::new(label).fill(fill).corner_radius(9.0).min_size(vec2(132.0, 38.0)))
}

/// A word that can be clicked.
pub fn chip(ui: &mut Ui, text: &str, selected: bool) -> Response {
    let p = palette(ui);
    let stroke = Stroke::new(1.0, if selected { p.fill } else { p.line });
    ui.add(Button::new(RichText::new(text).small()).corner_radius(9.0).stroke(stroke).selected(selected))
}

/// A panel's title.
pub fn heading(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).heading().strong())
}

/// A label of fixed width with help on hover, before a control.
pub fn help_label(ui: &mut Ui, text: &str, help: &str) -> Response {
    let response = ui
        .allocate_ui_with_layout(vec2(78.0, 22.0), egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.set_min_width(78.0);
            ui.add(egui::Label::new(RichText::new(text)).truncate())
        })
        .inner;
    if help.is_empty() { response } else { response.on_hover_text(help) }
}

/// Label, slider and number; true when it changed.
pub fn number_row(
    ui: &mut Ui,
    label: &str,
    help: &str,
    value: &mut f64,
    range: std::ops::RangeInclusive<f64>,
    whole: bool,
) -> bool {
    ui.horizontal(|ui| {
        let label = help_label(ui, label, help);
        // The rest of the row, less the number beside the rail.
        ui.spacing_mut().slider_width = (ui.available_width() - 66.0).max(60.0);
        let mut slider = Slider::new(value, range);
        slider = if whole { slider.integer() } else { slider.max_decimals(2) };
        let response = ui.add(slider).labelled_by(label.id);
        let response = if help.is_empty() { response } else { response.on_hover_text(help) };
        response.changed()
    })
    .inner
}

/// A knob of a registry: what it is and its value in `knobs`; true when it changed.
pub fn knob_row(
    ui: &mut Ui,
    (name, label, help): (&str, &str, &str),
    (min, max, default): (f64, f64, f64),
    choices: &[&str],
    (whole, switch): (bool, bool),
    knobs: &mut admix_engine::mix::recipe::Knobs,
) -> bool {
    let read = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(on) => Some(f64::from(u8::from(*on))),
        serde_json::Value::String(text) => choices.iter().position(|c| c == text).map(|i| i as f64),
        other => other.as_f64(),
    };
    let before = knobs.get(name).and_then(read).unwrap_or(default);
    let mut value = before;
    if !choices.is_empty() {
        ui.horizontal(|ui| {
            help_label(ui, label, help);
            let mut at = (value as usize).min(choices.len() - 1);
            egui::ComboBox::from_id_salt(name).show_index(ui, &mut at, choices.len(), |i| choices[i]);
            value = at as f64;
        });
    } else if switch {
        let mut on = value != 0.0;
        ui.checkbox(&mut on, label).on_hover_text(help);
        value = f64::from(u8::from(on));
    } else {
        // Ranges without a sensible end are turned by typing; the rail covers what people use.
        let (low, high) = (min.max(-10.0), max.min(if max > 1e4 { 100.0 } else { max }));
        number_row(ui, label, help, &mut value, low..=high, whole);
    }
    if value == before {
        return false;
    }
    if value == default {
        knobs.shift_remove(name);
    } else {
        let json = match choices.get(value as usize) {
            Some(word) => (*word).into(),
            None if switch => (value != 0.0).into(),
            None if whole => (value as i64).into(),
            None => value.into(),
        };
        knobs.insert(name.into(), json);
    }
    true
}

/// A tab on the window's edge, its name written upwards.
pub fn edge_tab(ui: &mut Ui, text: &str, open: bool) -> Response {
    let font = FontId::proportional(13.5);
    let p = palette(ui);
    let color = if open { p.ink } else { p.soft };
    let galley = ui.painter().layout_no_wrap(text.into(), font, color);
    let size = vec2(30.0, galley.size().x + 26.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, text));
    if ui.is_rect_visible(rect) {
        let look = ui.style().interact_selectable(&response, open);
        let fill = if open || response.hovered() { look.weak_bg_fill } else { Color32::TRANSPARENT };
        let stroke = if response.has_focus() { look.bg_stroke } else { Stroke::NONE };
        ui.painter().rect(rect, 7.0, fill, stroke, StrokeKind::Inside);
        let at = rect.center() + vec2(-galley.size().y, galley.size().x) / 2.0;
        let mut shape = egui::epaint::TextShape::new(at, galley, color);
        shape.angle = -std::f32::consts::FRAC_PI_2;
        ui.painter().add(shape);
    }
    response
}

/// Text painted over a picture, on a dark band so that it can be read on any.
pub fn caption(painter: &egui::Painter, at: egui::Pos2, anchor: Align2, text: &str) {
    let galley = painter.layout_no_wrap(text.into(), FontId::proportional(12.5), Color32::WHITE);
    let rect = anchor.anchor_size(at, galley.size() + vec2(14.0, 8.0));
    painter.rect_filled(rect, 6.0, Color32::from_black_alpha(170));
    painter.galley(rect.min + vec2(7.0, 4.0), galley, Color32::WHITE);
}
