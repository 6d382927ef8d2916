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

/// What a dialog gives. One that is over before anybody could have closed it never opened: that is said, with `instead`.
#[cfg(not(target_arch = "wasm32"))]
async fn answer<T>(inbox: &Inbox, dialog: impl Future<Output = Option<T>>, instead: &str) -> Option<T> {
    let begun = std::time::Instant::now();
    let answer = dialog.await;
    if answer.is_none() && begun.elapsed() < TOO_QUICK {
        inbox.put(Incoming::Failed(no_dialog(instead)));
    }
    answer
}

/// Nobody reads a dialog and closes it in this time.
#[cfg(not(target_arch = "wasm32"))]
const TOO_QUICK: std::time::Duration = std::time::Duration::from_millis(150);

#[cfg(not(target_arch = "wasm32"))]
fn no_dialog(instead: &str) -> String {
    format!("No file dialog opens on this system (xdg-desktop-portal or zenity has to be installed); {instead}")
}

/// Where something goes that no dialog can ask a place for: a new file in the folder for downloads, or else the person's own.
#[cfg(not(target_arch = "wasm32"))]
fn fallback(name: &str) -> Option<std::path::PathBuf> {
    let home = std::env::home_dir()?;
    let downloads = home.join("Downloads");
    Some(free_name(if downloads.is_dir() { &downloads } else { &home }, name))
}

/// The path of that name in a folder, with a number where there is such a file.
#[cfg(not(target_arch = "wasm32"))]
fn free_name(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let numbered = (2..).map(|n| format!("{stem}-{n}.{ending}"));
    let paths = std::iter::once(name.to_string()).chain(numbered).map(|name| folder.join(name));
    // The numbers do not end.
    paths.into_iter().find(|path| !path.exists()).unwrap_or_default()
}

/// Asks for files to open.
pub fn open(inbox: &Inbox) {
    let inbox = inbox.clone();
    let dialog = rfd::AsyncFileDialog::new()
        .set_title("Add models, adapters, pictures or recipes")
        .add_filter("Models, adapters, pictures, recipes", super::dropped::ENDINGS);
    let future = dialog.pick_files();
    spawn(async move {
        #[cfg(not(target_arch = "wasm32"))]
        for handle in answer(&inbox, future, "drop the files onto the window").await.unwrap_or_default() {
            inbox.put(super::dropped::from_path(handle.path()));
        }
        #[cfg(target_arch = "wasm32")]
        for handle in future.await.unwrap_or_default() {
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
        if let Some(handle) = answer(&inbox, future, "drop the folder onto the window").await {
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
        if let Some(handle) = answer(&inbox, future, "no folder can be chosen without it").await {
            inbox.put(Incoming::Watch(handle.path().to_path_buf()));
        }
    });
}

/// Saves bytes under a name the person chooses (natively) or as a download.
pub fn save(inbox: &Inbox, name: &str, ending: &str, bytes: Vec<u8>) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        let (inbox, name) = (inbox.clone(), name.to_string());
        let dialog = rfd::AsyncFileDialog::new().set_title("Save").set_file_name(&name);
        let future = dialog.add_filter(ending, &[ending]).save_file();
        spawn(async move {
            let Some(path) = place(&inbox, future, &name).await else { return };
            inbox.put(match write_beside(&path, &bytes) {
                Ok(()) => Incoming::Saved(path.display().to_string()),
                Err(error) => Incoming::Failed(format!("{} cannot be written: {error}", path.display())),
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
pub fn save_place(name: &str, inbox: &Inbox, then: impl FnOnce(super::Place) + Send + 'static) {
    let (inbox, wanted) = (inbox.clone(), name.to_string());
    let future = rfd::AsyncFileDialog::new()
        .set_title("Export the mix")
        .set_file_name(name)
        .add_filter("safetensors", &["safetensors"])
        .save_file();
    spawn(async move {
        if let Some(path) = place(&inbox, future, &wanted).await {
            then(super::Place(path));
        }
    });
}

/// The place a person chose for something of that name; where no dialog opens, one that is told. None: they chose none.
#[cfg(not(target_arch = "wasm32"))]
async fn place(
    inbox: &Inbox,
    dialog: impl Future<Output = Option<rfd::FileHandle>>,
    name: &str,
) -> Option<std::path::PathBuf> {
    let begun = std::time::Instant::now();
    let chosen = dialog.await.map(|handle| handle.path().to_path_buf());
    if chosen.is_some() || begun.elapsed() >= TOO_QUICK {
        return chosen;
    }
    let fallback = fallback(name);
    let instead = fallback.as_ref().map(|path| format!("it is written to {}", path.display()));
    inbox.put(Incoming::Failed(no_dialog(&instead.unwrap_or_else(|| "nothing can be saved without it".into()))));
    fallback
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_dialog_that_never_opened_is_told() {
        let inbox = Inbox::new(Arc::new(|| {}));
        let told = |inbox: &Inbox| matches!(&inbox.take()[..], [Incoming::Failed(line)] if line.contains("zenity"));
        assert_eq!(pollster::block_on(answer(&inbox, async { None::<u8> }, "drop it")), None);
        assert!(told(&inbox));
        let closed = async {
            std::thread::sleep(TOO_QUICK * 2);
            None::<u8>
        };
        assert_eq!(pollster::block_on(answer(&inbox, closed, "drop it")), None);
        assert_eq!(pollster::block_on(answer(&inbox, async { Some(1) }, "drop it")), Some(1));
        assert!(inbox.take().is_empty(), "who closes a dialog knows");
        let path = pollster::block_on(place(&inbox, async { None }, "a.png"));
        assert!(path.is_none_or(|p| !p.exists()) && told(&inbox));
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        for wanted in ["a.png", "a-2.png", "a-3.png"] {
            let path = free_name(folder.path(), "a.png");
            assert_eq!(path, folder.path().join(wanted));
            std::fs::write(path, b"x").expect("writes");
        }
    }
}
