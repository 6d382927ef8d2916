//! Narrow windows: everything within them, and tabs that stay where they are.

use egui::Vec2;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::{opened, paint};
use crate::studio::Studio;
use crate::studio::tiles::{PANES, Pane};

fn narrow(size: Vec2) -> Harness<'static, Studio> {
    let mut h = opened();
    h.state_mut().document.set_second(Some("builtin:twemoji"));
    h.state_mut().document.add_adapter("builtin:neon");
    paint(h.state_mut());
    h.set_size(size);
    h.run_steps(4);
    h
}

#[test]
fn tabs_stay_and_a_picture_is_made_from_every_one() {
    let mut h = narrow(egui::vec2(384.0, 800.0));
    let place = h.get_by_label("Guide").rect();
    for (at, pane) in PANES.iter().enumerate() {
        h.state_mut().prefs.narrow_tab = at;
        h.run_steps(4);
        let guide = h.get_all_by_label("Guide").map(|n| n.rect()).find(|r| r.top() > 700.0);
        assert_eq!(guide, Some(place), "{pane:?}");
        let make = h.get_by_label("Make image").rect();
        assert!(make.right() <= 384.0, "{pane:?}: {make:?}");
        let canvas = h.get_by_label("Canvas: picture").rect();
        let part = canvas.height() / 800.0;
        let room = if *pane == Pane::Canvas { 0.6..0.9 } else { 0.35..0.5 };
        assert!(room.contains(&part), "{pane:?}: the picture has {part} of the height");
    }
    assert!(h.query_by_label("Commands").is_some(), "a finger has no Ctrl+K");
}

#[test]
fn dialogs_fit_a_narrow_window() {
    let mut h = narrow(egui::vec2(384.0, 600.0));
    let inside = |h: &Harness<'static, Studio>, name: &'static str| {
        let area = h.ctx.memory(|m| m.area_rect(egui::Id::unique(name))).expect("is open");
        assert!(h.ctx.content_rect().contains_rect(area), "{name}: {area:?}");
    };
    h.state_mut().keys_open = true;
    h.run_steps(4);
    inside(&h, "keys");
    let close = h.get_by_label("Close").rect();
    assert!(close.bottom() < 600.0, "{close:?}");
    h.state_mut().keys_open = false;
    h.state_mut().palette.toggle();
    h.run_steps(4);
    inside(&h, "commands");
}

#[test]
fn unsaved_is_read_however_long_the_names_are() {
    let mut h = narrow(egui::vec2(384.0, 800.0));
    assert!(h.get_by_label("unsaved").rect().right() < 384.0);
    h.set_size(egui::vec2(1600.0, 800.0));
    h.run_steps(4);
    assert!(h.query_by_label_contains("mini 50 + twemoji 50, neon 1.00, unsaved").is_some());
}
