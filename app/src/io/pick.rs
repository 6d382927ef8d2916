//! File dialogs: what to open, where to save; downloads in the browser.

use super::dropped::{Inbox, Incoming};

/// Runs a future to its end away from the drawing.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    let spawned = std::thread::Builder::new().name("files".into()).spawn(move || pollster::block_on(future));
    if let Err(error) = spawned {
        log::error!("no thread for files: {error}");
    }
}

#[cfg(target_arch = "wasm32")]
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

/// Asks for files to open.
pub fn open(inbox: &Inbox) {
    let inbox = inbox.clone();
    let dialog = rfd::AsyncFileDialog::new()
        .set_title("Add models, adapters, pictures or recipes")
        .add_filter("Models, adapters, pictures, recipes", super::dropped::ENDINGS);
    let future = dialog.pick_files();
    spawn(async move {
        for handle in future.await.unwrap_or_default() {
            #[cfg(not(target_arch = "wasm32"))]
            inbox.put(super::dropped::from_path(handle.path()));
            #[cfg(target_arch = "wasm32")]
            super::dropped::take_file(handle.inner().clone(), inbox.clone()).await;
        }
    });
}

/// Asks for a model folder to open. In a browser tab there is none to be had.
#[cfg(not(target_arch = "wasm32"))]
pub fn open_folder(inbox: &Inbox) {
    let inbox = inbox.clone();
    let future = rfd::AsyncFileDialog::new().set_title("Add a diffusers folder").pick_folder();
    spawn(async move {
        if let Some(handle) = future.await {
            inbox.put(super::dropped::from_path(handle.path()));
        }
    });
}

/// Asks for a folder to watch.
#[cfg(not(target_arch = "wasm32"))]
pub fn watch_folder(inbox: &Inbox) {
    let inbox = inbox.clone();
    let future = rfd::AsyncFileDialog::new().set_title("Watch a folder for new files").pick_folder();
    spawn(async move {
        if let Some(handle) = future.await {
            inbox.put(Incoming::Watch(handle.path().to_path_buf()));
        }
    });
}

/// Saves bytes under a name the person chooses (natively) or as a download.
pub fn save(inbox: &Inbox, name: &str, ending: &str, bytes: Vec<u8>) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        let inbox = inbox.clone();
        let future =
            rfd::AsyncFileDialog::new().set_title("Save").set_file_name(name).add_filter(ending, &[ending]).save_file();
        spawn(async move {
            let Some(handle) = future.await else { return };
            inbox.put(match write_beside(handle.path(), &bytes) {
                Ok(()) => Incoming::Saved(handle.path().display().to_string()),
                Err(error) => Incoming::Failed(format!("{} cannot be written: {error}", handle.path().display())),
            });
        });
    }
    #[cfg(target_arch = "wasm32")]
    {
        let _ = ending;
        inbox.put(match super::assets::download(name, &bytes) {
            Ok(()) => Incoming::Saved(name.into()),
            Err(error) => Incoming::Failed(error),
        });
    }
}

/// Writes a file whole or not at all: beside it first, then renamed.
#[cfg(not(target_arch = "wasm32"))]
pub fn write_beside(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = std::path::PathBuf::from(beside);
    let result = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if result.is_err() {
        // Best effort: the error above is the one worth telling.
        let _ = std::fs::remove_file(&beside);
    }
    result
}

/// A place for a checkpoint, asked for and then given to `then`.
#[cfg(target_arch = "wasm32")]
pub fn save_place(name: &str, inbox: &Inbox, then: impl FnOnce(super::Place) + 'static) {
    let (name, inbox) = (name.to_string(), inbox.clone());
    spawn(async move {
        match super::Place::ask(&name).await {
            Ok(Some(place)) => then(place),
            Ok(None) => {}
            Err(error) => inbox.put(Incoming::Failed(format!("{name} cannot be written: {error}"))),
        }
    });
}

/// A place for a checkpoint, asked for and then given to `then`.
#[cfg(not(target_arch = "wasm32"))]
pub fn save_place(name: &str, _inbox: &Inbox, then: impl FnOnce(super::Place) + Send + 'static) {
    let future = rfd::AsyncFileDialog::new()
        .set_title("Export the mix")
        .set_file_name(name)
        .add_filter("safetensors", &["safetensors"])
        .save_file();
    spawn(async move {
        if let Some(handle) = future.await {
            then(super::Place(handle.path().to_path_buf()));
        }
    });
}
