//! The history between starts: nothing is lost, and a long one costs no more than a short one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use admix_engine::Picture;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::{gpu, opened, until};
use crate::io::{kept, store};
use crate::session::Finished;
use crate::studio::Studio;
use crate::studio::document::Document;
use crate::studio::history::History;
use crate::studio::prefs::{Prefs, Saved};

/// Tests share one folder, where no key may be used twice.
static NUMBERS: AtomicUsize = AtomicUsize::new(1);

fn picture(edge: usize, shade: u8) -> Picture {
    Picture { width: edge, height: edge, rgb: vec![shade; edge * edge * 3] }
}

fn finished(count: usize, shade: u8) -> Finished {
    let mut recipe = Document::default().recipe;
    recipe.sample.seed = Some(u64::from(shade));
    recipe.sample.batch = Some(count as u32);
    let text = |i: usize| {
        let mut own = recipe.clone();
        (own.sample.seed, own.sample.batch) = (Some(u64::from(shade) + i as u64), None);
        (format!("red apple\nSteps: 20, Seed: {}", usize::from(shade) + i), own)
    };
    Finished {
        pictures: (0..count).map(|i| Arc::new(picture(32, shade + i as u8))).collect(),
        texts: (0..count).map(text).collect(),
        recipe,
        seconds: 1.0,
        dropped_tokens: 0,
        warnings: Vec::new(),
        device: String::new(),
    }
}

/// A studio whose history has these keys, as after a start.
fn started(keys: &[String]) -> Harness<'static, Studio> {
    let prefs = Prefs { history_open: true, begun: true, ..Prefs::default() };
    let saved = Saved { prefs, ..Saved::default() };
    let mut studio = Studio::with(egui::Context::default(), gpu(), saved, History::resume(keys));
    studio.history.begin(&studio.inbox);
    Harness::builder().with_size([1280.0, 1000.0]).build_ui_state(|ui, studio| studio.frame(ui), studio)
}

#[test]
fn a_batch_comes_back_whole() {
    let mut history = History::resume(&[]);
    let ids = [history.add(finished(3, 40)), history.add(finished(1, 90))];
    history.save(|error| panic!("{error}"));
    let keys: Vec<String> = pollster::block_on(store::keys(kept::HISTORY)).expect("lists");
    let keys: Vec<String> = keys.into_iter().filter(|k| kept::id(k).is_some_and(|(id, _)| ids.contains(&id))).collect();
    assert_eq!(keys.len(), 4);
    let mut h = started(&keys);
    until(&mut h, "both entries", |s| s.history.entries.iter().filter(|e| !e.pictures.is_empty()).count() == 2);
    let entry = &h.state().history.entries[0];
    assert_eq!((entry.id, entry.count()), (ids[0], 3));
    let shades: Vec<u8> = entry.pictures.iter().map(|p| p.rgb[0]).collect();
    assert_eq!(shades, [40, 41, 42]);
    assert_eq!((entry.recipe.sample.seed, entry.recipe.sample.batch), (Some(40), Some(3)));
    assert_eq!(entry.texts[2].1.sample.seed, Some(42));
    // Taken away, all of it is.
    h.state_mut().forget(ids[0]);
    let left: Vec<String> = pollster::block_on(store::keys(kept::HISTORY)).expect("lists");
    assert_eq!(left.iter().filter(|k| keys.contains(k)).count(), 1);
    h.state_mut().forget(ids[1]);
}

#[test]
fn thousands_of_pictures_are_kept_and_read_when_they_are_looked_at() {
    const COUNT: usize = 2_000;
    let first = NUMBERS.fetch_add(COUNT, Ordering::Relaxed) as u64;
    let one = {
        let mut history = History::default();
        let id = history.add(finished(1, 7));
        history.get(id).expect("is there").png(0).expect("encodes")
    };
    let keys: Vec<String> = (0..COUNT as u64).map(|i| kept::key(first + i, 0)).collect();
    for key in &keys {
        pollster::block_on(store::write(key, &one)).expect("writes");
    }
    // One is damaged: it stays, and says so.
    pollster::block_on(store::write(&keys[3], b"nonsense")).expect("writes");
    let mut h = started(&keys);
    assert_eq!(h.state().history.entries.len(), COUNT);
    until(&mut h, "the newest", |s| s.canvas.shown.and_then(|id| s.history.get(id)).is_some_and(|e| e.is_known()));
    let shown = |h: &Harness<'static, Studio>| h.state().history.entries.iter().filter(|e| e.is_known()).count();
    assert!(shown(&h) < 200, "{} were read though nobody looked", shown(&h));

    // Through all of it, as quickly as a wheel turns.
    let place = h.get_by_label_contains(&format!("Picture {COUNT}: ")).rect().center();
    h.hover_at(place);
    let mut times = Vec::new();
    for _ in 0..150 {
        h.event(egui::Event::MouseWheel {
            unit: egui::MouseWheelUnit::Point,
            delta: egui::vec2(0.0, -600.0),
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Wheel,
            modifiers: egui::Modifiers::NONE,
        });
        let start = Instant::now();
        h.step();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, p95) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    println!("{COUNT} pictures while scrolling: median {median:.1} ms, 95% under {p95:.1} ms a frame");
    assert!(median < 16.7, "60 frames a second leave 16.7 ms, a frame takes {median:.1} ms");
    // At its end the oldest, read by now, and restored at a click.
    let oldest = first;
    until(&mut h, "the oldest", |s| s.history.get(oldest).is_some_and(|e| e.is_known()));
    until(&mut h, "the damaged one", |s| s.history.get(first + 3).is_some_and(|e| e.trouble().is_some()));
    h.get_by_label("Picture 1: red apple").click();
    h.step();
    assert_eq!(h.state().document.recipe.sample.seed, Some(7));
    // Somewhere in between, never in sight: what is asked of it is done when it is read.
    let between = first + 1_000;
    assert!(h.state().history.get(between).is_some());
    h.state_mut().restore(between);
    until(&mut h, "it", |s| s.canvas.shown == Some(between));
    assert_eq!(h.state().history.entries.len(), COUNT, "nothing left, not the damaged one either");
    let left = pollster::block_on(store::keys(kept::HISTORY)).expect("lists");
    assert!(keys.iter().all(|k| left.contains(k)));
    kept::forget(keys);
}

#[test]
fn what_is_made_now_is_on_disk_and_may_leave_memory() {
    let mut h = opened();
    let id = h.state_mut().history.add(finished(2, 200));
    h.step();
    assert_eq!(
        h.state().history.get(id).map(|e| e.pictures.len()),
        Some(2),
        "a history of tests is kept nowhere and stays"
    );
}
