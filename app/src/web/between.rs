//! What does not wait for a frame. Where a processor draws, a frame can take a second: dropped files and what the engine tells are taken in at
//! once, and only the sight of them waits.

use std::cell::Cell;

use eframe::WebRunner;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::RUNNER;
use crate::io::dropped;
use crate::studio::Studio;

thread_local! {
    /// Somebody asked, and nobody has looked yet.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Looks at the studio, unless it draws right now or is not there.
fn with<T>(work: impl FnOnce(&mut Studio) -> T) -> Option<T> {
    let runner: Option<WebRunner> = RUNNER.with(|slot| slot.borrow().clone());
    let mut studio = runner.as_ref().and_then(WebRunner::app_mut::<Studio>)?;
    Some(work(&mut studio))
}

/// Takes in what has come, once the work that the page does at this moment is over.
pub fn look_soon() {
    if ASKED.replace(true) {
        return;
    }
    spawn_local(async {
        ASKED.set(false);
        // A studio that draws takes it in by itself.
        with(Studio::take_in);
    });
}

/// Takes dropped files in, from now on. The window's own listener comes after this one and ends the drag.
pub fn listen() -> Result<(), JsValue> {
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no page")?;
    let take = Closure::<dyn FnMut(web_sys::DragEvent)>::new(|event: web_sys::DragEvent| {
        let Some(files) = event.data_transfer().and_then(|data| data.files()) else { return };
        let Some(inbox) = with(|studio| studio.inbox.clone()) else { return };
        for file in (0..files.length()).filter_map(|i| files.get(i)) {
            spawn_local(dropped::take_file(file, inbox.clone()));
        }
    });
    // Before the canvas hears of it: its listener lets the event go no further.
    document.add_event_listener_with_callback_and_bool("drop", take.as_ref().unchecked_ref(), true)?;
    // The page keeps it for as long as it lives.
    take.forget();
    Ok(())
}
