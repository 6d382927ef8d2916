//! The browser tab's entry: puts the studio on the page's canvas, and puts it there again when the graphics device is lost.

mod between;
mod script;
mod widgets;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use eframe::CreationContext;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;

use crate::io::dropped::{self, Incoming};
use crate::io::{kept, store};
use crate::studio::{Carried, Studio};
pub use between::look_soon;

thread_local! {
    /// The studio on the page.
    static RUNNER: RefCell<Option<eframe::WebRunner>> = const { RefCell::new(None) };
    /// How many devices there were: only the loss of the newest one matters.
    static DEVICES: Cell<u32> = const { Cell::new(0) };
}

/// Milliseconds to wait before each attempt at a new device. A graphics process that was ended takes a moment to come back.
const ATTEMPTS: [i32; 4] = [0, 500, 2000, 5000];

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
    let keys = store::keys(kept::HISTORY).await.unwrap_or_else(|error| {
        log::warn!("{error}");
        Vec::new()
    });
    wasm_bindgen_futures::spawn_local(crate::io::sweep());
    let runner = eframe::WebRunner::new();
    show_panics();
    RUNNER.with(|slot| *slot.borrow_mut() = Some(runner.clone()));
    between::listen().map_err(|error| crate::io::assets::words(&error))?;
    launch(&runner, |creation| {
        let studio = Studio::new(creation, keys)?;
        wasm_bindgen_futures::spawn_local(dropped::return_files(studio.inbox.clone()));
        Ok(studio)
    })
    .await
}

/// Opens a device and puts the studio that `create` makes with it on the canvas.
async fn launch(
    runner: &eframe::WebRunner,
    create: impl FnOnce(&CreationContext<'_>) -> Result<Studio, String> + 'static,
) -> Result<(), String> {
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no page")?;
    let canvas = document.get_element_by_id("admix").ok_or("the page has no canvas `admix`")?;
    let canvas: web_sys::HtmlCanvasElement = canvas.dyn_into().map_err(|_| "`admix` is not a canvas")?;
    let options = eframe::WebOptions {
        renderer: eframe::Renderer::Wgpu,
        wgpu_options: crate::studio::wgpu_options(),
        ..Default::default()
    };
    let create = move |creation: &CreationContext<'_>| -> Result<Box<dyn eframe::App>, _> {
        let studio = create(creation)?;
        dropped::follow_address(&studio.inbox);
        watch(creation);
        Ok(Box::new(studio))
    };
    runner.start(canvas, options, Box::new(create)).await.map_err(|e| crate::io::assets::words(&e))
}

/// Waits for the loss of the device.
fn watch(creation: &CreationContext<'_>) {
    let Some(state) = &creation.wgpu_render_state else { return };
    let mine = DEVICES.with(|count| {
        count.set(count.get() + 1);
        count.get()
    });
    state.device.set_device_lost_callback(move |_, reason| {
        if DEVICES.with(Cell::get) == mine {
            wasm_bindgen_futures::spawn_local(rebuild(reason));
        }
    });
}

/// The device is gone, and with it everything that lay on it. What people made is elsewhere: it moves into a new studio on a new device.
async fn rebuild(reason: String) {
    log::error!("the graphics device was lost: {reason}");
    let Some(runner) = RUNNER.with(|slot| slot.borrow().clone()) else { return };
    let carried: Rc<RefCell<Option<Carried>>> = Rc::default();
    *carried.borrow_mut() = runner.app_mut::<Studio>().map(|mut studio| studio.leave());
    runner.destroy();
    let mut last = String::new();
    for wait in ATTEMPTS {
        crate::io::assets::pause(wait).await;
        let (carried, reason) = (carried.clone(), reason.clone());
        let create = move |creation: &CreationContext<'_>| {
            let mut studio = Studio::new(creation, Vec::new())?;
            if let Some(carried) = carried.borrow_mut().take() {
                studio.join(carried);
            }
            dropped::return_known(&studio.inbox);
            studio.inbox.put(Incoming::lost(&reason));
            Ok(studio)
        };
        match launch(&runner, create).await {
            Ok(()) => return,
            Err(error) => last = error,
        }
    }
    report(&format!(
        "The graphics device was lost ({reason}) and does not come back: {last}. Settings and pictures are kept; load the page again."
    ));
}

/// A panic stops the drawing; the page says so instead of standing still.
fn show_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        report(&format!("{info}; settings and pictures are kept"));
    }));
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
