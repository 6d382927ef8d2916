//! Writing: the header first, then the tensors one after another, so that no model is ever whole in memory.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::source::Shareable;
use indexmap::IndexMap;
use std::pin::Pin;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Key.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Length in bytes; an error if it overflows.
    pub fn bytes(&self) -> Result<u64> {
        self.shape
            .iter()
            .try_fold(self.dtype.size() as u64, |n, d| n.checked_mul(*d as u64))
            .ok_or_else(|| Error::Usage(format!("tensor `{}` is too large", self.name)))
    }
}

/// The bytes before the data: length and JSON header, padded with spaces so that the data begins at a multiple of 8.
///
/// Tensors lie in the given order. The same input gives the same bytes.
pub fn header_bytes(tensors: &[TensorSpec], metadata: &IndexMap<String, String>) -> Result<Vec<u8>> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        let strings = metadata.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
        entries.insert("__metadata__".into(), serde_json::Value::Object(strings));
    }
    let mut at = 0u64;
    for t in tensors {
        let end = at
            .checked_add(t.bytes()?)
            .ok_or_else(|| Error::Usage(format!("tensor `{}` makes the file too large", t.name)))?;
        let entry = serde_json::json!({ "dtype": t.dtype.name(), "shape": t.shape, "data_offsets": [at, end] });
        if t.name == "__metadata__" || entries.insert(t.name.clone(), entry).is_some() {
            return Err(Error::Usage(format!("tensor `{}` would be written twice", t.name)));
        }
        at = end;
    }
    let mut json = serde_json::Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() as u64 > super::MAX_HEADER_BYTES {
        return Err(Error::Usage("the header would be longer than 100 MB".into()));
    }
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.append(&mut json);
    Ok(out)
}

/// A whole small file in memory; `data` yields each tensor's bytes in the order of `tensors`.
pub fn write_to_vec(
    tensors: &[TensorSpec],
    metadata: &IndexMap<String, String>,
    data: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut out = header_bytes(tensors, metadata)?;
    let mut data = data.into_iter();
    for t in tensors {
        let bytes = data.next().unwrap_or_default();
        if bytes.len() as u64 != t.bytes()? {
            return Err(Error::Usage(format!(
                "tensor `{}` got {} bytes instead of {}",
                t.name,
                bytes.len(),
                t.bytes()?
            )));
        }
        out.extend_from_slice(&bytes);
    }
    Ok(out)
}

/// The future of a write.
#[cfg(not(target_arch = "wasm32"))]
pub type WriteFuture<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
/// The future of a write.
#[cfg(target_arch = "wasm32")]
pub type WriteFuture<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Where the bytes of one file go, piece after piece, where there is no path to write to (a browser's file handle).
pub trait Sink: Shareable {
    /// Appends `bytes`; the next piece is handed over only when the future is ready.
    fn put<'a>(&'a mut self, bytes: &'a [u8]) -> WriteFuture<'a>;
}

impl Sink for Vec<u8> {
    fn put<'a>(&'a mut self, bytes: &'a [u8]) -> WriteFuture<'a> {
        self.extend_from_slice(bytes);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The tensors of a file in their order, of which the first `next` are written.
struct Order {
    tensors: Vec<TensorSpec>,
    next: usize,
}

impl Order {
    /// Checks that `name` is due and that its bytes are as many as its shape says.
    fn take(&mut self, name: &str, bytes: usize) -> Result<()> {
        let Some(t) = self.tensors.get(self.next) else {
            return Err(Error::Usage(format!("tensor `{name}` comes after the last one")));
        };
        if t.name != name {
            return Err(Error::Usage(format!("tensor `{name}` was written where `{}` was due", t.name)));
        }
        let wanted = t.bytes()?;
        if wanted != bytes as u64 {
            return Err(Error::Usage(format!("tensor `{name}` got {bytes} bytes instead of {wanted}")));
        }
        self.next += 1;
        Ok(())
    }

    /// Checks that none is missing.
    fn end(&self) -> Result<()> {
        match self.tensors.get(self.next) {
            Some(t) => Err(Error::Usage(format!("tensor `{}` was never written", t.name))),
            None => Ok(()),
        }
    }
}

/// Writes one file tensor by tensor into a [`Sink`]. Whoever owns the sink decides what becomes of a file that was not finished.
pub struct SinkWriter<'a> {
    sink: &'a mut dyn Sink,
    order: Order,
}

impl<'a> SinkWriter<'a> {
    /// Writes the header.
    pub async fn create(
        sink: &'a mut dyn Sink,
        tensors: Vec<TensorSpec>,
        metadata: &IndexMap<String, String>,
    ) -> Result<Self> {
        sink.put(&header_bytes(&tensors, metadata)?).await?;
        Ok(SinkWriter { sink, order: Order { tensors, next: 0 } })
    }

    /// Writes the next tensor's bytes; `name` must be the next one in the order given.
    pub async fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.order.take(name, bytes.len())?;
        self.sink.put(bytes).await
    }

    /// Checks that everything was written.
    pub fn finish(self) -> Result<()> {
        self.order.end()
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::FileWriter;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::*;
    use std::fs::File;
    use std::io::{BufWriter, Write};
    use std::path::{Path, PathBuf};

    /// Writes one file tensor by tensor under a temporary name beside it, and renames it when it is whole.
    ///
    /// Dropped before [`FileWriter::finish`], it removes the temporary file: nothing partial is ever left.
    pub struct FileWriter {
        file: Option<BufWriter<File>>,
        /// Has its name: there is no temporary file any more.
        is_renamed: bool,
        temporary: PathBuf,
        path: PathBuf,
        order: Order,
    }

    impl FileWriter {
        /// Creates the temporary file and writes the header.
        pub fn create(
            path: impl AsRef<Path>,
            tensors: Vec<TensorSpec>,
            metadata: &IndexMap<String, String>,
        ) -> Result<Self> {
            let path = path.as_ref().to_path_buf();
            let header = header_bytes(&tensors, metadata)?;
            let name = path
                .file_name()
                .ok_or_else(|| Error::NotFound(format!("`{}` is not the name of a file", path.display())))?;
            // The process number keeps two writers of the same name apart.
            let temporary = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
            let file = File::create(&temporary).map_err(|e| cannot_write(&path, e))?;
            let order = Order { tensors, next: 0 };
            let mut writer = FileWriter { file: Some(BufWriter::new(file)), is_renamed: false, temporary, path, order };
            writer.put(&header)?;
            Ok(writer)
        }

        /// Writes the next tensor's bytes; `name` must be the next one in the order given.
        pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
            self.order.take(name, bytes.len())?;
            self.put(bytes)
        }

        /// Flushes the file to disk and gives it its name.
        pub fn finish(mut self) -> Result<()> {
            self.order.end()?;
            let Some(buffered) = self.file.take() else { return Ok(()) };
            let failed = |e| cannot_write(&self.path, e);
            let file = buffered.into_inner().map_err(|e| failed(e.into_error()))?;
            file.sync_all().map_err(failed)?;
            drop(file);
            std::fs::rename(&self.temporary, &self.path).map_err(failed)?;
            self.is_renamed = true;
            Ok(())
        }

        fn put(&mut self, bytes: &[u8]) -> Result<()> {
            match &mut self.file {
                Some(file) => file.write_all(bytes).map_err(|e| cannot_write(&self.path, e)),
                None => Ok(()),
            }
        }
    }

    impl Drop for FileWriter {
        fn drop(&mut self) {
            // Closed first: Windows removes no open file.
            drop(self.file.take());
            if !self.is_renamed {
                // Best effort: the original error is the one worth reporting.
                let _ = std::fs::remove_file(&self.temporary);
            }
        }
    }

    fn cannot_write(path: &Path, e: std::io::Error) -> Error {
        if e.kind() == std::io::ErrorKind::NotFound {
            return Error::NotFound(format!("cannot write `{}`: its folder does not exist", path.display()));
        }
        Error::io(format!("cannot write `{}`", path.display()), e)
    }
}
