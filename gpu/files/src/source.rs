//! Where bytes come from: files, memory, and (in the browser) blobs and range requests, behind one small trait.
//!
//! Everything in this crate reads byte ranges and never asks for a whole file. Natively a read is finished when its
//! future is made, so [`ready`] can unwrap any chain of them without an executor.

use crate::error::{Error, Result};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// The future of a read.
#[cfg(not(target_arch = "wasm32"))]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>>> + Send + 'a>>;
/// The future of a read.
#[cfg(target_arch = "wasm32")]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>>> + 'a>>;

/// `Send + Sync` natively, nothing on the web, where handles belong to one thread.
#[cfg(not(target_arch = "wasm32"))]
pub trait Shareable: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> Shareable for T {}
/// `Send + Sync` natively, nothing on the web, where handles belong to one thread.
#[cfg(target_arch = "wasm32")]
pub trait Shareable {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> Shareable for T {}

/// Random access to the bytes of one file.
pub trait ByteSource: Shareable {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `range`; an error if it reaches beyond the end.
    fn read(&self, range: Range<u64>) -> ReadFuture<'_>;

    /// SHA-256 of all bytes, 32 of them, where something other than this program can hash them (a browser's own, away from the page's thread);
    /// where not, they are read and hashed.
    fn sha256(&self) -> Option<ReadFuture<'_>> {
        None
    }

    /// A name of these very bytes (path, length and modification time), under which results about them may be kept.
    fn identity(&self) -> Option<String> {
        None
    }
}

/// A shared [`ByteSource`].
pub type SharedSource = Arc<dyn ByteSource>;

fn out_of_range(range: &Range<u64>, len: u64) -> Error {
    Error::Usage(format!("cannot read bytes {}..{} of a source of {len} bytes", range.start, range.end))
}

/// Bytes in memory.
pub struct MemSource(Arc<[u8]>);

impl MemSource {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        MemSource(bytes.into())
    }
}

impl ByteSource for MemSource {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let slice = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| self.0.get(start..end));
        let result = slice.map(<[u8]>::to_vec).ok_or_else(|| out_of_range(&range, self.len()));
        Box::pin(std::future::ready(result))
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::{FileSource, ready};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::*;
    use std::fs::File;
    use std::path::{Path, PathBuf};
    use std::task::{Context, Poll, Waker};

    /// A file, read by position: many threads may read at once.
    pub struct FileSource {
        file: File,
        path: PathBuf,
        len: u64,
        modified: Option<std::time::SystemTime>,
    }

    impl FileSource {
        /// Opens the file.
        pub fn open(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref();
            let failed = |e: std::io::Error| {
                if e.kind() == std::io::ErrorKind::NotFound {
                    Error::NotFound(format!("`{}` does not exist; check the path", path.display()))
                } else {
                    Error::io(format!("cannot open `{}`", path.display()), e)
                }
            };
            // Before it is opened: opening a named pipe waits for somebody who writes.
            let about = std::fs::metadata(path).map_err(failed)?;
            if !about.is_file() {
                let kind = if about.is_dir() { "a folder" } else { "a pipe or a device" };
                return Err(Error::NotFound(format!("`{}` is {kind} where a file was expected", path.display())));
            }
            let file = File::open(path).map_err(failed)?;
            Ok(FileSource { file, path: path.to_path_buf(), len: about.len(), modified: about.modified().ok() })
        }

        /// The path it was opened with.
        pub fn path(&self) -> &Path {
            &self.path
        }

        fn read_now(&self, range: &Range<u64>) -> Result<Vec<u8>> {
            let wanted = range.end.checked_sub(range.start).filter(|_| range.end <= self.len);
            let wanted = wanted.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| out_of_range(range, self.len))?;
            let mut bytes = vec![0; wanted];
            read_at(&self.file, &mut bytes, range.start)
                .map_err(|e| Error::io(format!("cannot read `{}`", self.path.display()), e))?;
            Ok(bytes)
        }
    }

    #[cfg(unix)]
    fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
    }

    #[cfg(windows)]
    fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => {
                    bytes = &mut bytes[n..];
                    at += n as u64;
                }
            }
        }
        Ok(())
    }

    impl ByteSource for FileSource {
        fn len(&self) -> u64 {
            self.len
        }

        fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
            Box::pin(std::future::ready(self.read_now(&range)))
        }

        fn identity(&self) -> Option<String> {
            let since = self.modified?.duration_since(std::time::UNIX_EPOCH).ok()?;
            let path = std::fs::canonicalize(&self.path).ok()?;
            Some(format!("{}|{}|{}", path.display(), self.len, since.as_nanos()))
        }
    }

    /// The value of a future that never waits, as every future of this crate over native sources is.
    pub fn ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => Err(Error::Usage("this source is not ready at once: await it".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_refuses_what_lies_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let sources: [SharedSource; 2] =
            [Arc::new(MemSource::new(b"0123456789".to_vec())), Arc::new(FileSource::open(&path).unwrap())];
        for s in sources {
            assert_eq!(s.len(), 10);
            assert_eq!(ready(s.read(2..5)).unwrap(), b"234");
            assert_eq!(ready(s.read(10..10)).unwrap(), b"");
            assert!(ready(s.read(9..11)).is_err());
            assert!(ready(s.read(u64::MAX - 1..u64::MAX)).is_err());
            let (start, end) = (5, 2);
            assert!(ready(s.read(start..end)).is_err());
        }
        assert!(FileSource::open(dir.path()).err().unwrap().to_string().contains("is a folder"));
        assert!(FileSource::open(dir.path().join("b")).err().unwrap().to_string().contains("does not exist"));
    }
}
