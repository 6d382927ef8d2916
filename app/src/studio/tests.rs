//! The studio driven by its labels, as a screen reader would, with the engine on whatever device there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use admix_engine::tensor::{DeviceOptions, Gpu};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::Studio;
use super::app::Saved;
use super::history::History;

fn gpu() -> Arc<Gpu> {
    pollster::block_on(Gpu::open(&DeviceOptions::default())).expect("a device; lavapipe will do")
}

fn harness() -> Harness<'static, Studio> {
    let studio = Studio::with(egui::Context::default(), gpu(), Saved::default(), History::default());
    Harness::builder().with_size([1280.0, 820.0]).build_ui_state(|ui, studio| studio.frame(ui), studio)
}

/// Frames until `ready`, at most two minutes: a software device on a busy machine is slow.
fn until(harness: &mut Harness<'static, Studio>, what: &str, ready: impl Fn(&Studio) -> bool) {
    let start = Instant::now();
    while !ready(harness.state()) {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not happen");
        harness.step();
        std::thread::sleep(Duration::from_millis(20));
    }
    harness.step();
}

#[test]
fn first_click_makes_a_picture_and_history_brings_it_back() {
    let mut h = harness();
    h.step();
    assert!(h.query_by_label("Search the shelf").is_none(), "a first start shows the canvas alone");
    // Four steps are enough to see that everything is connected.
    h.state_mut().document.recipe.sample.steps = Some(4);
    h.get_by_label("Make image").click();
    until(&mut h, "a picture", |s| s.history.entries.len() == 1);
    let (first, picture) = {
        let entry = &h.state().history.entries[0];
        (entry.id, entry.pictures[0].clone())
    };
    assert_eq!((picture.width, picture.height), (128, 128));
    let spread = picture.rgb.iter().max().zip(picture.rgb.iter().min()).map(|(a, b)| a - b);
    assert!(spread.is_some_and(|s| s > 30), "a picture of one colour: {spread:?}");
    assert!(h.query_by_label("Search the shelf").is_some(), "the panels open after the first picture");

    // A changed setting is undone and redone.
    h.state_mut().document.recipe.sample.cfg = Some(9.0);
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..60 {
        h.step();
    }
    assert!(h.state().can_undo());
    h.state_mut().undo();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(5.0));
    h.state_mut().redo();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(9.0));

    // The PNG carries everything, and dropping it brings the settings back.
    let png = h.state().history.entries[0].png(0).expect("encodes");
    h.state_mut().document.recipe.sample.prompt = Some("something else".into());
    h.state().inbox.put(crate::io::dropped::Incoming::Picture { name: "a.png".into(), bytes: png });
    until(&mut h, "the dropped picture", |s| s.history.entries.len() == 2);
    let sample = &h.state().document.recipe.sample;
    assert_eq!(
        (sample.prompt.as_deref(), sample.steps, sample.cfg),
        (Some(super::document::FIRST_PROMPT), Some(4), Some(5.0))
    );
    assert_eq!(h.state().history.entries[1].pictures[0], picture);

    // Comparing needs two.
    h.state_mut().canvas.compare_with(first);
    h.step();
    assert!(h.query_by_label("Side by side").is_some());
}

#[test]
fn a_broken_file_is_an_error_and_nothing_is_lost() {
    let mut h = harness();
    h.state_mut().document.recipe.sample.prompt = Some("kept".into());
    h.state().inbox.put(crate::io::dropped::Incoming::Picture { name: "b.png".into(), bytes: b"nonsense".to_vec() });
    h.state()
        .inbox
        .put(crate::io::dropped::Incoming::Recipe { name: "r.json".into(), text: "{\"admix\":1,\"bsae\":1}".into() });
    until(&mut h, "two messages", |s| s.notices.titles().len() == 2);
    assert!(
        h.state().notices.titles().iter().any(|t| t.contains("bsae") || t.contains("base")),
        "{:?}",
        h.state().notices.titles()
    );
    assert_eq!(h.state().document.recipe.sample.prompt.as_deref(), Some("kept"));
}

#[test]
fn a_changed_knob_redraws_at_once_and_fully_when_let_go() {
    let mut h = harness();
    h.state_mut().document.recipe.sample.steps = Some(3);
    h.state_mut().set_live(true);
    until(&mut h, "the first picture", |s| s.history.entries.len() == 1 && !s.desk.is_busy());
    let seed = h.state().document.recipe.sample.seed;
    h.state_mut().document.recipe.sample.cfg = Some(2.0);
    let start = Instant::now();
    until(&mut h, "a quick look", |s| s.live().is_some_and(|l| l.preview.is_some()) || s.history.entries.len() > 1);
    println!("from a changed knob to the first preview: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    until(&mut h, "the full render", |s| s.history.entries.len() == 2);
    let entry = &h.state().history.entries[1];
    assert_eq!((entry.recipe.sample.cfg, entry.recipe.sample.seed), (Some(2.0), seed), "the seed holds still");
    assert_ne!(entry.pictures[0], h.state().history.entries[0].pictures[0]);
}
