//! Adapters offered for the prompt's words.

use admix_engine::files::builtin;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::{harness, rest, until};
use crate::studio::Studio;
use crate::studio::study::State;

fn offered(prompt: &str) -> Harness<'static, Studio> {
    let mut h = harness();
    h.state_mut().document.recipe.sample.prompt = Some(prompt.into());
    until(&mut h, "an offer", |s| !s.suggest.offers.is_empty());
    h
}

#[test]
fn words_are_marked_and_a_click_adds_the_adapter() {
    let mut h = offered("red apple in aquarelle");
    assert_eq!(h.state().suggest.marks, std::slice::from_ref(&(13..22)));
    assert!(h.state().document.recipe.adapters.is_empty(), "nothing is turned on by itself");
    rest(&mut h);
    let before = h.state().document.clone();
    h.get_by_label("+ watercolour").click();
    until(&mut h, "the row", |s| s.document.recipe.adapters.len() == 1);
    let row = &h.state().document.recipe.adapters[0];
    assert_eq!((row.source.reference.as_str(), row.weight), ("builtin:watercolour", 0.8));
    let prompt = h.state().document.recipe.sample.prompt.clone().unwrap_or_default();
    assert!(prompt.ends_with(", watercolour"), "its trigger: {prompt}");
    assert!(h.query_by_label("+ watercolour").is_none(), "what is used is not offered again");
    // One undo takes row, weight and trigger back, and leaves the words alone.
    h.state_mut().undo();
    assert_eq!(h.state().document, before);
    // Right after typing, too, when undo has not seen the words yet.
    h.state_mut().document.recipe.sample.prompt = Some("red apple in aquarelle, red".into());
    let typed = h.state().document.clone();
    let offer = h.state().suggest.offers[0].clone();
    h.state_mut().accept_offer(&offer);
    h.step();
    h.state_mut().undo();
    assert_eq!(h.state().document, typed);
    // A prompt that needs nothing is offered nothing.
    h.state_mut().document.recipe.sample.prompt = Some("red apple".into());
    until(&mut h, "no offer", |s| s.suggest.offers.is_empty());
}

#[test]
fn answers_come_while_one_types() {
    let mut h = offered("a robot");
    let mut best = f64::INFINITY;
    for prompt in
        ["a robot at", "a robot at night", "a robot at night, pixel art", "a robot at night, pixel art, unicorn"]
    {
        h.state_mut().document.recipe.sample.prompt = Some(prompt.into());
        h.step();
        assert!(h.state().suggest.marks.iter().all(|m| m.end <= 7 || m.end <= prompt.len()));
        until(&mut h, "an answer", |s| !s.suggest.candidates.is_empty());
        best = best.min(h.state().suggest.seconds);
    }
    assert_eq!(h.state().suggest.offers.len(), 3, "at most three");
    assert!(best < 0.05, "{best}");
}

#[test]
fn a_glance_draws_both_and_changes_nothing() {
    let mut h = offered("red apple, neon");
    rest(&mut h);
    let before = h.state().document.clone();
    let offer = h.state().suggest.offers[0].clone();
    h.state_mut().look_at(&offer, egui::Rect::NOTHING, f64::INFINITY);
    h.state_mut().draw_glance();
    until(&mut h, "both pictures", |s| s.suggest.glance.as_ref().is_some_and(|g| g.is_done()));
    let pictures: Vec<_> = {
        let study = h.state().suggest.glance.as_ref().and_then(|g| g.study.as_ref()).expect("is open");
        let of = |c: &crate::studio::study::Cell| match &c.state {
            State::Done(finished, _) => finished.pictures[0].clone(),
            _ => panic!("both are done"),
        };
        study.cells.iter().map(of).collect()
    };
    assert_ne!(pictures[0], pictures[1]);
    assert_eq!(h.state().document, before);
    h.state_mut().close_glance();
    // Again: from the cache, at once.
    h.state_mut().look_at(&offer, egui::Rect::NOTHING, f64::INFINITY);
    h.state_mut().draw_glance();
    assert!(h.state().suggest.glance.as_ref().is_some_and(|g| g.is_done()));
}

#[test]
fn candidates_stand_side_by_side_and_one_is_adopted() {
    let mut h = offered("a robot at night");
    until(&mut h, "candidates", |s| s.suggest.candidates.len() == 4);
    h.state_mut().compare_candidates();
    until(&mut h, "all pictures", |s| s.strip.as_ref().is_some_and(|s| s.waiting().is_empty()));
    let names: Vec<String> = {
        let strip = h.state().strip.as_ref().expect("is open");
        (0..strip.cells.len()).map(|at| strip.axes[0].label(at)).collect()
    };
    assert_eq!((names.len(), names[0].as_str(), names[3].as_str()), (4, "robot + night", "none"));
    let one = names.iter().position(|n| n == "night").expect("one alone");
    h.state_mut().adopt_cell(false, one);
    let recipe = &h.state().document.recipe;
    assert_eq!((recipe.adapters.len(), recipe.adapters[0].weight), (1, 0.8));
}

#[test]
fn own_folders_are_offered_and_cards_can_be_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("thing.safetensors");
    std::fs::copy(builtin::resolve_adapter("builtin:neon").expect("ships"), &file).expect("copied");
    let reference = file.display().to_string();
    let mut h = harness();
    h.state_mut().prefs.watched.push(dir.path().to_path_buf());
    h.state_mut().document.recipe.sample.prompt = Some("red apple, neon".into());
    until(&mut h, "the copy", |s| s.suggest.offers.iter().any(|o| o.reference == reference));
    h.state_mut().edit_card(&reference);
    until(&mut h, "its card", |s| s.suggest.editing.is_some());
    let fields = |s: &mut Studio, title: &str| {
        let editing = s.suggest.editing.as_mut().expect("is open");
        editing.fields.title = title.into();
        editing.fields.triggers = "zorgon".into();
        editing.fields.tags = String::new();
        editing.fields.weight = 0.5;
    };
    fields(h.state_mut(), "Zorgon");
    h.state_mut().save_card();
    h.state_mut().document.recipe.sample.prompt = Some("red apple, zorgon".into());
    until(&mut h, "its new words", |s| {
        s.suggest.offers.iter().any(|o| o.reference == reference && o.words == "zorgon")
    });
    assert_eq!(h.state().suggest.offers[0].weight, 0.4);
    // Told from pictures, and kept with the card.
    h.state_mut().describe_card();
    until(&mut h, "a description", |s| {
        s.suggest.editing.as_ref().is_some_and(|e| !e.seen.is_empty() && e.study.is_none())
    });
    h.state_mut().close_card();
    h.state_mut().edit_card(&reference);
    until(&mut h, "the card again", |s| s.suggest.editing.as_ref().is_some_and(|e| !e.seen.is_empty()));
    let editing = h.state().suggest.editing.as_ref().expect("is open");
    assert_eq!(editing.fields.title, "Zorgon");
}

#[test]
fn the_pointer_on_a_word_shows_it_with_and_without() {
    let mut h = offered("pixel art, red apple");
    rest(&mut h);
    assert_eq!(h.state().suggest.offers[0].place, 0..9);
    let field = h.get_by_label("Prompt").rect();
    h.hover_at(field.left_top() + egui::vec2(24.0, 12.0));
    until(&mut h, "a glance", |s| {
        s.suggest.glance.as_ref().is_some_and(|g| g.offer.name == "pixel" && g.study.is_some())
    });
    until(&mut h, "both pictures", |s| s.suggest.glance.as_ref().is_some_and(|g| g.is_done()));
    h.get_by_label("Add pixel").hover();
    h.step();
    assert!(h.state().suggest.glance.is_some(), "the way to the button gives nothing up");
    h.get_by_label("Add pixel").click();
    until(&mut h, "the row", |s| s.document.uses("builtin:pixel"));
    // Away from the words it closes.
    let mut h = offered("pixel art, red apple");
    h.hover_at(field.left_top() + egui::vec2(24.0, 12.0));
    until(&mut h, "a glance", |s| s.suggest.glance.is_some());
    h.hover_at(egui::pos2(640.0, 300.0));
    until(&mut h, "no glance", |s| s.suggest.glance.is_none());
    // The chip below the prompt does the same.
    h.get_by_label("+ pixel").hover();
    until(&mut h, "a glance of the chip", |s| s.suggest.glance.is_some());
}

/// A copy of a built-in adapter with the first bytes of its tensors changed and a tail that makes it too large to be hashed on the way.
fn other(name: &str, dir: &std::path::Path, of: &str) -> std::path::PathBuf {
    let mut bytes = std::fs::read(builtin::resolve_adapter(of).expect("ships")).expect("reads");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    let mut head: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    let data = bytes.split_off(8 + header);
    let more = 600 << 10;
    head["zz.alpha"] =
        serde_json::json!({"dtype": "U8", "shape": [more], "data_offsets": [data.len(), data.len() + more]});
    head["__metadata__"] = serde_json::json!({"ss_output_name": name, "modelspec.trigger_phrase": "zorgon"});
    let head = head.to_string();
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head.into_bytes());
    file.extend(data);
    file.extend(std::iter::repeat_n(name.len() as u8, more));
    let path = dir.join(format!("{name}.safetensors"));
    std::fs::write(&path, file).expect("written");
    path
}

#[test]
fn dropped_files_are_offered_and_hashed_in_the_background() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = other("dropped", dir.path(), "builtin:neon");
    let reference = file.display().to_string();
    let mut h = harness();
    h.state_mut().document.recipe.sample.prompt = Some("red apple, zorgon".into());
    rest(&mut h);
    h.state_mut().take_files(std::iter::once(crate::io::dropped::from_path(&file)));
    until(&mut h, "the dropped file", |s| s.suggest.offers.iter().any(|o| o.reference == reference));
    // Its card is kept, and known by its tensors once they are hashed.
    let own = crate::io::own_catalogue().expect("tests have one");
    let kept = || admix_engine::select::sqlite::Store::open(&own).expect("opens").1;
    until(&mut h, "its hash", |_| kept().files.get(&reference).is_some_and(|r| r.key.is_some()));
    h.state_mut().edit_card(&reference);
    until(&mut h, "its card", |s| s.suggest.editing.is_some());
    if let Some(editing) = &mut h.state_mut().suggest.editing {
        editing.fields.triggers = "quibble".into();
    }
    h.state_mut().save_card();
    h.state_mut().document.recipe.sample.prompt = Some("red apple, quibble".into());
    until(&mut h, "its new word", |s| s.suggest.offers.iter().any(|o| o.words == "quibble"));
    let key = kept().files[&reference].key.clone().expect("is hashed");
    assert_eq!(kept().edits[&key].triggers.as_deref(), Some(["quibble".to_owned()].as_slice()));
    // Off the shelf, out of the offers.
    h.state_mut().shelf.remove(&reference);
    until(&mut h, "no offer", |s| s.suggest.offers.is_empty());
}

#[test]
fn reading_can_be_given_up_and_taken_up_again() {
    use crate::studio::cards::Kind;
    let dir = tempfile::tempdir().expect("a folder");
    let shipped = builtin::resolve_adapter("builtin:neon").expect("ships");
    for n in 0..400 {
        std::fs::copy(&shipped, dir.path().join(format!("thing_{n}.safetensors"))).expect("copied");
    }
    let mut h = offered("red apple, neon");
    h.state_mut().prefs.watched.push(dir.path().to_path_buf());
    let reading = |s: &Studio| {
        let cards = s.suggest.cards.as_ref().expect("started");
        cards.progress().into_iter().find(|p| p.kind == Kind::Reading && p.of > 0)
    };
    until(&mut h, "reading", |s| reading(s).is_some());
    h.state().suggest.cards.as_ref().expect("started").give_up(Kind::Reading);
    until(&mut h, "the end of it", |_| true);
    until(&mut h, "the offer to go on", |s| reading(s).is_none());
    until(&mut h, "the button", |s| s.suggest.is_given_up());
    h.step();
    h.get_by_label("Read on").click();
    until(&mut h, "all of them", |s| s.suggest.offers.iter().any(|o| o.reference.contains("thing_")));
    assert!(!h.state().suggest.is_given_up());
}
