//! Controls: what is typed, dragged or pressed arrives, and nothing moves from under a hand.

use egui::accesskit::Role;
use egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _, by};

use super::{control, harness, opened, paint, until};
use crate::studio::Studio;

/// Types into the number of a row, as a person does: click, type, Enter.
fn type_number(h: &mut Harness<'static, Studio>, label: &str, text: &str) {
    control(h, label, Role::SpinButton).click();
    h.run_steps(2);
    h.event(Event::Text(text.into()));
    h.step();
    h.key_press(Key::Enter);
    h.run_steps(2);
}

fn focused(h: &Harness<'static, Studio>) -> Option<String> {
    h.get_all(by().predicate(|n| n.is_focused())).next().and_then(|n| n.accesskit_node().label())
}

#[test]
fn numbers_are_typed_beyond_the_rail_up_to_the_techniques_limits() {
    let mut h = opened();
    h.state_mut().document.add_adapter("builtin:neon");
    h.set_size(egui::vec2(1600.0, 2000.0));
    h.run_steps(3);
    for (label, text, wanted) in [("Weight", "5", 5.0), ("Weight", "-8", -8.0), ("Weight", "99", 20.0)] {
        type_number(&mut h, label, text);
        assert_eq!(h.state().document.recipe.adapters[0].weight, wanted, "{label} {text}");
    }
    type_number(&mut h, "CFG", "30");
    type_number(&mut h, "Steps", "5000");
    type_number(&mut h, "Width", "1152");
    let sample = &h.state().document.recipe.sample;
    assert_eq!((sample.cfg, sample.steps, sample.width), (Some(30.0), Some(1000), Some(1152)));
    // What lies beyond the rail stays when nothing is turned.
    h.run_steps(10);
    assert_eq!(h.state().document.recipe.adapters[0].weight, 20.0);
}

#[test]
fn a_weight_goes_through_zero_without_a_jump() {
    let mut h = opened();
    h.state_mut().document.add_adapter("builtin:neon");
    h.set_size(egui::vec2(1600.0, 1600.0));
    h.run_steps(3);
    let rail = control(&h, "Weight", Role::Slider).rect();
    let at = |x: f32| egui::pos2(x, rail.center().y);
    h.drag_at(at(rail.center().x + 6.0));
    h.step();
    let mut before = f64::MAX;
    for pixel in 0..12 {
        h.hover_at(at(rail.center().x + 6.0 - pixel as f32));
        h.step();
        let now = h.state().document.recipe.adapters[0].weight;
        assert!(now <= before, "to the left it falls: {before} -> {now}");
        assert!(before == f64::MAX || before - now < 0.2, "no jump: {before} -> {now}");
        before = now;
    }
    assert!((-0.5..0.0).contains(&before), "{before}");
    h.drop_at(at(rail.center().x - 5.0));
}

#[test]
fn the_keyboard_stays_where_it_is_when_a_render_ends() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.steps = Some(16);
    // The first picture of all takes its examples away; the second does not.
    for made in [1, 2] {
        h.state_mut().make();
        until(&mut h, "a step", |s| s.live().is_some_and(|l| l.preview.is_some()));
        let before = h.get_by_label("Live").rect();
        h.get_by_label("Another seed").focus();
        h.run_steps(2);
        assert_eq!(focused(&h).as_deref(), Some("Another seed"));
        let seed = control(&h, "Seed", Role::SpinButton).rect();
        until(&mut h, "the picture", |s| s.history.entries.len() == made && !s.desk.is_busy());
        h.run_steps(2);
        assert_eq!(focused(&h).as_deref(), Some("Another seed"), "picture {made}");
        assert_eq!(h.get_by_label("Live").rect(), before, "nothing moves");
        assert_eq!(control(&h, "Seed", Role::SpinButton).rect().min, seed.min);
    }
}

#[test]
fn block_curves_turn_by_keys() {
    let mut h = opened();
    h.state_mut().document.add_adapter("builtin:neon");
    h.set_size(egui::vec2(1600.0, 1600.0));
    // Its triggers come with its card, and rows move when they do.
    until(&mut h, "its card", |s| s.shelf.find("builtin:neon").is_some_and(|i| i.card.is_some()));
    h.run_steps(3);
    h.get_by_label("Text, steps, blocks").click();
    h.run_steps(30);
    h.get_by_label_contains("Weight by block").focus();
    h.run_steps(2);
    for key in [Key::ArrowRight, Key::ArrowUp, Key::ArrowUp] {
        h.key_press(key);
        h.step();
    }
    let blocks = |h: &Harness<'static, Studio>| h.state().document.recipe.adapters[0].blocks.clone();
    assert_eq!(blocks(&h).get("unet.down.0"), Some(&1.1));
    assert!(focused(&h).is_some_and(|f| f.starts_with("Weight by block")), "arrows stay in the curve");
    h.key_press(Key::Delete);
    h.step();
    assert!(blocks(&h).is_empty());
}

#[test]
fn pictures_of_the_history_answer_keys() {
    let mut h = opened();
    let first = paint(h.state_mut());
    h.state_mut().document.recipe.sample.seed = Some(7);
    let second = paint(h.state_mut());
    h.run_steps(2);
    let label = |id: u64| format!("Picture {id}: red apple");
    let place = h.get_by_label(&label(first)).rect();
    h.get_by_label(&label(first)).focus();
    h.step();
    h.key_press(Key::B);
    h.run_steps(2);
    assert_eq!(h.state().canvas.other, Some(first));
    assert_eq!(h.get_by_label(&label(first)).rect(), place, "comparing moves no picture");
    h.key_press_modifiers(Modifiers::SHIFT, Key::F10);
    h.run_steps(2);
    assert!(h.query_by_label("Save as PNG").is_some(), "Shift+F10 opens the menu");
    h.key_press(Key::Escape);
    h.run_steps(2);
    h.get_by_label(&label(first)).focus();
    h.step();
    h.key_press(Key::Delete);
    h.run_steps(2);
    assert_eq!(h.state().history.entries.len(), 2, "once is not enough");
    h.key_press(Key::Delete);
    h.run_steps(2);
    assert_eq!(h.state().history.entries.iter().map(|e| e.id).collect::<Vec<_>>(), [second]);
}

#[test]
fn escape_closes_a_card_first() {
    let mut h = opened();
    let id = paint(h.state_mut());
    h.state_mut().canvas.other = Some(id);
    h.state_mut().details = Some("builtin:neon".into());
    h.run_steps(2);
    h.key_press(Key::Escape);
    h.run_steps(2);
    assert_eq!((h.state().details.as_deref(), h.state().canvas.other), (None, Some(id)));
    h.key_press(Key::Escape);
    h.run_steps(2);
    assert_eq!(h.state().canvas.other, None);
}

#[test]
fn words_of_the_negative_prompt_are_weighed_too() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.negative = Some("blurry".into());
    h.run_steps(2);
    control(&h, "Negative prompt", Role::MultilineTextInput).click();
    h.run_steps(2);
    h.key_press_modifiers(Modifiers::COMMAND, Key::ArrowUp);
    h.run_steps(2);
    assert_eq!(h.state().document.recipe.sample.negative.as_deref(), Some("(blurry:1.1)"));
}

#[test]
fn one_more_model_is_one_that_is_not_in_the_mix() {
    let mut h = opened();
    h.set_size(egui::vec2(1280.0, 2000.0));
    h.state_mut().document.set_second(Some("builtin:fluent-3d"));
    h.run_steps(6);
    h.get_by_label("Add another model").click();
    h.run_steps(2);
    let recipe = &h.state().document.recipe;
    let models: Vec<_> = recipe.merge[0].models.iter().map(|m| (m.source.reference.as_str(), m.weight)).collect();
    assert_eq!((models[0], models[1].1), (("builtin:fluent-3d", 0.333), 0.333));
    assert!(!["builtin:mini", "builtin:fluent-3d"].contains(&models[1].0), "{models:?}");
    assert!(h.query_by_label_contains("mini 34%, fluent-3d 33%").is_some(), "what is left of A is said");
}

#[test]
fn the_palette_is_as_high_as_its_rows() {
    let mut h = harness();
    let height = |h: &mut Harness<'static, Studio>| {
        h.run_steps(4);
        h.ctx.memory(|m| m.area_rect(egui::Id::unique("commands"))).expect("is open").height()
    };
    h.state_mut().palette.toggle();
    let whole = height(&mut h);
    h.event(Event::Text("keys and".into()));
    let one = height(&mut h);
    assert!(one < 140.0 && whole > 500.0, "{one} of {whole}");
    h.key_press(Key::Escape);
    h.run_steps(2);
    h.state_mut().palette.toggle();
    assert_eq!(height(&mut h), whole, "what was searched for before is no measure");
    let redo = by().predicate(|n| n.label().is_some_and(|l| l.starts_with("Redo")));
    assert_eq!(h.query_all(redo).count(), 2, "the bar's button, and what two keys do listed once");
}

#[test]
fn errors_stand_first_and_closed_warnings_do_not_come_back() {
    let mut h = harness();
    h.state_mut().notices.info("good news");
    h.state_mut().notices.remind("mind this".into(), None);
    h.state_mut().notices.error("broken");
    h.run_steps(3);
    let top = |h: &Harness<'static, Studio>, text: &str| h.get_by_label(text).rect().top();
    assert!(top(&h, "broken") < top(&h, "mind this") && top(&h, "mind this") < top(&h, "good news"));
    h.get_all_by_label("Close this message").nth(1).expect("one each").click();
    h.run_steps(2);
    assert!(h.query_by_label("mind this").is_none());
    h.state_mut().notices.remind("mind this".into(), None);
    h.state_mut().notices.warn_with("something else", Vec::new(), None);
    h.run_steps(2);
    assert!(h.query_by_label("mind this").is_none() && h.query_by_label("something else").is_some());
}

#[test]
fn prompts_are_counted_as_they_are_read() {
    let mut h = opened();
    let long = vec!["cat"; 80].join(" ");
    h.state_mut().document.recipe.sample.negative = Some(long.clone());
    until(&mut h, "a count", |s| s.counting.of(1).is_some_and(|c| c.tokens == 80 && c.room == 150));
    assert!(h.state().counting.kept(1, &long) >= long.len(), "a second window takes what the first has no room for");
    h.state_mut().document.recipe.sample.set.insert("long_prompt".into(), "cut".into());
    until(&mut h, "another count", |s| s.counting.of(1).is_some_and(|c| c.room == 75));
    assert!(h.query_by_label("80/75").is_some());
    assert_eq!(h.state().counting.kept(1, &long), 75 * 4 - 1, "the rest is grey");
    assert!(h.state().counting.kept(1, "something else") > 100, "until it is counted anew everything is read");
}

#[test]
fn a_warning_names_things_as_people_do_and_is_put_right_by_a_click() {
    let mut h = opened();
    h.state_mut().document.add_adapter("builtin:blueprint");
    h.state_mut().document.recipe.adapters[0].weight = 2.0;
    h.state_mut().document.recipe.sample.steps = Some(2);
    h.state_mut().make();
    until(&mut h, "the picture", |s| s.history.entries.len() == 1);
    let titles = h.state().notices.titles().join("\n");
    assert!(titles.starts_with("blueprint acts at 2.00 times the strength"), "{titles}");
    h.get_by_label("Set it to 1").click();
    until(&mut h, "another picture", |s| s.history.entries.len() == 2);
    assert_eq!(h.state().history.entries[1].recipe.adapters[0].weight, 1.0);
}
