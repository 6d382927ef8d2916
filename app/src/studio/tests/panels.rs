//! Panels: every control has a name, models are offered where they work, failures offer a way out, everything outlasts a restart.

use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _, by};

use super::{harness, opened, rest, until, with};
use crate::session::Card;
use crate::studio::Studio;
use crate::studio::prefs::Saved;
use crate::studio::study::Setting;
use crate::studio::tiles::{PANES, Pane};

/// Every control on the screen has a name for those who do not see it; gives how many there are.
fn all_named(h: &Harness<'static, Studio>, place: &str) -> usize {
    let controls = [
        Role::Button,
        Role::CheckBox,
        Role::ComboBox,
        Role::Slider,
        Role::SpinButton,
        Role::TextInput,
        Role::MultilineTextInput,
        Role::RadioButton,
        Role::Link,
    ];
    let is_control = |node: &egui_kittest::kittest::AccessKitNode<'_>| controls.contains(&node.role());
    let all: Vec<_> = h.get_all(by().predicate(is_control)).collect();
    let nameless: Vec<String> = all
        .iter()
        .map(|n| n.accesskit_node())
        .filter(|n| n.label().is_none_or(|l| l.trim().is_empty()))
        .map(|n| format!("{:?} {:?} at {:?}", n.role(), n.value(), n.bounding_box()))
        .collect();
    assert!(nameless.is_empty(), "{place}: {} of {} have no name: {nameless:#?}", nameless.len(), all.len());
    all.len()
}

#[test]
fn every_control_has_a_name() {
    let mut h = opened();
    h.state_mut().document.set_second(Some("builtin:twemoji"));
    h.state_mut().document.add_adapter("builtin:neon");
    h.state_mut().prefs.grid_open = true;
    h.set_size(egui::vec2(1600.0, 2400.0));
    h.run_steps(4);
    assert!(all_named(&h, "all panels") > 50);

    h.state_mut().document.recipe.sample.steps = Some(1);
    h.state_mut().start_strip(Setting::Cfg);
    until(&mut h, "a strip", |s| s.strip.is_some() && !s.desk.is_busy());
    all_named(&h, "a strip");
    h.state_mut().details = Some("builtin:neon".into());
    h.run_steps(3);
    all_named(&h, "a card");
    h.state_mut().details = None;
    h.state_mut().notices.error_with("broken", Some(crate::studio::notices::Fix::Again));
    h.state_mut().palette.toggle();
    h.run_steps(3);
    assert!(all_named(&h, "the palette") > 20);
    h.state_mut().palette.toggle();
    h.state_mut().keys_open = true;
    h.run_steps(3);
    all_named(&h, "the keys");
    h.state_mut().keys_open = false;
    h.set_size(egui::vec2(384.0, 800.0));
    for tab in 0..PANES.len() {
        h.state_mut().prefs.narrow_tab = tab;
        h.run_steps(3);
        all_named(&h, "a narrow screen");
    }
}

#[test]
fn a_network_alone_is_offered_to_be_mixed_in_only() {
    let mut h = opened();
    h.set_size(egui::vec2(1280.0, 3000.0));
    until(&mut h, "all cards", |s| s.shelf.items.iter().all(|i| i.card.is_some()));
    let shelf = &h.state().shelf;
    let twemoji = shelf.find("builtin:twemoji").expect("comes with the program");
    assert!(matches!(&twemoji.card, Some(Ok(Card::Model(m))) if m.lacks.is_some()));
    let names = |list: &[(String, String)]| list.iter().map(|(r, _)| r.clone()).collect::<Vec<_>>();
    assert_eq!(names(&shelf.bases()), ["builtin:mini"]);
    assert!(names(&shelf.models()).contains(&"builtin:twemoji".to_string()));
    h.get_by_label("Mix in twemoji").click();
    h.run_steps(2);
    assert_eq!(h.state().document.recipe.base.reference, "builtin:mini");
    assert_eq!(h.state().document.second(), Some(("builtin:twemoji", 0.5)));
    assert!(h.query_by_label_contains("mini 50 + twemoji 50, unsaved").is_some(), "the header says what is loaded");
}

#[test]
fn a_failure_offers_what_puts_it_right() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.steps = Some(2);
    h.state_mut().document.add_adapter("/nowhere/ghost.safetensors");
    rest(&mut h);
    h.state_mut().make();
    until(&mut h, "the failure", |s| s.notices.titles().iter().any(|t| t.contains("ghost")));
    h.get_by_label("Take ghost out").click();
    h.step();
    assert!(h.state().document.recipe.adapters.is_empty());
    until(&mut h, "the picture", |s| s.history.entries.len() == 1);

    h.state_mut().document.recipe.sample.width = Some(100);
    h.state_mut().make();
    until(&mut h, "the failure", |s| s.notices.titles().iter().any(|t| t.contains("multiple")));
    h.get_by_label("Use the model's own size").click();
    until(&mut h, "the picture", |s| s.history.entries.len() == 2);
    assert_eq!(h.state().history.entries[1].recipe.sample.width, Some(128));
}

#[test]
fn waiting_work_is_listed_and_cancelled_one_by_one() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.steps = Some(300);
    for seed in 1..=4 {
        h.state_mut().document.recipe.sample.seed = Some(seed);
        h.state_mut().make();
    }
    until(&mut h, "the first to run", |s| s.live().is_some() && s.desk.waiting() == 3);
    h.get_by_label_contains("3 waiting").click();
    h.step();
    h.step();
    h.get_by_label("Cancel red apple, seed 3").click();
    h.step();
    let waiting: Vec<String> = h.state().desk.queue().into_iter().map(|w| w.title).collect();
    assert_eq!(waiting, ["red apple, seed 2", "red apple, seed 4"]);
    h.state().desk.cancel_rest();
    assert!(h.state().live().is_some(), "what runs goes on");
    h.state().desk.cancel(true);
    until(&mut h, "rest", |s| !s.desk.is_busy());
    assert!(h.state().history.entries.is_empty());
}

#[test]
fn everything_set_outlasts_a_restart() {
    let mut h = opened();
    h.state_mut().document.set_second(Some("builtin:twemoji"));
    h.state_mut().document.recipe.sample.cfg = Some(3.5);
    h.state_mut().prefs.guide_open = false;
    h.state_mut().shelf.discover("/models/ink.safetensors");
    h.run_steps(3);
    let guide = h.state().tiles.tiles.find_pane(&Pane::Guide).expect("is there");
    assert!(!h.state().tiles.is_visible(guide));
    let kept = serde_json::to_string(&h.state().to_save()).expect("serialises");
    let saved: Saved = serde_json::from_str(&kept).expect("reads");
    let again = with(saved);
    let (before, after) = (h.state(), again.state());
    assert_eq!(after.document, before.document);
    assert!(!after.tiles.is_visible(guide) && after.shelf.find("/models/ink.safetensors").is_some());
}

#[test]
fn the_keyboard_reaches_everything() {
    let mut h = harness();
    h.step();
    // A first start: from the top bar over the prompt to the button.
    let mut reached = Vec::new();
    for _ in 0..60 {
        h.key_press(egui::Key::Tab);
        h.step();
        let focused = h.get_all(by().predicate(|n| n.is_focused())).next();
        reached.extend(focused.and_then(|n| n.accesskit_node().label()));
    }
    for wanted in ["Shelf", "Mix", "Prompt", "Make image", "Live", "Another seed"] {
        assert!(reached.iter().any(|r| r == wanted), "Tab never came to {wanted}: {reached:?}");
    }
    // Shortcuts and the palette.
    h.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    h.run_steps(3);
    h.event(egui::Event::Text("keys and".into()));
    h.run_steps(2);
    h.key_press(egui::Key::Enter);
    h.run_steps(2);
    assert!(h.state().keys_open, "the palette finds by name");
    assert!(h.query_by_label("Strip of pictures along it; a click adopts one").is_some());
}
