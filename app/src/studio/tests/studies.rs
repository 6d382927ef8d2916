//! Strips, try-ons and grids: made, adopted, undone, exported.

use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

use super::{opened, rest, until};
use crate::studio::Studio;
use crate::studio::studies::AxisText;
use crate::studio::study::{Setting, State, sheet};

/// All cells of the strip have their picture.
fn strip_done(s: &Studio) -> bool {
    s.strip.as_ref().is_some_and(|strip| strip.cells.iter().all(|c| matches!(c.state, State::Done(..))))
}

/// Few steps: enough to see that everything is connected.
fn quick(h: &mut Harness<'static, Studio>) {
    h.state_mut().document.recipe.sample.steps = Some(2);
    h.state_mut().document.seed_locked = true;
    rest(h);
}

#[test]
fn shift_drag_paints_a_strip_and_a_click_adopts_a_frame() {
    let mut h = opened();
    quick(&mut h);
    let slider = h.get_all_by_label("CFG").find(|n| n.accesskit_node().role() == egui::accesskit::Role::Slider);
    let rect = slider.expect("the slider of CFG").rect();
    let from = rect.left_center() + egui::vec2(rect.width() * 0.2, 0.0);
    h.event(egui::Event::ModifiersChanged(egui::Modifiers::SHIFT));
    h.drag_at(from);
    h.step();
    h.hover_at(from + egui::vec2(40.0, 0.0));
    h.step();
    h.step();
    h.drop_at(from + egui::vec2(40.0, 0.0));
    h.event(egui::Event::ModifiersChanged(egui::Modifiers::NONE));
    h.step();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(5.0), "the drag turns nothing");
    assert_eq!(h.state().strip.as_ref().map(|s| s.cells.len()), Some(7));
    until(&mut h, "the strip", strip_done);
    let strip = h.state().strip.as_ref().expect("is there");
    let pictures: Vec<_> = strip
        .cells
        .iter()
        .map(|c| if let State::Done(f, _) = &c.state { f.pictures[0].clone() } else { unreachable!() })
        .collect();
    assert!(pictures.windows(2).any(|p| p[0] != p[1]), "the setting acts");
    assert_eq!(strip.current(&h.state().document), Some(2), "1, 3, 5: the one in force is marked");

    h.get_by_label("Adopt CFG 9").click();
    h.step();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(9.0));
    until(&mut h, "the full picture", |s| s.history.entries.len() == 1);
    assert_eq!(h.state().history.entries[0].recipe.sample.cfg, Some(9.0));
    rest(&mut h);
    h.state_mut().undo();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(5.0));

    // Another prompt, and the pictures no longer show what they would be.
    assert!(!h.state().strip.as_ref().expect("stays").is_stale(&h.state().document));
    h.state_mut().document.recipe.sample.prompt = Some("sun".into());
    h.step();
    assert!(h.query_by_label("Draw again").is_some());
    h.get_by_label("Close the strip").click();
    h.step();
    assert!(h.state().strip.is_none());
}

#[test]
fn an_adapter_is_tried_on_and_one_undo_takes_it_off() {
    let mut h = opened();
    quick(&mut h);
    h.state_mut().search = "watercolour".into();
    until(&mut h, "its card", |s| s.shelf.find("builtin:watercolour").is_some_and(|i| i.card.is_some()));
    h.get_by_label("Try watercolour").click();
    h.step();
    assert!(h.state().document.recipe.adapters.is_empty(), "trying on changes nothing");
    until(&mut h, "both pictures", strip_done);
    let before = h.state().document.clone();
    h.get_by_label("Adopt with watercolour").click();
    h.step();
    assert_eq!(h.state().document.recipe.adapters.len(), 1);
    until(&mut h, "the full picture", |s| s.history.entries.len() == 1);
    rest(&mut h);
    h.state_mut().undo();
    assert_eq!(h.state().document, before, "row, weight and trigger left with one undo");
}

#[test]
fn four_neighbours_are_as_good_as_pictures_made_on_purpose() {
    let mut h = opened();
    quick(&mut h);
    h.get_by_label_contains("Four neighbours").click();
    h.step();
    until(&mut h, "the neighbours", strip_done);
    let made = h.state().history.entries.len();
    assert_eq!(made, 0, "only what is adopted goes into the history");
    h.get_by_label("Adopt seed 3").click();
    h.step();
    let entry = &h.state().history.entries[0];
    assert_eq!((entry.recipe.sample.seed, entry.recipe.sample.steps), (Some(3), Some(2)));
}

#[test]
fn a_grid_over_a_knob_and_words_exports_with_its_labels() {
    let mut h = opened();
    quick(&mut h);
    h.state_mut().prefs.grid_open = true;
    let axis = |setting, text: &str| AxisText { setting: Some(setting), text: text.into() };
    h.state_mut().grid_setup.axes[0] = axis(Setting::Cfg, "2, 8");
    h.state_mut().grid_setup.axes[1] = axis(Setting::Words, "red, green");
    h.state_mut().grid_setup.axes[2] = axis(Setting::Sampler, "Euler, nonsense");
    h.step();
    assert!(h.query_by_label_contains("\"nonsense\" is not one of").is_some(), "the mistake is shown where it is");
    h.state_mut().grid_setup.axes[2] = axis(Setting::Seed, "1-2");
    h.step();
    h.get_by_label("Make 8 pictures").click();
    until(&mut h, "the grid", |s| {
        s.grid.as_ref().is_some_and(|g| g.cells.iter().all(|c| matches!(c.state, State::Done(..))))
    });
    let grid = h.state().grid.as_ref().expect("is there");
    let prompts: Vec<_> =
        grid.cells.iter().map(|c| c.document.recipe.sample.prompt.clone().unwrap_or_default()).collect();
    assert_eq!(prompts[..4], ["red apple", "red apple", "green apple", "green apple"]);
    let picture = sheet(&h.state().context, grid).expect("pictures are there");
    assert!(picture.width > 4 * 128 && picture.height > 2 * 128, "{} x {}", picture.width, picture.height);
    let ink = |rows: std::ops::Range<usize>| {
        let row = |y: usize| &picture.rgb[y * picture.width * 3..(y + 1) * picture.width * 3];
        rows.flat_map(row).filter(|v| **v < 100).count()
    };
    assert!(ink(0..40) > 100, "the columns' and pages' labels are written above");

    h.get_by_label("Adopt CFG 8, Words of the prompt green, Seed 1").click();
    h.step();
    let sample = &h.state().document.recipe.sample;
    assert_eq!((sample.cfg, sample.prompt.as_deref(), sample.seed), (Some(8.0), Some("green apple"), Some(1)));
    assert_eq!(h.state().history.entries.len(), 1, "its picture is as good as one made on purpose");
}
