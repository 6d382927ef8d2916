//! Weights by block as a curve that is drawn with the pointer.

use admix_engine::mix::recipe::Blocks;
use egui::{Align2, EventFilter, FontId, Key, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use super::focus_mark;
use crate::studio::theme::palette;

/// The blocks, in the order data passes them: name in recipes, name under its bar.
pub const NAMES: &[(&str, &str)] = &[
    ("text", "text"),
    ("unet.down.0", "d0"),
    ("unet.down.1", "d1"),
    ("unet.down.2", "d2"),
    ("unet.down.3", "d3"),
    ("unet.mid", "mid"),
    ("unet.up.0", "u0"),
    ("unet.up.1", "u1"),
    ("unet.up.2", "u2"),
    ("unet.up.3", "u3"),
];

/// Largest factor that can be drawn.
const TOP: f32 = 2.0;

/// One press of an arrow key, and the grain of what is drawn.
const GRAIN: f64 = 0.05;

/// Arrow keys on the curve: left and right choose a bar, up and down turn it, Delete makes all alike. The chosen bar; `None` without the
/// keyboard.
fn keys(ui: &Ui, response: &mut Response, blocks: &mut Blocks) -> Option<usize> {
    if !response.has_focus() {
        return None;
    }
    let arrows = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ui.memory_mut(|m| m.set_focus_lock_filter(response.id, arrows));
    let presses = |more, less| ui.input(|i| i.num_presses(more) as isize - i.num_presses(less) as isize);
    let kept = response.id.with("bar");
    let bar: usize = ui.data(|d| d.get_temp(kept)).unwrap_or_default();
    let bar = bar.saturating_add_signed(presses(Key::ArrowRight, Key::ArrowLeft)).min(NAMES.len() - 1);
    ui.data_mut(|d| d.insert_temp(kept, bar));
    let by = presses(Key::ArrowUp, Key::ArrowDown);
    if by != 0 {
        let before = blocks.get(NAMES[bar].0).copied().unwrap_or(1.0);
        let now = ((before / GRAIN).round() + by as f64).clamp(0.0, f64::from(TOP) / GRAIN) * GRAIN;
        // Twentieths as they are written, not as sums of them.
        blocks.insert(NAMES[bar].0.into(), (now * 100.0).round() / 100.0);
        blocks.retain(|_, v| *v != 1.0);
        response.mark_changed();
    }
    if ui.input(|i| i.key_pressed(Key::Delete) || i.key_pressed(Key::Backspace)) && !blocks.is_empty() {
        blocks.clear();
        response.mark_changed();
    }
    Some(bar)
}

/// The curve: drag across it to draw, double-click to make it flat again; arrow keys do the same. `changed()` tells of changes.
pub fn block_curve(ui: &mut Ui, what: &str, blocks: &mut Blocks) -> Response {
    let p = palette(ui);
    let size = vec2(ui.available_width().max(80.0), 74.0);
    let (_, rect) = ui.allocate_space(size);
    // By its name: what comes and goes above it must not take the keyboard from it.
    let mut response = ui.interact(rect, ui.make_persistent_id(what), Sense::click_and_drag());
    let chart = egui::Rect::from_min_max(rect.min, rect.max - vec2(0.0, 14.0));
    let step = chart.width() / NAMES.len() as f32;
    let value = |blocks: &Blocks, i: usize| blocks.get(NAMES[i].0).copied().unwrap_or(1.0) as f32;
    if response.double_clicked() {
        if !blocks.is_empty() {
            blocks.clear();
            response.mark_changed();
        }
    } else if (response.dragged() || response.clicked())
        && let Some(pointer) = response.interact_pointer_pos()
    {
        // A quick stroke skips bars between two frames: draw along its whole way.
        let from = pointer - if response.dragged() { ui.input(|i| i.pointer.delta()) } else { egui::Vec2::ZERO };
        for t in 0..=8 {
            let at = from.lerp(pointer, t as f32 / 8.0);
            let bar = ((at.x - chart.left()) / step).floor().clamp(0.0, NAMES.len() as f32 - 1.0) as usize;
            let drawn = ((chart.bottom() - at.y) / chart.height() * TOP).clamp(0.0, TOP);
            let snapped = (f64::from(drawn) / GRAIN).round() * GRAIN;
            let snapped = (snapped * 100.0).round() / 100.0;
            if value(blocks, bar) != snapped as f32 {
                blocks.insert(NAMES[bar].0.into(), snapped);
                response.mark_changed();
            }
        }
        // Bars at 1 need no entry.
        blocks.retain(|_, v| *v != 1.0);
    }
    let chosen = keys(ui, &mut response, blocks);
    response.widget_info(|| {
        let text: Vec<String> = (0..NAMES.len()).map(|i| format!("{} {:.2}", NAMES[i].1, value(blocks, i))).collect();
        WidgetInfo::labeled(Role::Slider, true, format!("{what}: {}", text.join(", ")))
    });
    if ui.is_rect_visible(rect) {
        let painter = ui.painter();
        painter.rect_filled(chart, 6.0, p.well);
        let one = chart.bottom() - chart.height() / TOP;
        painter.hline(chart.x_range(), one, egui::Stroke::new(1.0, p.line));
        for (i, (_, label)) in NAMES.iter().enumerate() {
            let v = value(blocks, i);
            let left = chart.left() + i as f32 * step;
            let top = chart.bottom() - v / TOP * chart.height();
            let bar = egui::Rect::from_min_max(
                pos2(left + 2.0, top.min(chart.bottom() - 1.0)),
                pos2(left + step - 2.0, chart.bottom()),
            );
            painter.rect_filled(bar, 3.0, if v == 1.0 { p.soft.gamma_multiply(0.5) } else { p.fill });
            let at = pos2(left + step / 2.0, rect.bottom());
            let ink = if chosen == Some(i) { p.ink } else { p.soft };
            painter.text(at, Align2::CENTER_BOTTOM, label, FontId::proportional(10.0), ink);
        }
        focus_mark(ui, &response, 6.0);
        let at =
            |pointer: egui::Pos2| ((pointer.x - chart.left()) / step).clamp(0.0, NAMES.len() as f32 - 1.0) as usize;
        if let Some(bar) = response.hover_pos().map(at).or(chosen) {
            let text = format!("{} {:.2}", NAMES[bar].0, value(blocks, bar));
            painter.text(
                chart.right_top() + vec2(-5.0, 3.0),
                Align2::RIGHT_TOP,
                text,
                FontId::proportional(11.0),
                p.ink,
            );
        }
    }
    response.on_hover_cursor(egui::CursorIcon::Crosshair)
}
