//! The safetensors format, <https://huggingface.co/docs/safetensors>: eight bytes of little-endian header length, a JSON
//! header, then the tensors' bytes without gaps.

mod header;
mod sniff;
mod writer;

pub use header::{HeaderProblem, MAX_HEADER_BYTES};
pub use sniff::refuse_by_name;
#[cfg(not(target_arch = "wasm32"))]
pub use writer::FileWriter;
pub use writer::{Sink, SinkWriter, TensorSpec, WriteFuture, header_bytes, write_to_vec};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::source::ByteSource;
use indexmap::IndexMap;
use std::ops::Range;

/// One tensor of a file: its type, its shape and where its bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Position in the file, in bytes from its beginning.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        ((self.range.end - self.range.start) / self.dtype.size() as u64) as usize
    }
}

/// A file's header: what it holds and where, without any of the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Tensors by key, in the order of the header.
    pub tensors: IndexMap<String, TensorInfo>,
    /// The `__metadata__` strings, in the order of the header.
    pub metadata: IndexMap<String, String>,
}

impl Index {
    /// Parses a header.
    ///
    /// `prefix` must begin at the start of the file and hold at least the header (more does no harm); `file_len` is the
    /// length of the whole file. Nothing is allocated beyond what the header's own bytes spell out.
    ///
    /// # Errors
    /// Every way in which the header is not exactly what the format demands, see [`HeaderProblem`].
    pub fn parse(prefix: &[u8], file_len: u64) -> Result<Index, HeaderProblem> {
        header::parse(prefix, file_len)
    }

    /// Reads the header of `source`, named `file` in errors; never touches tensor data.
    pub async fn read(source: &dyn ByteSource, file: &str) -> Result<Index> {
        let len = source.len();
        let start = source.read(0..len.min(512)).await?;
        sniff::refuse_by_content(&start, file)?;
        let header_len = header::length(&start, len).map_err(|p| Error::header(file, p))?;
        let end = 8 + header_len;
        let prefix = if end <= start.len() as u64 { start } else { source.read(0..end).await? };
        Index::parse(&prefix, len).map_err(|p| Error::header(file, p))
    }

    /// Sum of all tensors' elements.
    pub fn elements(&self) -> u64 {
        self.tensors.values().map(|t| t.elements() as u64).sum()
    }
}
