//! The store in the page's own file system.

use std::cell::RefCell;

use futures_channel::oneshot;
use js_sys::Reflect;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemWritableFileStream,
};

use crate::io::assets::words;

thread_local! {
    /// Resolved when the operation that was asked for last is over.
    static LAST: RefCell<Option<oneshot::Receiver<()>>> = const { RefCell::new(None) };
}

/// Runs `work` after everything that was asked for before it: a removal must not overtake the writing of the same file.
async fn in_turn<T>(work: impl Future<Output = T>) -> T {
    let (done, mine) = oneshot::channel();
    let before = LAST.with(|last| last.borrow_mut().replace(mine));
    if let Some(before) = before {
        // It only ever ends by being dropped, in success and in failure.
        let _ = before.await;
    }
    let out = work.await;
    drop(done);
    out
}

fn is_missing(error: &JsValue) -> bool {
    Reflect::get(error, &"name".into()).is_ok_and(|name| name == "NotFoundError")
}

/// Nothing there is no error.
fn found<T>(result: Result<T, JsValue>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(words(&e)),
    }
}

async fn root() -> Result<FileSystemDirectoryHandle, JsValue> {
    let window = web_sys::window().ok_or("there is no page")?;
    // Absent where the page is not served over HTTPS or from this machine.
    let storage = Reflect::get(&window.navigator(), &"storage".into())?;
    if storage.is_undefined() {
        return Err("this browser keeps nothing for this page".into());
    }
    let root = window.navigator().storage().get_directory();
    JsFuture::from(root).await?.dyn_into()
}

async fn folder(parts: &[&str], create: bool) -> Result<FileSystemDirectoryHandle, JsValue> {
    let mut at = root().await?;
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(create);
    for part in parts {
        at = JsFuture::from(at.get_directory_handle_with_options(part, &options)).await?.dyn_into()?;
    }
    Ok(at)
}

async fn handle(parts: &[&str], create: bool) -> Result<FileSystemFileHandle, JsValue> {
    let (name, folders) = parts.split_last().ok_or("an empty key")?;
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    let folder = folder(folders, create).await?;
    JsFuture::from(folder.get_file_handle_with_options(name, &options)).await?.dyn_into()
}

async fn put(parts: &[&str], bytes: &[u8]) -> Result<(), JsValue> {
    let stream = open_stream(&handle(parts, true).await?).await?;
    // A copy on the page's side: the promise must not look into memory that may move meanwhile.
    let written = JsFuture::from(stream.write_with_js_u8_array(&js_sys::Uint8Array::from(bytes))?).await;
    // Closing is what puts the new contents in place of the old; an aborted stream leaves the old.
    JsFuture::from(if written.is_ok() { stream.close() } else { stream.abort() }).await?;
    written.map(|_| ())
}

async fn open_stream(handle: &FileSystemFileHandle) -> Result<FileSystemWritableFileStream, JsValue> {
    JsFuture::from(handle.create_writable()).await?.dyn_into()
}

pub(super) async fn write(parts: &[&str], bytes: &[u8]) -> Result<(), String> {
    in_turn(put(parts, bytes)).await.map_err(|e| words(&e))
}

pub(super) async fn read(parts: &[&str]) -> Result<Option<Vec<u8>>, String> {
    in_turn(async {
        let Some(file) = found(get(parts).await)? else { return Ok(None) };
        let buffer = JsFuture::from(file.array_buffer()).await.map_err(|e| words(&e))?;
        Ok(Some(js_sys::Uint8Array::new(&buffer).to_vec()))
    })
    .await
}

async fn get(parts: &[&str]) -> Result<web_sys::File, JsValue> {
    JsFuture::from(handle(parts, false).await?.get_file()).await?.dyn_into()
}

pub(super) async fn remove(parts: &[&str]) -> Result<(), String> {
    in_turn(async {
        let Some((name, folders)) = parts.split_last() else { return Ok(()) };
        let Some(folder) = found(folder(folders, false).await)? else { return Ok(()) };
        found(JsFuture::from(folder.remove_entry(name)).await).map(|_| ())
    })
    .await
}

pub(super) async fn names(parts: &[&str]) -> Result<Vec<String>, String> {
    in_turn(async {
        let Some(folder) = found(folder(parts, false).await)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        let iterator = folder.keys();
        loop {
            let next = iterator.next().map_err(|e| words(&e))?;
            let next: js_sys::IteratorNext = JsFuture::from(next).await.map_err(|e| words(&e))?.unchecked_into();
            if next.done() {
                return Ok(names);
            }
            names.extend(next.value().as_string());
        }
    })
    .await
}

/// What is kept under `key` as a file whose bytes stay on the disk until they are asked for.
pub async fn file(key: &str) -> Result<Option<web_sys::File>, String> {
    let parts = super::parts(key)?;
    in_turn(async { found(get(&parts).await) }).await
}

/// Keeps a file under `key` without its bytes ever standing in this program's memory. Errors: no room.
pub async fn copy_in(key: &str, file: &web_sys::File) -> Result<(), String> {
    let parts = super::parts(key)?;
    let copy = async {
        let stream = open_stream(&handle(&parts, true).await?).await?;
        let written = JsFuture::from(stream.write_with_blob(file)?).await;
        JsFuture::from(if written.is_ok() { stream.close() } else { stream.abort() }).await?;
        written.map(|_| ())
    };
    in_turn(copy).await.map_err(|e| words(&e))
}

/// A new file under `key`, to be written piece by piece.
pub async fn create(key: &str) -> Result<FileSystemFileHandle, String> {
    let parts = super::parts(key)?;
    in_turn(handle(&parts, true)).await.map_err(|e| words(&e))
}
