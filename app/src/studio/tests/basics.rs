//! First start, undo, a picture's way out and in again, broken files.

use egui_kittest::kittest::Queryable as _;

use super::{harness, rest, until};
use crate::studio::document::FIRST_PROMPT;

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
    rest(&mut h);
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
    assert_eq!((sample.prompt.as_deref(), sample.steps, sample.cfg), (Some(FIRST_PROMPT), Some(4), Some(5.0)));
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
