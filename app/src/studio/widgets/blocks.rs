//! Weights by block as a curve that is drawn with the pointer.

use admix_engine::mix::recipe::Blocks;
use egui::{Align2, FontId, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};

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

/// The curve: drag across it to draw, double-click to make it flat again. `changed()` tells of changes.
pub fn block_curve(ui: &mut Ui, what: &str, blocks: &mut Blocks) -> Response {
    let p = palette(ui);
    let size = vec2(ui.available_width().max(160.0), 74.0);
    let (rect, mut response) = ui.allocate_exact_size(size, Sense::click_and_drag());
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
            let snapped = (drawn * 20.0).round() / 20.0;
            if value(blocks, bar) != snapped {
                blocks.insert(NAMES[bar].0.into(), f64::from(snapped));
                response.mark_changed();
            }
        }
        // Bars at 1 need no entry.
        blocks.retain(|_, v| *v != 1.0);
    }
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
            painter.text(at, Align2::CENTER_BOTTOM, label, FontId::proportional(10.0), p.soft);
        }
        if response.hovered()
            && let Some(pointer) = response.hover_pos()
        {
            let bar = ((pointer.x - chart.left()) / step).clamp(0.0, NAMES.len() as f32 - 1.0) as usize;
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
