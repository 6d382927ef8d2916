//! The browser tab's entry: puts the studio on the page's canvas.

use eframe::wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;

/// Called by the page once the module is loaded.
#[wasm_bindgen(start)]
pub fn start() {
    // A second logger is harmless: the first stays.
    let _ = eframe::WebLogger::init(log::LevelFilter::Info);
    wasm_bindgen_futures::spawn_local(async {
        if let Err(error) = run().await {
            log::error!("{error}");
            report(&error);
        }
    });
}

async fn run() -> Result<(), String> {
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no page")?;
    let canvas = document.get_element_by_id("admix").ok_or("the page has no canvas `admix`")?;
    let canvas: web_sys::HtmlCanvasElement = canvas.dyn_into().map_err(|_| "`admix` is not a canvas")?;
    let options = eframe::WebOptions {
        renderer: eframe::Renderer::Wgpu,
        wgpu_options: crate::studio::wgpu_options(),
        ..Default::default()
    };
    let runner = eframe::WebRunner::new();
    let started =
        runner.start(canvas, options, Box::new(|creation| Ok(Box::new(crate::studio::Studio::new(creation)?))));
    started.await.map_err(|e| format!("{e:?}"))
}

/// Shows the page's own sheet for failures.
fn report(error: &str) {
    let document = web_sys::window().and_then(|w| w.document());
    let Some(document) = document else { return };
    if let Some(reason) = document.get_element_by_id("reason") {
        reason.set_text_content(Some(error));
    }
    if let Some(sheet) = document.get_element_by_id("failed") {
        let _ = sheet.remove_attribute("hidden");
    }
}
