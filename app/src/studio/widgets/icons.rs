//! Icons drawn with lines, so that no font has to carry them.

use egui::{Color32, Painter, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

/// A picture on a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A new seed.
    Dice,
    /// Kept.
    Locked,
    /// Free.
    Unlocked,
    /// Back.
    Undo,
    /// Forth.
    Redo,
    /// Away with it.
    Cross,
    /// One place up.
    Up,
    /// One place down.
    Down,
    /// To a file.
    Save,
    /// One more.
    Plus,
    /// Four pictures.
    Four,
    /// Light or dark.
    Theme,
    /// Both sides change places.
    Swap,
    /// Everything there is to do.
    List,
}

/// A square button with an icon; `name` is what it does, for the tooltip and for screen readers.
pub fn icon_button(ui: &mut Ui, icon: Icon, name: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(24.0, 24.0), Sense::click());
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    if ui.is_rect_visible(rect) {
        let look = ui.style().interact(&response);
        if response.hovered() || response.has_focus() {
            ui.painter().rect(rect, look.corner_radius, look.weak_bg_fill, look.bg_stroke, StrokeKind::Inside);
        }
        draw(ui.painter(), icon, rect.shrink(5.0), look.text_color());
    }
    response.on_hover_text(name)
}

fn draw(painter: &Painter, icon: Icon, rect: Rect, color: Color32) {
    let stroke = Stroke::new(1.5, color);
    let at = |x: f32, y: f32| pos2(rect.left() + x * rect.width(), rect.top() + y * rect.height());
    let line = |points: &[Pos2]| {
        painter.line(points.to_vec(), stroke);
    };
    let arc = |center: Pos2, radius: f32, from: f32, to: f32| -> Vec<Pos2> {
        (0..=16)
            .map(|i| {
                let angle = (from + (to - from) * i as f32 / 16.0).to_radians();
                center + radius * vec2(angle.cos(), angle.sin())
            })
            .collect()
    };
    let r = rect.width();
    match icon {
        Icon::Dice => {
            painter.rect_stroke(rect, 3.0, stroke, StrokeKind::Inside);
            for (x, y) in [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)] {
                painter.circle_filled(at(x, y), r * 0.08, color);
            }
        }
        Icon::Locked | Icon::Unlocked => {
            painter.rect_filled(Rect::from_two_pos(at(0.15, 0.45), at(0.85, 1.0)), 2.0, color);
            let mut shackle = vec![at(0.28, 0.5)];
            shackle.extend(arc(at(0.5, 0.32), r * 0.22, 180.0, 360.0));
            if icon == Icon::Locked {
                shackle.push(at(0.72, 0.5));
            }
            line(&shackle);
        }
        Icon::Undo | Icon::Redo => {
            let flip = |p: Pos2| if icon == Icon::Redo { pos2(rect.left() + rect.right() - p.x, p.y) } else { p };
            let curve: Vec<Pos2> = arc(at(0.52, 0.62), r * 0.33, 40.0, -170.0).into_iter().map(flip).collect();
            line(&curve);
            line(&[flip(at(0.02, 0.3)), flip(at(0.19, 0.6)), flip(at(0.47, 0.42))]);
        }
        Icon::Cross => {
            line(&[at(0.15, 0.15), at(0.85, 0.85)]);
            line(&[at(0.85, 0.15), at(0.15, 0.85)]);
        }
        Icon::Up => line(&[at(0.15, 0.65), at(0.5, 0.3), at(0.85, 0.65)]),
        Icon::Down => line(&[at(0.15, 0.35), at(0.5, 0.7), at(0.85, 0.35)]),
        Icon::Save => {
            line(&[at(0.5, 0.0), at(0.5, 0.65)]);
            line(&[at(0.22, 0.4), at(0.5, 0.68), at(0.78, 0.4)]);
            line(&[at(0.05, 0.7), at(0.05, 1.0), at(0.95, 1.0), at(0.95, 0.7)]);
        }
        Icon::Plus => {
            line(&[at(0.5, 0.1), at(0.5, 0.9)]);
            line(&[at(0.1, 0.5), at(0.9, 0.5)]);
        }
        Icon::Four => {
            for (x, y) in [(0.0, 0.0), (0.56, 0.0), (0.0, 0.56), (0.56, 0.56)] {
                painter.rect_filled(Rect::from_min_size(at(x, y), vec2(r, r) * 0.44), 2.0, color);
            }
        }
        Icon::Theme => {
            painter.circle_stroke(rect.center(), r * 0.45, stroke);
            let mut half = arc(rect.center(), r * 0.45, 90.0, 270.0);
            half.push(half[0]);
            painter.add(egui::Shape::convex_polygon(half, color, Stroke::NONE));
        }
        Icon::List => {
            for y in [0.15, 0.5, 0.85] {
                line(&[at(0.05, y), at(0.95, y)]);
            }
        }
        Icon::Swap => {
            line(&[at(0.05, 0.3), at(0.95, 0.3), at(0.72, 0.08)]);
            line(&[at(0.95, 0.72), at(0.05, 0.72), at(0.28, 0.94)]);
        }
    }
}
