//! Bytes in the browser: the built-in files beside the page, files people drop, downloads.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use admix_engine::files::source::ReadFuture;
use admix_engine::files::{Bundle, ByteSource, Error, SharedSource};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::catalogue::Item;

/// Path below `assets/` and bytes of every built-in file.
static FILES: &[(&str, u64)] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// What the browser says of a failure.
pub fn words(error: &JsValue) -> String {
    let text = error.as_string().or_else(|| {
        // A DOMException is no Error to wasm-bindgen, but has a message all the same.
        js_sys::Reflect::get(error, &"message".into()).ok()?.as_string().filter(|text| !text.is_empty())
    });
    text.unwrap_or_else(|| format!("{error:?}"))
}

fn say(what: &str, error: &JsValue) -> String {
    format!("{what}: {}", words(error))
}

thread_local! {
    /// When the page's thread was last free for other things.
    static BREATH: Cell<f64> = const { Cell::new(0.0) };
    /// How long it was busy with them, in milliseconds.
    static PAUSE: Cell<f64> = const { Cell::new(0.0) };
}

/// Longest stretch of reading and mixing before clicks and drawing get their turn, in milliseconds.
const STRETCH: f64 = 12.0;
/// The same on a page that needs long to draw itself: work gets as much of the thread as drawing, up to this.
const LONG_STRETCH: f64 = 400.0;

/// Lets the page do everything else that waits, if it was kept from it for a while. Reads come before every piece of work on weights, so
/// this is where long work is cut: a promise alone would not do, its continuation runs before anything else.
pub async fn breathe() {
    let now = js_sys::Date::now();
    if now - BREATH.get() < PAUSE.get().clamp(STRETCH, LONG_STRETCH) {
        return;
    }
    let soon = js_sys::Promise::new(&mut |resolve, _| {
        // Timers of a tab in the background wait a second each; tasks do not (<https://wicg.github.io/scheduling-apis/>).
        let window = web_sys::window().map(JsValue::from).unwrap_or_default();
        let scheduler = js_sys::Reflect::get(&window, &"scheduler".into()).unwrap_or_default();
        let post = js_sys::Reflect::get(&scheduler, &"postTask".into()).ok();
        let posted = post.and_then(|p| p.dyn_into::<js_sys::Function>().ok()?.call1(&scheduler, &resolve).ok());
        if let (None, Some(window)) = (posted, web_sys::window()) {
            let _ = window.set_timeout_with_callback(&resolve);
        }
    });
    let _ = JsFuture::from(soon).await;
    BREATH.set(js_sys::Date::now());
    PAUSE.set(BREATH.get() - now);
}

/// Comes back after so many milliseconds, with everything else that the page has to do done before.
pub async fn pause(milliseconds: i32) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        if let Some(window) = web_sys::window() {
            // Without a timer it would never come back; there is one in every window.
            let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds);
        }
    });
    // It resolves, whatever with.
    let _ = JsFuture::from(promise).await;
}

/// Folders of things that recipes can name.
const GROUPS: [&str; 3] = ["models", "finetunes", "adapters"];

/// Built-in things by folder and name, with their files.
fn groups() -> BTreeMap<(&'static str, &'static str), Vec<(&'static str, &'static str, u64)>> {
    let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (path, size) in FILES {
        let Some((folder, rest)) = path.split_once('/').filter(|(folder, _)| GROUPS.contains(folder)) else { continue };
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, file),
            None => match rest.strip_suffix(".safetensors") {
                Some(name) => (name, ""),
                // Notes and licences beside the files.
                None => continue,
            },
        };
        out.entry((folder, name)).or_default().push((file, *path, *size));
    }
    out.retain(|_, files| files.iter().any(|(_, path, _)| path.ends_with(".safetensors")));
    out
}

/// Everything built in.
pub fn catalogue() -> Vec<Item> {
    let item = |folder: &str, name: &str| Item {
        reference: format!("builtin:{name}"),
        name: name.into(),
        is_adapter: folder == "adapters",
    };
    let groups = groups();
    let in_folder = |wanted: &'static str| groups.keys().filter(move |(folder, _)| *folder == wanted);
    GROUPS.iter().flat_map(|f| in_folder(f)).map(|(f, n)| item(f, n)).collect()
}

thread_local! {
    /// One source for each built-in file: whoever reads it first has it fetched for all.
    static BUNDLES: RefCell<Vec<(String, Bundle)>> = const { RefCell::new(Vec::new()) };
}

/// The built-in files as the engine takes them, by reference.
pub async fn bundles() -> Result<Vec<(String, Bundle)>, String> {
    let known = BUNDLES.with_borrow(Clone::clone);
    if !known.is_empty() {
        return Ok(known);
    }
    let mut out = Vec::new();
    for ((_, name), files) in groups() {
        let source = |path: &str, size| -> SharedSource { Arc::new(PageSource::new(path, size)) };
        let bundle = match &files[..] {
            [("", path, size)] => Bundle::file(format!("{name}.safetensors"), source(path, *size)),
            many => Bundle::folder(name, many.iter().map(|(file, path, size)| (file.to_string(), source(path, *size)))),
        };
        if name == "mini" {
            out.push(("builtin".to_string(), bundle.clone()));
        }
        out.push((format!("builtin:{name}"), bundle));
    }
    if out.is_empty() {
        return Err("this page was built without models".into());
    }
    BUNDLES.set(out.clone());
    Ok(out)
}

/// A small file beside the page, whole, by its path below `assets/`.
///
/// # Errors
/// One that this page was built without, and what the network says.
pub async fn read(path: &str) -> Result<Vec<u8>, Error> {
    let missing = || Error::NotFound(format!("this page was built without {path}"));
    let (path, len) = FILES.iter().find(|(p, _)| *p == path).ok_or_else(missing)?;
    Ok(PageSource::new(path, *len).fetch().await?.to_vec())
}

/// A file beside the page, fetched whole when it is first read and kept, in the browser's memory: built-in files are small.
struct PageSource {
    url: String,
    len: u64,
    /// The fetch, under way or done; whoever reads meanwhile waits for the same one.
    fetched: RefCell<Option<js_sys::Promise>>,
}

impl PageSource {
    fn new(path: &str, len: u64) -> PageSource {
        PageSource { url: format!("assets/{path}"), len, fetched: RefCell::new(None) }
    }

    async fn fetch(&self) -> Result<js_sys::Uint8Array, Error> {
        let under_way = self.fetched.borrow().clone();
        let promise = under_way.unwrap_or_else(|| {
            let promise = wasm_bindgen_futures::future_to_promise(load(self.url.clone(), self.len));
            *self.fetched.borrow_mut() = Some(promise.clone());
            promise
        });
        match JsFuture::from(promise).await {
            Ok(bytes) => Ok(bytes.unchecked_into()),
            Err(error) => {
                // The next reader tries again: the network may be back.
                *self.fetched.borrow_mut() = None;
                Err(Error::Usage(words(&error)))
            }
        }
    }
}

/// Fetches a file whole, as a `Uint8Array`. Errors are words for people.
async fn load(url: String, len: u64) -> Result<JsValue, JsValue> {
    let failed = |e: JsValue| JsValue::from(say(&format!("cannot load {url}"), &e));
    let window = web_sys::window().ok_or("there is no page")?;
    let response = JsFuture::from(window.fetch_with_str(&url)).await.map_err(failed)?;
    let response: web_sys::Response = response.dyn_into().map_err(failed)?;
    if !response.ok() {
        return Err(format!("cannot load {url}: the server says {}", response.status()).into());
    }
    let buffer = JsFuture::from(response.array_buffer().map_err(failed)?).await.map_err(failed)?;
    let bytes = js_sys::Uint8Array::new(&buffer);
    match u64::from(bytes.length()) {
        there if there == len => Ok(bytes.into()),
        there => Err(format!("{url} has {there} bytes where {len} were expected; load the page again").into()),
    }
}

impl ByteSource for PageSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        Box::pin(async move {
            let bytes = self.fetch().await?;
            breathe().await;
            if range.start > range.end || range.end > self.len {
                return Err(Error::Usage(format!("{}: bytes {range:?} are beyond its end", self.url)));
            }
            // Built-in files are far smaller than 4 GB.
            Ok(bytes.subarray(range.start as u32, range.end as u32).to_vec())
        })
    }

    fn sha256(&self) -> Option<ReadFuture<'_>> {
        Some(Box::pin(async move {
            let bytes = self.fetch().await?;
            let failed = |e: JsValue| Error::Usage(say("the browser does not hash", &e));
            // Web Cryptography, <https://w3c.github.io/webcrypto/>: on pages that came by https or from this machine.
            let get = |object: &JsValue, name: &str| js_sys::Reflect::get(object, &name.into()).map_err(failed);
            let subtle = get(&get(&js_sys::global(), "crypto")?, "subtle")?;
            let digest = get(&subtle, "digest")?.dyn_into::<js_sys::Function>().map_err(failed)?;
            let digest = digest.call2(&subtle, &"SHA-256".into(), &bytes).map_err(failed)?;
            let digest: js_sys::Promise = digest.dyn_into().map_err(failed)?;
            Ok(js_sys::Uint8Array::new(&JsFuture::from(digest).await.map_err(failed)?).to_vec())
        }))
    }

    fn identity(&self) -> Option<String> {
        Some(format!("{}|{}", self.url, self.len))
    }
}

/// Bytes at a file's start that are read in one go and kept: the header of a checkpoint, which is read more than once to tell what the file is.
/// Every read goes through the browser's own process and lets the page draw in between, so that each costs what a frame costs.
const HEAD: u64 = 1 << 19;

thread_local! {
    /// Files of this visit by [`alike`].
    static SEEN: std::cell::RefCell<std::collections::HashMap<String, u32>> = std::cell::RefCell::default();
}

/// What a browser tells of a file without reading it.
fn alike(file: &web_sys::File) -> String {
    format!("{}|{}|{}", file.name(), file.size() as u64, file.last_modified())
}

/// A file from the person's disk: slices are read when they are asked for.
pub struct BlobSource {
    file: web_sys::File,
    /// How many files alike in name, length and date came before it: archives with fixed dates unpack to many `adapter_model.safetensors`.
    twin: u32,
    /// The first [`HEAD`] bytes, once somebody wants some of them: an `ArrayBuffer`.
    head: OnceCell<js_sys::Promise>,
}

impl BlobSource {
    /// Takes the handle.
    pub fn new(file: web_sys::File) -> BlobSource {
        let twin = SEEN.with_borrow_mut(|seen| {
            let count = seen.entry(alike(&file)).or_insert(0);
            *count += 1;
            *count - 1
        });
        BlobSource { file, twin, head: OnceCell::new() }
    }

    /// Takes the handle of a file whose header will be wanted soon, and begins to read it.
    pub fn begin(file: web_sys::File) -> BlobSource {
        let source = Self::new(file);
        if let Ok(head) = source.head() {
            // Who asks for the bytes hears of a failure; here somebody only has to have listened.
            wasm_bindgen_futures::spawn_local(async move { drop(JsFuture::from(head).await) });
        }
        source
    }

    fn slice(&self, range: Range<u64>) -> Result<js_sys::Promise, JsValue> {
        Ok(self.file.slice_with_f64_and_f64(range.start as f64, range.end as f64)?.array_buffer())
    }

    fn head(&self) -> Result<js_sys::Promise, JsValue> {
        if let Some(head) = self.head.get() {
            return Ok(head.clone());
        }
        let head = self.slice(0..HEAD.min(self.len()))?;
        Ok(self.head.get_or_init(|| head).clone())
    }

    async fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>, JsValue> {
        if range.end <= HEAD {
            let head = js_sys::Uint8Array::new(&JsFuture::from(self.head()?).await?);
            return Ok(head.subarray(range.start as u32, range.end as u32).to_vec());
        }
        let buffer = JsFuture::from(self.slice(range)?).await?;
        breathe().await;
        Ok(js_sys::Uint8Array::new(&buffer).to_vec())
    }
}

impl ByteSource for BlobSource {
    fn len(&self) -> u64 {
        self.file.size() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        Box::pin(async move {
            let name = self.file.name();
            if range.start > range.end || range.end > self.len() {
                return Err(Error::Usage(format!("{name}: bytes {range:?} are beyond its end")));
            }
            self.bytes(range).await.map_err(|e| Error::Usage(say(&format!("cannot read {name}"), &e)))
        })
    }

    fn identity(&self) -> Option<String> {
        // The first keeps its identity from one visit to the next; a later one is read anew rather than taken for another file.
        let own = alike(&self.file);
        Some(if self.twin == 0 { own } else { format!("{own}|{}", self.twin) })
    }
}

/// The page's address without what stands behind `#`.
pub fn address() -> String {
    let href = web_sys::window().and_then(|w| w.location().href().ok()).unwrap_or_default();
    href.split('#').next().unwrap_or_default().to_string()
}

/// The recipe in the page's address, taken out of it: what is set later must survive a reload.
pub fn take_fragment() -> Option<String> {
    let window = web_sys::window()?;
    let hash = window.location().hash().ok().filter(|hash| super::link::is_recipe(hash))?;
    let history = window.history().ok()?;
    history.replace_state_with_url(&JsValue::NULL, "", Some(&address())).ok()?;
    Some(hash)
}

/// Hands bytes over as a download.
pub fn download(name: &str, bytes: &[u8]) -> Result<(), String> {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes));
    let blob = web_sys::Blob::new_with_u8_array_sequence(&parts);
    download_file(name, &blob.map_err(|e| say("the browser refused the download", &e))?)
}

/// Hands a file over as a download; its bytes never stand in this program's memory.
pub fn download_file(name: &str, blob: &web_sys::Blob) -> Result<(), String> {
    let failed = |e: JsValue| say("the browser refused the download", &e);
    let url = web_sys::Url::create_object_url_with_blob(blob).map_err(failed)?;
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no page")?;
    let anchor = document.create_element("a").map_err(failed)?;
    let anchor: web_sys::HtmlAnchorElement = anchor.dyn_into().map_err(|_| "there are no links here".to_string())?;
    anchor.set_href(&url);
    anchor.set_download(name);
    anchor.click();
    web_sys::Url::revoke_object_url(&url).map_err(failed)
}
