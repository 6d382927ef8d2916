//! The studio driven by its labels, as a screen reader would, with the engine on whatever device there is.

mod basics;
mod controls;
mod kept;
mod mending;
mod narrow;
mod panels;
mod pictures;
mod speed;
mod studies;
mod suggest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use admix_engine::Picture;
use admix_engine::tensor::{DeviceOptions, Gpu};
use egui::accesskit::Role;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use egui_kittest::{Harness, Node};

use super::Studio;
use super::history::History;
use super::prefs::{Prefs, Saved};

fn gpu() -> Arc<Gpu> {
    pollster::block_on(Gpu::open(&DeviceOptions::default())).expect("a device; lavapipe will do")
}

/// A first start.
fn harness() -> Harness<'static, Studio> {
    with(Saved::default())
}

/// A later start, all panels open.
fn opened() -> Harness<'static, Studio> {
    let prefs = Prefs {
        shelf_open: true,
        history_open: true,
        mix_open: true,
        guide_open: true,
        begun: true,
        ..Prefs::default()
    };
    with(Saved { prefs, ..Saved::default() })
}

fn with(saved: Saved) -> Harness<'static, Studio> {
    let studio = Studio::with(egui::Context::default(), gpu(), saved, History::default());
    Harness::builder().with_size([1280.0, 1000.0]).build_ui_state(|ui, studio| studio.frame(ui), studio)
}

/// Puts a picture into the history and on show, nothing that a device computed: two colours.
fn paint(studio: &mut Studio) -> u64 {
    let (width, height) = (96, 96);
    let rgb = (0..width * height).flat_map(|i| if i % width < i / width { [217, 100, 26] } else { [40, 90, 140] });
    let picture = Picture { width, height, rgb: rgb.collect() };
    let id = studio.history.add_found(picture, studio.document.effective(), "red apple\nSteps: 20".into());
    studio.canvas.show_entry(id);
    id
}

/// The control of a label, of several parts the one with that role.
fn control<'a>(harness: &'a Harness<'static, Studio>, label: &'a str, role: Role) -> Node<'a> {
    let found = harness.get_all_by_label(label).find(|n| n.accesskit_node().role() == role);
    found.unwrap_or_else(|| panic!("there is no {role:?} {label}"))
}

/// Frames until `ready`, at most two minutes: a software device on a busy machine is slow.
fn until(harness: &mut Harness<'static, Studio>, what: &str, ready: impl Fn(&Studio) -> bool) {
    let start = Instant::now();
    while !ready(harness.state()) {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{what} did not happen: {:?}",
            harness.state().notices.titles()
        );
        harness.step();
        std::thread::sleep(Duration::from_millis(10));
    }
    harness.step();
}

/// Frames until undo has seen the settings as they are.
fn rest(harness: &mut Harness<'static, Studio>) {
    // The harness's clock runs by frames.
    for _ in 0..60 {
        harness.step();
    }
}
