//! What scripts in the page can do with the studio: `window.admix` (`web/boot.js` documents it and turns JSON into objects).

use eframe::WebRunner;
use wasm_bindgen::prelude::*;

use super::{RUNNER, widgets};
use crate::io::dropped;
use crate::studio::Studio;

/// Looks at the studio. Errors: it has not started yet, has stopped, or is being rebuilt.
fn with<T>(work: impl FnOnce(&mut Studio) -> T) -> Result<T, JsError> {
    let runner: Option<WebRunner> = RUNNER.with(|slot| slot.borrow().clone());
    let mut studio = runner.as_ref().and_then(WebRunner::app_mut::<Studio>);
    match &mut studio {
        Some(studio) => Ok(work(studio)),
        None => Err(JsError::new("the studio is not running")),
    }
}

/// Everything on show, as JSON.
#[wasm_bindgen]
pub fn state() -> Result<String, JsError> {
    with(|studio| studio.state().to_string())
}

/// The widgets of the last frame with their places on the page, as JSON.
#[wasm_bindgen]
pub fn controls() -> Result<String, JsError> {
    with(|studio| widgets::list(&studio.context).to_string())
}

/// The PNG of a history entry, by its number, or of the picture on show.
#[wasm_bindgen]
pub fn picture(id: Option<f64>) -> Result<Vec<u8>, JsError> {
    let png = with(|studio| {
        let id = id.map(|id| id as u64).or(studio.canvas.shown).ok_or("no picture is on show")?;
        // Of an old one the pixels may be on disk: then this asks for them, and the script once more.
        studio.history.want(id);
        studio.history.get(id).ok_or("there is no such picture")?.png(0)
    })?;
    png.map_err(|error| JsError::new(&error))
}

/// Takes the settings of a recipe's JSON or of a link to one.
#[wasm_bindgen]
pub fn open(text: &str) -> Result<(), JsError> {
    // Checked here too, so that the script hears of a mistake and not only the person.
    crate::io::link::read(text).map_err(|error| JsError::new(&error))?;
    let text = text.to_string();
    with(|studio| studio.inbox.put(dropped::Incoming::Recipe { name: "the script's recipe".into(), text }))
}

/// Takes a file in as if it had been dropped.
#[wasm_bindgen]
pub fn add(file: web_sys::File) -> Result<(), JsError> {
    let inbox = with(|studio| studio.inbox.clone())?;
    wasm_bindgen_futures::spawn_local(dropped::take_file(file, inbox));
    Ok(())
}

/// The keys that the page must keep from the browser, as JSON.
#[wasm_bindgen]
pub fn shortcuts() -> String {
    let keys = crate::studio::taken_from_browser();
    let keys =
        keys.map(|(key, shift, ctrl)| serde_json::json!({ "key": key.to_lowercase(), "shift": shift, "ctrl": ctrl }));
    serde_json::Value::Array(keys.collect()).to_string()
}

/// Makes the picture of the settings.
#[wasm_bindgen]
pub fn make() -> Result<(), JsError> {
    with(|studio| {
        // Settings that the script opened just before.
        studio.take_in();
        studio.make();
    })
}

/// The end of a link that brings the settings back.
#[wasm_bindgen]
pub fn link() -> Result<String, JsError> {
    with(|studio| crate::io::link::fragment(&studio.document.effective()))
}

/// Bytes of the module's memory. It never shrinks: this is also the most it ever was.
#[wasm_bindgen]
pub fn memory_bytes() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    f64::from(buffer.byte_length())
}
