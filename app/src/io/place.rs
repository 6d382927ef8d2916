//! Where an export goes: a path natively; in the tab a file the person chose, or one that becomes a download when it is whole.

#[cfg(not(target_arch = "wasm32"))]
use std::path::PathBuf;

/// A place that a checkpoint can be written to.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug)]
pub struct Place(pub PathBuf);

#[cfg(not(target_arch = "wasm32"))]
impl Place {
    /// File name for people.
    pub fn name(&self) -> String {
        self.0.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }
}

#[cfg(target_arch = "wasm32")]
pub use web::{Place, sweep};

#[cfg(target_arch = "wasm32")]
mod web {
    use std::rc::Rc;

    use admix_engine::files::Error;
    use admix_engine::files::safetensors::{Sink, WriteFuture};
    use js_sys::{Array, Function, Object, Promise, Reflect};
    use wasm_bindgen::{JsCast as _, JsValue};
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{FileSystemFileHandle, FileSystemWritableFileStream};

    use crate::io::assets::{download_file, pause, words};
    use crate::io::store;

    /// Where files wait that become downloads.
    const FOLDER: &str = "exports";
    /// Milliseconds after which a browser has copied what was handed over: no more than a few gigabytes.
    const COPIED: i32 = 10 * 60 * 1000;
    /// Milliseconds after which nobody in any tab waits for a file any longer.
    const ABANDONED: f64 = 24.0 * 3600.0 * 1000.0;

    /// A place that a checkpoint can be written to.
    #[derive(Clone, Debug)]
    pub struct Place {
        handle: FileSystemFileHandle,
        name: String,
        /// Of a file of the page's own, which becomes a download.
        own: Option<Rc<Own>>,
    }

    /// A file of the page's own: it leaves some time after the last who needs it.
    #[derive(Debug)]
    struct Own(String);

    impl Drop for Own {
        fn drop(&mut self) {
            let key = std::mem::take(&mut self.0);
            wasm_bindgen_futures::spawn_local(async move {
                pause(COPIED).await;
                remove(&key).await;
            });
        }
    }

    async fn remove(key: &str) {
        if let Err(error) = store::remove(key).await {
            log::warn!("{error}");
        }
    }

    /// Removes what a page left that was closed before its download was over.
    pub async fn sweep() {
        let begun = |key: &str| key.rsplit('/').next()?.split('-').next()?.parse::<f64>().ok();
        let now = js_sys::Date::now();
        for key in store::keys(FOLDER).await.unwrap_or_default() {
            // A name without a time is of an older program.
            if begun(&key).is_none_or(|begun| now - begun > ABANDONED) {
                remove(&key).await;
            }
        }
    }

    impl Place {
        /// Asks for a file with the browser's dialog; where there is none, takes a file of the page's own that is downloaded in the end.
        /// None: the person closed the dialog.
        pub async fn ask(name: &str) -> Result<Option<Place>, String> {
            let window = web_sys::window().ok_or("there is no page")?;
            // File System Access, <https://wicg.github.io/file-system-access/>: not in every browser with WebGPU.
            let picker = Reflect::get(&window, &"showSaveFilePicker".into()).unwrap_or(JsValue::UNDEFINED);
            let Ok(picker) = picker.dyn_into::<Function>() else { return Place::download(name).await.map(Some) };
            let promise = picker.call1(&window, &picker_options(name)).map_err(|e| words(&e))?;
            let promise: Promise = promise.dyn_into().map_err(|_| "the save dialog gave no answer".to_string())?;
            match JsFuture::from(promise).await {
                Ok(handle) => {
                    let no_file = |_| "the save dialog gave no file".to_string();
                    let handle: FileSystemFileHandle = handle.dyn_into().map_err(no_file)?;
                    Ok(Some(Place { name: handle.name(), handle, own: None }))
                }
                Err(e) if Reflect::get(&e, &"name".into()).is_ok_and(|name| name == "AbortError") => Ok(None),
                // Not allowed here (no click just before, a page inside another): a download always is.
                Err(_) => Place::download(name).await.map(Some),
            }
        }

        async fn download(name: &str) -> Result<Place, String> {
            // Each has a file to itself: another export may wait for its turn, or still be on its way to the person's disk.
            let key = format!("{FOLDER}/{}-{}", js_sys::Date::now(), store::as_key(name));
            let handle = store::create(&key).await?;
            Ok(Place { handle, name: name.into(), own: Some(Rc::new(Own(key))) })
        }

        /// File name for people.
        pub fn name(&self) -> String {
            self.name.clone()
        }

        /// Opens it for writing. Nothing of what was there changes before [`PlaceSink::finish`].
        pub async fn open(&self) -> Result<PlaceSink, String> {
            let stream = JsFuture::from(self.handle.create_writable()).await.map_err(|e| self.failed(&e))?;
            let stream = stream.dyn_into().map_err(|e| self.failed(&e))?;
            Ok(PlaceSink { place: self.clone(), stream, waiting: Vec::new() })
        }

        fn failed(&self, error: &JsValue) -> String {
            format!("cannot write {}: {}", self.name(), words(error))
        }
    }

    fn picker_options(name: &str) -> Object {
        let accept = Object::new();
        let kind = Object::new();
        let options = Object::new();
        // Setting a property of a fresh object cannot fail.
        let set = |object: &Object, key: &str, value: &JsValue| drop(Reflect::set(object, &key.into(), value));
        set(&accept, "application/octet-stream", &Array::of1(&".safetensors".into()));
        set(&kind, "description", &"safetensors".into());
        set(&kind, "accept", &accept);
        set(&options, "suggestedName", &name.into());
        set(&options, "types", &Array::of1(&kind));
        options
    }

    /// Bytes that are handed to the file at once: every writing is a journey to another process.
    const GATHERED: usize = 4 << 20;

    /// A file that is being written.
    pub struct PlaceSink {
        place: Place,
        stream: FileSystemWritableFileStream,
        waiting: Vec<u8>,
    }

    impl PlaceSink {
        /// Writes what waits.
        async fn flush(&mut self) -> Result<(), String> {
            let failed = |e: JsValue| self.place.failed(&e);
            let copy = js_sys::Uint8Array::from(&self.waiting[..]);
            JsFuture::from(self.stream.write_with_js_u8_array(&copy).map_err(failed)?).await.map_err(failed)?;
            self.waiting.clear();
            Ok(())
        }

        /// Puts what was written in place and hands it over. Errors: no room.
        pub async fn finish(mut self) -> Result<(), String> {
            self.flush().await?;
            let failed = |e: JsValue| self.place.failed(&e);
            JsFuture::from(self.stream.close()).await.map_err(failed)?;
            if self.place.own.is_none() {
                return Ok(());
            }
            let file = JsFuture::from(self.place.handle.get_file()).await.map_err(failed)?;
            let file: web_sys::File = file.dyn_into().map_err(failed)?;
            download_file(&self.place.name(), &file)
        }

        /// Forgets what was written.
        pub async fn abort(self) {
            // The failure that led here is the one worth telling.
            let _ = JsFuture::from(self.stream.abort()).await;
        }
    }

    impl Sink for PlaceSink {
        fn put<'a>(&'a mut self, bytes: &'a [u8]) -> WriteFuture<'a> {
            Box::pin(async move {
                self.waiting.extend_from_slice(bytes);
                if self.waiting.len() < GATHERED {
                    return Ok(());
                }
                self.flush().await.map_err(Error::Usage)
            })
        }
    }
}
