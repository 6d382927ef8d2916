//! What goes wrong is said once, with what puts it right and nothing else; what is missing is found again.

use std::path::{Path, PathBuf};

use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::{opened, rest, until, with};
use crate::io::Place;
use crate::io::dropped::Incoming;
use crate::studio::Studio;
use crate::studio::fixes::Drawn;
use crate::studio::notices::Fix;
use crate::studio::prefs::Saved;
use crate::studio::study::{Setting, State};

/// A built-in adapter's file under another name.
fn own(folder: &Path, of: &str, name: &str) -> PathBuf {
    let file = admix_engine::files::builtin::resolve_adapter(of).expect("it is built in");
    let path = folder.join(name);
    std::fs::copy(file, &path).expect("copies");
    path
}

fn add(h: &mut Harness<'static, Studio>, path: &Path) {
    h.state().inbox.put(Incoming::Weights { reference: path.display().to_string(), bundle: None });
    let reference = path.display().to_string();
    until(h, "its card", move |s| s.shelf.find(&reference).is_some_and(|i| i.card.is_some()));
}

fn quick(h: &mut Harness<'static, Studio>) {
    h.state_mut().document.recipe.sample.steps = Some(1);
    rest(h);
}

#[test]
fn the_part_that_is_at_fault_leaves() {
    let mut h = opened();
    quick(&mut h);
    h.state_mut().document.add_adapter("builtin:blueprint");
    let missing = "/nowhere/my blueprint.safetensors";
    h.state_mut().document.add_adapter(missing);
    rest(&mut h);
    h.state_mut().make();
    until(&mut h, "the failure", |s| !s.notices.fixes().is_empty());
    assert_eq!(h.state().notices.fixes(), [Fix::Drop(missing.into())]);
    h.get_by_label("Take my blueprint out").click();
    h.step();
    let left = &h.state().document.recipe.adapters;
    assert!(left.len() == 1 && left[0].source.reference == "builtin:blueprint");
}

#[test]
fn a_link_finds_files_on_the_shelf_and_files_that_come_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = own(folder.path(), "builtin:neon", "my neon.safetensors");
    let reference = path.display().to_string();
    let mut h = opened();
    add(&mut h, &path);
    h.state_mut().document.add_adapter(&reference);
    let link = crate::io::link::fragment(&h.state().document.effective());
    assert!(!link.contains("/"), "a link holds no path");
    let bring = |h: &mut Harness<'static, Studio>| {
        h.state_mut().document = Default::default();
        h.state().inbox.put(Incoming::Recipe { name: "the link".into(), text: link.clone() });
        until(h, "its settings", |s| !s.document.recipe.adapters.is_empty());
    };
    bring(&mut h);
    assert_eq!(h.state().document.recipe.adapters[0].source.reference, reference);
    assert!(h.state().notices.fixes().is_empty(), "{:?}", h.state().notices.titles());

    // Not on the shelf yet: it is named, and adding the file is all there is to do.
    h.state_mut().shelf.remove(&reference);
    bring(&mut h);
    assert_eq!(h.state().document.recipe.adapters[0].source.reference, "my neon.safetensors");
    assert_eq!(h.state().notices.fixes(), [Fix::AddFiles]);
    add(&mut h, &path);
    let wanted = reference.clone();
    until(&mut h, "the repair", move |s| s.document.recipe.adapters[0].source.reference == wanted);
    assert!(h.state().notices.fixes().is_empty());
    // A file of another name stands in for nothing.
    h.state_mut().document.recipe.adapters[0].source.reference = "lost.safetensors".into();
    add(&mut h, &own(folder.path(), "builtin:neon", "other.safetensors"));
    rest(&mut h);
    assert_eq!(h.state().document.recipe.adapters[0].source.reference, "lost.safetensors");
}

#[test]
fn an_export_counts_as_saved_when_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut h = opened();
    h.state_mut().document.add_adapter("builtin:neon");
    rest(&mut h);
    let to = |h: &mut Harness<'static, Studio>, path: PathBuf| {
        let recipe = h.state().document.effective();
        h.state().export_places.lock().expect("nobody panics").push((recipe, Place(path)));
        h.step();
    };
    to(&mut h, "/nowhere/at/all.safetensors".into());
    assert!(!h.state().is_exported(), "it has only begun");
    until(&mut h, "the failure", |s| !s.notices.fixes().is_empty());
    assert_eq!(h.state().notices.fixes(), [Fix::ExportAgain], "{:?}", h.state().notices.titles());
    assert!(!h.state().is_exported());
    // A picture that succeeds says nothing about the export.
    quick(&mut h);
    h.state_mut().make();
    until(&mut h, "a picture", |s| s.history.entries.len() == 1);
    assert_eq!(h.state().notices.fixes(), [Fix::ExportAgain]);
    to(&mut h, folder.path().join("mix.safetensors"));
    until(&mut h, "the file", |s| s.is_exported());
    assert!(h.state().notices.fixes().is_empty() && folder.path().join("mix.safetensors").exists());
    // And after a restart.
    let kept = serde_json::to_string(&h.state().to_save()).expect("serialises");
    let saved: Saved = serde_json::from_str(&kept).expect("reads");
    let again = with(saved);
    assert!(again.state().is_exported());
}

#[test]
fn pictures_of_an_open_seed_differ_and_one_undo_takes_the_change_back() {
    let mut h = opened();
    quick(&mut h);
    for _ in 0..3 {
        h.state_mut().make();
    }
    h.state_mut().document.recipe.sample.cfg = Some(2.5);
    rest(&mut h);
    h.state_mut().make();
    until(&mut h, "four pictures", |s| s.history.entries.len() == 4 && !s.desk.is_busy());
    let mut seeds: Vec<_> = h.state().history.entries.iter().map(|e| e.recipe.sample.seed).collect();
    seeds.sort();
    seeds.dedup();
    assert_eq!(seeds.len(), 4, "{seeds:?}");
    rest(&mut h);
    let seed = h.state().document.recipe.sample.seed;
    h.state_mut().undo();
    let sample = &h.state().document.recipe.sample;
    assert_eq!((sample.cfg, sample.seed), (Some(5.0), seed), "the change is gone at once, and the seed goes on");
    h.state_mut().redo();
    assert_eq!(h.state().document.recipe.sample.cfg, Some(2.5));
}

#[test]
fn a_study_that_fails_says_why_once_and_is_drawn_again() {
    let mut h = opened();
    quick(&mut h);
    h.state_mut().document.add_adapter("/nowhere/ghost.safetensors");
    rest(&mut h);
    h.state_mut().start_strip(Setting::Cfg);
    until(&mut h, "the end of it", |s| s.strip.as_ref().is_some_and(|s| s.waiting().is_empty()));
    let ghost = Box::new(Fix::Drop("/nowhere/ghost.safetensors".into()));
    assert_eq!(h.state().notices.fixes(), [Fix::Draw(ghost, Drawn::Strip)]);
    assert_eq!(h.state().notices.titles().len(), 1);
    assert!(!h.state_mut().adopt_cell(false, 0), "settings that make no picture are not adopted");
    h.get_by_label("Take ghost out").click();
    h.step();
    let done = |s: &Studio| {
        s.strip.as_ref().is_some_and(|strip| strip.cells.iter().all(|c| matches!(c.state, State::Done(..))))
    };
    until(&mut h, "the strip", done);
    assert!(h.state().history.entries.is_empty(), "no picture was asked for");
}

#[test]
fn a_picture_that_is_asked_for_comes_before_the_grid() {
    let mut h = opened();
    quick(&mut h);
    h.state_mut().prefs.grid_open = true;
    h.state_mut().grid_setup.axes[0].setting = Some(Setting::Cfg);
    h.state_mut().grid_setup.axes[0].text = "2, 4".into();
    h.state_mut().make_grid();
    h.step();
    let canvas = |h: &Harness<'static, Studio>| h.query_by_label_contains("Canvas: ").is_some();
    assert!(!canvas(&h), "the grid is in its place");
    h.state_mut().make();
    h.step();
    h.step();
    assert!(canvas(&h));
    h.set_size(egui::vec2(1280.0, 2000.0));
    h.run_steps(2);
    h.get_by_label("Show grid").click();
    h.run_steps(2);
    assert!(!canvas(&h));
    until(&mut h, "the picture", |s| s.history.entries.len() == 1);
    let id = h.state().history.entries[0].id;
    h.state_mut().restore(id);
    h.step();
    h.step();
    assert!(canvas(&h));
}

#[test]
fn a_search_reads_what_was_never_in_sight() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = own(folder.path(), "builtin:neon", "one.safetensors");
    let named = |i: usize| folder.path().join(format!("style {i:02}.safetensors"));
    (0..60).for_each(|i| std::fs::hard_link(&one, named(i)).expect("links"));
    std::fs::write(folder.path().join("style 99.safetensors"), b"no weights").expect("writes");
    let mut h = opened();
    let broken = folder.path().join("style 99.safetensors").display().to_string();
    h.state_mut().shelf.fill((0..60).map(|i| named(i).display().to_string()).chain([broken.clone()]));
    let trigger = admix_engine::files::adapter::Adapter::open(&one).expect("opens").triggers[0].clone();
    h.state_mut().search = format!("{trigger} style");
    h.step();
    assert!(h.query_by_label_contains(", reading ").is_some(), "the search says that it is not over");
    until(&mut h, "all cards", |s| s.shelf.items.iter().all(|i| i.card.is_some()));
    assert_eq!(h.state_mut().shelf.matching(&format!("{trigger} style")).len(), 60);
    // What cannot be read says so in its row, and nowhere else.
    assert!(h.state().notices.titles().is_empty(), "{:?}", h.state().notices.titles());
    let line = h.state().shelf.find(&broken).expect("is there").line();
    assert!(line.starts_with("unreadable, why? ") && !line.contains("style 99"), "{line}");
    h.state_mut().search = "99".into();
    h.run_steps(2);
    assert!(h.query_by_label("Add style 99").is_none() && h.query_by_label_contains("style 99: unread").is_some());
}

#[test]
fn a_trigger_that_another_adapter_needs_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["a.safetensors", "b.safetensors"].map(|name| own(folder.path(), "builtin:neon", name));
    let mut h = opened();
    paths.iter().for_each(|path| add(&mut h, path));
    paths.iter().for_each(|path| h.state_mut().use_adapter(&path.display().to_string()));
    let with_trigger = h.state().document.recipe.sample.prompt.clone();
    assert_ne!(with_trigger.as_deref(), Some("red apple"));
    h.state_mut().drop_adapter(0);
    assert_eq!(h.state().document.recipe.sample.prompt, with_trigger);
    h.state_mut().drop_adapter(0);
    assert_eq!(h.state().document.recipe.sample.prompt.as_deref(), Some("red apple"));
}

#[test]
fn the_picture_before_leaves_with_live() {
    let mut h = opened();
    quick(&mut h);
    for cfg in [3.0, 4.0] {
        h.state_mut().document.recipe.sample.cfg = Some(cfg);
        h.state_mut().make();
    }
    until(&mut h, "two pictures", |s| s.history.entries.len() == 2 && !s.desk.is_busy());
    let first = h.state().history.entries[0].id;
    h.state_mut().canvas.offer_before(first);
    h.state_mut().make();
    until(&mut h, "a third", |s| s.history.entries.len() == 3);
    assert_eq!(h.state().canvas.other, None, "it belonged to the knob that was let go");
    // A comparison that a person began stays.
    h.state_mut().compare_with(first);
    h.state_mut().make();
    until(&mut h, "a fourth", |s| s.history.entries.len() == 4);
    assert_eq!(h.state().canvas.other, Some(first));
}

#[test]
fn a_prompt_finds_adapters_of_the_shelf_and_of_watched_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = own(folder.path(), "builtin:neon", "only here.safetensors");
    let mut h = opened();
    quick(&mut h);
    h.state_mut().document.recipe.sample.prompt = Some("red apple <lora:only here:0.8>".into());
    rest(&mut h);
    h.state_mut().make();
    until(&mut h, "the failure", |s| s.notices.titles().iter().any(|t| t.contains("only here")));
    add(&mut h, &path);
    h.step();
    h.state_mut().make();
    until(&mut h, "the picture", |s| s.history.entries.len() == 1);
    h.state_mut().shelf.remove(&path.display().to_string());
    h.state_mut().prefs.watched.push(folder.path().to_path_buf());
    h.step();
    h.state_mut().make();
    until(&mut h, "another", |s| s.history.entries.len() == 2);
}

#[test]
fn a_file_that_was_written_anew_is_drawn_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = own(folder.path(), "builtin:neon", "mine.safetensors");
    let mut h = opened();
    quick(&mut h);
    h.state_mut().document.seed_locked = true;
    h.state_mut().document.add_adapter(&path.display().to_string());
    let strip = |h: &mut Harness<'static, Studio>| {
        h.state_mut().start_strip(Setting::Cfg);
        until(h, "the strip", |s| s.strip.as_ref().is_some_and(|s| s.waiting().is_empty()));
        let strip = h.state().strip.as_ref().expect("is there");
        match &strip.cells[3].state {
            State::Done(finished, _) => finished.pictures[0].clone(),
            _ => panic!("not made: {:?}", h.state().notices.titles()),
        }
    };
    let before = strip(&mut h);
    h.state_mut().start_strip(Setting::Cfg);
    assert!(h.state().strip.as_ref().is_some_and(|s| s.waiting().is_empty()), "what was made is there at once");
    own(folder.path(), "builtin:watercolour", "mine.safetensors");
    assert_ne!(strip(&mut h), before);
}
