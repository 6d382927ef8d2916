//! Files from outside, whichever way they come, sorted by what they are for.

use std::sync::{Arc, Mutex, PoisonError};

use admix_engine::files::Bundle;

use super::kept::Kept;

/// Largest picture or recipe that is read whole.
const MAX_SMALL_BYTES: u64 = 64 << 20;

/// A file that came in.
pub enum Incoming {
    /// A model or an adapter.
    Weights {
        /// How recipes name it.
        reference: String,
        /// Its bytes where it has no path.
        bundle: Option<Bundle>,
    },
    /// A picture, perhaps with settings in it.
    Picture {
        /// File name.
        name: String,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// A picture that was read, with its settings.
    Restored(Box<super::Restored>),
    /// A recipe.
    Recipe {
        /// File name.
        name: String,
        /// The whole file.
        text: String,
    },
    /// A history entry that was kept and cannot be read.
    Unkept {
        /// Its number.
        id: u64,
        /// Why.
        error: String,
    },
    /// A recipe whose files were looked for on the shelf.
    Mended {
        /// Whose it is.
        name: String,
        /// With what was found in place of what leads nowhere.
        recipe: Box<admix_engine::mix::Recipe>,
    },
    /// Files of the settings that lead nowhere, each with the one that takes its place.
    Moved(Vec<(String, String)>),
    /// A weight file or model folder in a folder that is watched: its path.
    Found(String),
    /// A folder to watch from now on.
    Watch(std::path::PathBuf),
    /// A file dropped into the tab before, there again after a reload.
    Returned {
        /// How recipes name it.
        reference: String,
        /// Its bytes.
        bundle: Bundle,
    },
    /// A picture of the history, kept from an earlier start.
    Kept(Box<Kept>),
    /// Something went wrong that has nothing to do with a file: what, and what to do.
    Notice {
        /// What happened.
        title: String,
        /// What that means.
        line: String,
    },
    /// Something was written.
    Saved(String),
    /// It could not be read, or is of no use here.
    Failed(String),
}

impl Incoming {
    /// Word of a graphics device that was lost and opened anew.
    pub fn lost(reason: &str) -> Incoming {
        let dot = if reason.is_empty() { "." } else { ": " };
        Incoming::Notice {
            title: format!("The graphics device was lost{dot}{reason}"),
            line: "It was opened anew. Settings, files and pictures are as they were; what was being made has to be made again."
                .into(),
        }
    }
}

/// Where readers leave what came in.
#[derive(Clone)]
pub struct Inbox {
    inner: Arc<Mutex<Vec<Incoming>>>,
    /// Text on its way to the clipboard, which only a frame can reach.
    copy: Arc<Mutex<Option<String>>>,
    wake: crate::session::Wake,
}

impl Inbox {
    /// Empty; `wake` is called when something comes in.
    pub fn new(wake: crate::session::Wake) -> Inbox {
        Inbox { inner: Arc::default(), copy: Arc::default(), wake }
    }

    /// Leaves something.
    pub fn put(&self, incoming: Incoming) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).push(incoming);
        (self.wake)();
    }

    /// Leaves text for the clipboard.
    pub fn copy(&self, text: String) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        (self.wake)();
    }

    /// Takes the text for the clipboard.
    pub fn take_copy(&self) -> Option<String> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks for a frame.
    pub fn wake(&self) {
        (self.wake)();
    }

    /// Takes everything.
    pub fn take(&self) -> Vec<Incoming> {
        std::mem::take(&mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Endings of the files that can come in, for file dialogs.
pub const ENDINGS: &[&str] = &["safetensors", "sft", "png", "jpg", "jpeg", "webp", "json"];

/// What a file of that name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Weights,
    Picture,
    Recipe,
    Pickle,
    Other,
}

fn sort(name: &str) -> Sort {
    let ending = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    match ending.as_str() {
        "safetensors" | "sft" => Sort::Weights,
        "png" | "jpg" | "jpeg" | "webp" => Sort::Picture,
        "json" => Sort::Recipe,
        "ckpt" | "pt" | "pth" | "bin" | "pkl" => Sort::Pickle,
        _ => Sort::Other,
    }
}

fn refuse(name: &str, kind: Sort) -> Incoming {
    Incoming::Failed(match kind {
        Sort::Pickle => format!(
            "{name} is a pickle, which can run code when it is opened; convert it to .safetensors and drop that"
        ),
        _ => format!(
            "{name} is of no use here: drop .safetensors files, model folders, pictures (PNG, JPEG, WebP) or recipe .json files"
        ),
    })
}

/// A file or folder with a path.
#[cfg(not(target_arch = "wasm32"))]
pub fn from_path(path: &std::path::Path) -> Incoming {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let whole = |path: &std::path::Path| -> Result<Vec<u8>, String> {
        let about = std::fs::metadata(path).map_err(|e| format!("{name} cannot be read: {e}"))?;
        if about.len() > MAX_SMALL_BYTES {
            return Err(format!("{name} has {} bytes, far too many for a picture or a recipe", about.len()));
        }
        std::fs::read(path).map_err(|e| format!("{name} cannot be read: {e}"))
    };
    let kind = if path.is_dir() { Sort::Weights } else { sort(&name) };
    let result = match kind {
        Sort::Weights => Ok(Incoming::Weights { reference: path.display().to_string(), bundle: None }),
        Sort::Picture => whole(path).map(|bytes| Incoming::Picture { name: name.clone(), bytes }),
        Sort::Recipe => whole(path)
            .map(|bytes| Incoming::Recipe { name: name.clone(), text: String::from_utf8_lossy(&bytes).into_owned() }),
        other => Ok(refuse(&name, other)),
    };
    result.unwrap_or_else(Incoming::Failed)
}

/// A file from the browser.
#[cfg(target_arch = "wasm32")]
async fn from_browser(file: web_sys::File) -> Incoming {
    use super::assets::BlobSource;
    let name = file.name();
    let kind = sort(&name);
    let source = if kind == Sort::Weights { BlobSource::begin(file) } else { BlobSource::new(file) };
    let size = admix_engine::files::ByteSource::len(&source);
    match kind {
        Sort::Weights => {
            Incoming::Weights { reference: reference(&name), bundle: Some(Bundle::file(name, Arc::new(source))) }
        }
        Sort::Picture | Sort::Recipe if size > MAX_SMALL_BYTES => {
            Incoming::Failed(format!("{name} has {size} bytes, far too many for a picture or a recipe"))
        }
        Sort::Picture | Sort::Recipe => match admix_engine::files::ByteSource::read(&source, 0..size).await {
            Ok(bytes) if kind == Sort::Picture => Incoming::Picture { name, bytes },
            Ok(bytes) => Incoming::Recipe { name, text: String::from_utf8_lossy(&bytes).into_owned() },
            Err(error) => Incoming::Failed(format!("{name} cannot be read: {error}")),
        },
        other => refuse(&name, other),
    }
}

/// How recipes name a file that has no path.
#[cfg(target_arch = "wasm32")]
fn reference(name: &str) -> String {
    format!("drop:{name}")
}

/// Takes the recipe of the page's address, now and whenever it changes.
#[cfg(target_arch = "wasm32")]
pub fn follow_address(inbox: &Inbox) {
    use wasm_bindgen::{JsCast as _, closure::Closure};
    let inbox = inbox.clone();
    let look = move || {
        if let Some(text) = super::assets::take_fragment() {
            inbox.put(Incoming::Recipe { name: "the link".into(), text });
        }
    };
    look();
    let look = Closure::<dyn FnMut()>::new(look);
    if let Some(window) = web_sys::window() {
        // Replaces the listener of a studio that lost its device.
        window.set_onhashchange(Some(look.as_ref().unchecked_ref()));
    }
    // The page keeps it for as long as it lives.
    look.forget();
}

#[cfg(target_arch = "wasm32")]
thread_local! {
    /// Files dropped into the tab: a studio that moves to another device takes them along.
    static KNOWN: std::cell::RefCell<Vec<(String, Bundle)>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(target_arch = "wasm32")]
fn know(reference: &str, bundle: &Bundle) {
    KNOWN.with_borrow_mut(|known| {
        known.retain(|(r, _)| r != reference);
        known.push((reference.to_string(), bundle.clone()));
    });
}

/// A file that was dropped into the tab, by what recipes call it.
#[cfg(target_arch = "wasm32")]
pub fn known(reference: &str) -> Option<Bundle> {
    KNOWN.with_borrow(|known| known.iter().find(|(r, _)| r == reference).map(|(_, bundle)| bundle.clone()))
}

/// Brings back the files that were dropped into the tab before a reload.
#[cfg(target_arch = "wasm32")]
pub async fn return_files(inbox: Inbox) {
    for file in super::kept::files().await {
        let name = file.name();
        let source = super::assets::BlobSource::new(file);
        know(&reference(&name), &Bundle::file(name.clone(), Arc::new(source)));
    }
    return_known(&inbox);
}

/// Brings back the files that were dropped into the tab since it was opened.
#[cfg(target_arch = "wasm32")]
pub fn return_known(inbox: &Inbox) {
    for (reference, bundle) in KNOWN.with_borrow(Clone::clone) {
        inbox.put(Incoming::Returned { reference, bundle });
    }
}

/// Takes in a file from the browser and keeps it for the next start if it is an adapter or another small one.
#[cfg(target_arch = "wasm32")]
pub async fn take_file(file: web_sys::File, inbox: Inbox) {
    let incoming = from_browser(file.clone()).await;
    if let Incoming::Weights { reference, bundle: Some(bundle) } = &incoming {
        know(reference, bundle);
        super::kept::keep_file(&file, &inbox);
    }
    inbox.put(incoming);
}

/// Files dropped onto the window, and recipes pasted where no text is being written, go to the inbox.
#[cfg(feature = "studio")]
pub fn take_drops(context: &egui::Context, inbox: &Inbox) {
    let pasted = |e: &egui::Event| match e {
        egui::Event::Paste(text) if super::link::is_recipe(text) => Some(text.clone()),
        _ => None,
    };
    if !context.egui_wants_keyboard_input()
        && let Some(text) = context.input(|i| i.events.iter().find_map(pasted))
    {
        inbox.put(Incoming::Recipe { name: "the pasted recipe".into(), text });
    }
    // In the tab the page's own listener took them already.
    #[cfg(not(target_arch = "wasm32"))]
    for file in context.input(|i| i.raw.dropped_files.clone()) {
        inbox.put(from_path(file.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogs_offer_what_can_be_taken() {
        for ending in ENDINGS {
            assert!(matches!(sort(&format!("x.{ending}")), Sort::Weights | Sort::Picture | Sort::Recipe), "{ending}");
        }
    }

    #[test]
    fn files_are_sorted_by_name() {
        let of = |name| from_path(std::path::Path::new(name));
        assert!(matches!(of("/nowhere/A.SafeTensors"), Incoming::Weights { .. }));
        assert!(matches!(of("x.ckpt"), Incoming::Failed(e) if e.contains("pickle")));
        assert!(matches!(of("x.doc"), Incoming::Failed(e) if e.contains("drop .safetensors")));
        assert!(matches!(of("/nowhere/x.png"), Incoming::Failed(e) if e.contains("cannot be read")));
    }
}
