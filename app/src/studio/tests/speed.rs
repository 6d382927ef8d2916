//! How quickly things happen. The figures are printed; the limits leave room for a busy machine and an unoptimised build.

use std::time::{Duration, Instant};

use egui_kittest::Harness;

use super::{opened, until};
use crate::studio::Studio;

/// Milliseconds of frames: median and the one that 95 of 100 stay under.
fn figures(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0.0);
    (at(50), at(95))
}

fn timed(h: &mut Harness<'static, Studio>) -> f64 {
    let start = Instant::now();
    h.step();
    start.elapsed().as_secs_f64() * 1e3
}

#[test]
fn ten_thousand_rows_scroll_smoothly() {
    // One adapter under ten thousand names: what is read is a header like any other.
    let folder = tempfile::tempdir().expect("a folder");
    let one = folder.path().join("one.safetensors");
    let adapter = admix_engine::files::builtin::resolve_adapter("builtin:pixel").expect("it is built in");
    std::fs::copy(adapter, &one).expect("copies");
    let named = |i: usize| folder.path().join(format!("style {i:05}.safetensors"));
    (0..10_000).for_each(|i| std::fs::hard_link(&one, named(i)).expect("links"));
    let mut h = opened();
    h.state_mut().shelf.fill((0..10_000).map(|i| named(i).display().to_string()));
    h.run_steps(5);
    let at = egui::pos2(150.0, 300.0);
    h.hover_at(at);
    let mut times = Vec::new();
    for i in 0..200 {
        let delta = egui::vec2(0.0, if i % 50 == 49 { 5000.0 } else { -400.0 });
        h.event(egui::Event::MouseWheel {
            unit: egui::MouseWheelUnit::Point,
            delta,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Wheel,
            modifiers: egui::Modifiers::NONE,
        });
        times.push(timed(&mut h));
    }
    let (median, p95) = figures(times);
    println!("10,000 shelf rows while scrolling: median {median:.1} ms, 95% under {p95:.1} ms a frame");
    assert!(median < 16.7, "60 frames a second leave 16.7 ms, a frame takes {median:.1} ms");
    // What is not in sight is not read.
    let read = h.state().shelf.items.iter().filter(|i| i.card.is_some()).count();
    assert!(read < 2_000, "{read} headers were read");

    h.state_mut().search = "STYLE 09999".into();
    let start = Instant::now();
    h.step();
    println!("searching 10,000 rows: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    assert_eq!(h.state_mut().shelf.matching("style 09999").len(), 1);
}

#[test]
fn a_changed_knob_redraws_at_once_and_fully_when_let_go() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.steps = Some(12);
    h.state_mut().set_live(true);
    until(&mut h, "the first picture", |s| s.history.entries.len() == 1 && !s.desk.is_busy());
    let seed = h.state().document.recipe.sample.seed;
    let (mut best, mut frames) = (f64::MAX, Vec::new());
    for round in 0..6 {
        let made = h.state().history.entries.len();
        h.state_mut().document.recipe.sample.cfg = Some(2.0 + f64::from(round) * 0.5);
        let start = Instant::now();
        while h.state().live().is_none_or(|l| l.preview.is_none()) && h.state().history.entries.len() == made {
            assert!(start.elapsed() < Duration::from_secs(60), "no preview");
            frames.push(timed(&mut h));
            std::thread::sleep(Duration::from_millis(4));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        while h.state().history.entries.len() == made {
            assert!(start.elapsed() < Duration::from_secs(120), "no full render");
            frames.push(timed(&mut h));
            std::thread::sleep(Duration::from_millis(4));
        }
    }
    let count = frames.len();
    let (median, p95) = figures(frames);
    println!("from a changed knob to the first preview: {best:.0} ms at best of 6");
    println!("{count} frames while rendering: median {median:.1} ms, 95% under {p95:.1} ms");
    assert!(p95 < 33.0, "95% of frames under {p95:.1} ms");
    let entries = &h.state().history.entries;
    let last = &entries[entries.len() - 1];
    assert_eq!((last.recipe.sample.cfg, last.recipe.sample.seed), (Some(4.5), seed), "the seed holds still");
    assert_eq!(last.recipe.sample.steps, Some(12), "the quick look's steps are its own");
    assert_ne!(last.pictures[0], entries[0].pictures[0]);
    assert!(h.state().canvas.is_offered(), "what it was like before lies under the new picture");
}

#[test]
fn closing_in_mid_render_ends_at_once() {
    let mut h = opened();
    h.state_mut().document.recipe.sample.steps = Some(400);
    h.state_mut().make();
    until(&mut h, "a step", |s| s.live().is_some_and(|l| l.preview.is_some()));
    let start = Instant::now();
    drop(h);
    let took = start.elapsed();
    println!("closing in mid-render: {:.0} ms", took.as_secs_f64() * 1e3);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
