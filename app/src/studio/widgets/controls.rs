//! Buttons, chips and labelled sliders.

use std::ops::RangeInclusive;

use egui::{
    Align2, Button, Color32, FontId, Response, RichText, Role, Sense, Slider, SliderClamping, Stroke, StrokeKind, Ui,
    WidgetInfo, vec2,
};

use crate::studio::knob::{InRecipe as _, Knob};
use crate::studio::theme::palette;
use crate::studio::widgets::menu_of;

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
    let chip = Button::new(RichText::new(text).small()).corner_radius(9.0).stroke(stroke).selected(selected);
    let response = ui.add(chip);
    focus_mark(ui, &response, 9.0);
    response
}

/// A line around what has the keyboard, where its own look does not show it.
pub fn focus_mark(ui: &Ui, response: &Response, radius: f32) {
    if response.has_focus() {
        let stroke = Stroke::new(2.0, palette(ui).ink);
        ui.painter().rect_stroke(response.rect, radius, stroke, StrokeKind::Inside);
    }
}

/// A panel's title.
pub fn heading(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).heading().strong())
}

/// A label of fixed width with help on hover, before a control. In a narrow panel the control needs the room more.
pub fn help_label(ui: &mut Ui, text: &str, help: &str) -> Response {
    let width = if ui.available_width() < 200.0 { 60.0 } else { 78.0 };
    let response = ui
        .allocate_ui_with_layout(vec2(width, 22.0), egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.set_min_width(width);
            ui.add(egui::Label::new(RichText::new(text)).truncate())
        })
        .inner;
    if help.is_empty() { response } else { response.on_hover_text(help) }
}

/// Width of the number beside a rail: the same for all, so that their edges are one line.
const NUMBER: f32 = 50.0;

/// What was done with a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Its value changed.
    pub is_changed: bool,
    /// A strip of pictures along it is asked for.
    pub wants_strip: bool,
}

/// Shift-drag or the menu of a control asks for a strip of pictures along it.
pub fn strip_asked(ui: &Ui, response: &Response) -> bool {
    let mut is_asked = response.drag_started() && ui.input(|i| i.modifiers.shift);
    menu_of(response, |ui| is_asked |= ui.button(STRIP).clicked());
    is_asked
}

/// True while a drag asks for a strip, its last frame included, whatever became of the key since: such a drag turns nothing.
pub fn is_strip_drag(ui: &Ui, response: &Response) -> bool {
    let flag = response.id.with("strip drag");
    let is_down = response.is_pointer_button_down_on();
    let was = ui.data(|d| d.get_temp::<bool>(flag)).unwrap_or(false);
    let is = was || (is_down && ui.input(|i| i.modifiers.shift));
    ui.data_mut(|d| d.insert_temp(flag, is && is_down));
    is
}

/// The menu's word for it.
pub const STRIP: &str = "Strip of pictures along this";

/// How far a row goes: its rail is the part that people use, and stays as it is whatever the value; what can be typed ends where the
/// technique ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    rail: RangeInclusive<f64>,
    typed: RangeInclusive<f64>,
}

impl Reach {
    /// A rail, and what can be typed.
    pub fn new(rail: RangeInclusive<f64>, typed: RangeInclusive<f64>) -> Reach {
        Reach { rail, typed }
    }

    /// A rail in the range of a knob.
    pub fn of(knob: &Knob, rail: RangeInclusive<f64>) -> Reach {
        Reach::new(rail, knob.min..=knob.max)
    }
}

impl From<RangeInclusive<f64>> for Reach {
    fn from(range: RangeInclusive<f64>) -> Reach {
        Reach::new(range.clone(), range)
    }
}

/// Label, slider and number; Shift and a drag ask for a strip of pictures.
pub fn number_row(
    ui: &mut Ui,
    label: &str,
    help: &str,
    value: &mut f64,
    reach: impl Into<Reach>,
    whole: bool,
) -> Turned {
    slider_row(ui, label, help, value, reach.into(), whole, true)
}

/// The same for whole numbers along which no strip makes sense; true when turned.
pub fn count_row(ui: &mut Ui, label: &str, help: &str, value: &mut f64, reach: impl Into<Reach>) -> bool {
    slider_row(ui, label, help, value, reach.into(), true, false).is_changed
}

fn slider_row(
    ui: &mut Ui,
    label: &str,
    help: &str,
    value: &mut f64,
    reach: Reach,
    whole: bool,
    has_strip: bool,
) -> Turned {
    ui.horizontal(|ui| {
        let label = help_label(ui, label, help);
        // The rest of the row, less the number beside the rail.
        let gap = ui.spacing().item_spacing.x;
        ui.spacing_mut().slider_width = (ui.available_width() - gap - NUMBER).max(36.0);
        ui.spacing_mut().interact_size.x = NUMBER;
        let before = *value;
        // What was typed or came with a recipe may lie beyond the rail, and stays: the handle is at the end then. A rail that grew with
        // the value would move under the pointer.
        let mut slider = Slider::new(value, reach.rail).clamping(SliderClamping::Never);
        slider = if whole { slider.integer() } else { slider.max_decimals(2) };
        let response = ui.add(slider).labelled_by(label.id);
        let response = match (help, has_strip) {
            ("", _) => response,
            (_, true) => response.on_hover_text(format!("{help}\nShift-drag: {}.", STRIP.to_lowercase())),
            (_, false) => response.on_hover_text(help),
        };
        let wants_strip = has_strip && strip_asked(ui, &response);
        if (has_strip && is_strip_drag(ui, &response)) || value.is_nan() {
            *value = before;
        } else if *value != before {
            *value = value.clamp(*reach.typed.start(), *reach.typed.end());
        }
        Turned { is_changed: *value != before, wants_strip }
    })
    .inner
}

/// A knob of a registry and its value in `knobs`.
pub fn knob_row(ui: &mut Ui, knob: &Knob, knobs: &mut admix_engine::mix::recipe::Knobs) -> Turned {
    if knob.is_text() {
        let before = knob.get_text(knobs);
        let mut text = before.clone();
        ui.horizontal(|ui| {
            help_label(ui, knob.label, knob.help);
            let edit = egui::TextEdit::singleline(&mut text).desired_width(f32::INFINITY);
            ui.add(edit).accessible_name(knob.label).on_hover_text(knob.help);
        });
        if text != before {
            knob.set_text(knobs, &text);
        }
        return Turned { is_changed: text != before, wants_strip: false };
    }
    let before = knob.get(knobs);
    let mut value = before;
    let mut turned = Turned::default();
    if !knob.choices.is_empty() {
        ui.horizontal(|ui| {
            help_label(ui, knob.label, knob.help);
            let mut at = (value.max(0.0) as usize).min(knob.choices.len() - 1);
            let combo = egui::ComboBox::from_id_salt(knob.name);
            let response = combo.show_index(ui, &mut at, knob.choices.len(), |i| knob.choices[i]);
            turned.wants_strip = strip_asked(ui, &response);
            response.accessible_name(knob.label).on_hover_text(knob.help);
            value = at as f64;
        });
    } else if knob.is_switch() {
        let mut on = value != 0.0;
        ui.checkbox(&mut on, knob.label).on_hover_text(knob.help);
        value = f64::from(u8::from(on));
    } else {
        let (low, high) = knob.rail();
        let range = format!("{}\n{} to {}; {} by itself.", knob.help, knob.min, knob.max, knob.default);
        let help = if knob.max > 1e4 || knob.min < -1e4 { knob.help } else { &range };
        turned = number_row(ui, knob.label, help, &mut value, Reach::of(knob, low..=high), knob.is_whole());
    }
    turned.is_changed = value != before;
    if turned.is_changed {
        knob.set(knobs, value);
    }
    turned
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
