//! The one error type of this crate: what is wrong, where, and what to do about it, in one line.

use crate::safetensors::HeaderProblem;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong while reading or writing a model file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read or a write.
    #[error("{what}: {source}")]
    Io {
        /// The action and the file, e.g. ``cannot read `a.safetensors` ``.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A named file or folder is not there.
    #[error("{0}")]
    NotFound(String),
    /// The safetensors header is damaged or hostile.
    #[error("{file}: {problem}")]
    Header {
        /// File name.
        file: String,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// A file of a kind that is refused on purpose (a pickle, a Git LFS pointer, a web page).
    #[error("{file}: {why}")]
    Refused {
        /// File name.
        file: String,
        /// Why, and what to do.
        why: String,
    },
    /// A configuration file is damaged, or one of its fields has a wrong value.
    #[error("{file}: {why}")]
    Config {
        /// File name.
        file: String,
        /// Field and reason.
        why: String,
    },
    /// A valid file that asks for something the engine cannot run.
    #[error("{file}: {what} is not supported{hint}")]
    Unsupported {
        /// File or component name.
        file: String,
        /// The value and its field.
        what: String,
        /// Empty, or what to do, beginning with punctuation.
        hint: String,
    },
    /// The file is sound but is not what was asked for.
    #[error("{file}: {why}")]
    NotA {
        /// File name.
        file: String,
        /// What it is and what was expected.
        why: String,
    },
    /// Tensors are missing or have another shape than the configuration implies.
    #[error("{file}: {why}")]
    Mismatch {
        /// File name.
        file: String,
        /// The first few of them.
        why: String,
    },
    /// A value that must be finite is NaN or infinite.
    #[error("{file}: tensor `{tensor}` has {value} at element {index}; the file is damaged or a merge overflowed")]
    NotFinite {
        /// File name.
        file: String,
        /// Tensor name.
        tensor: String,
        /// `NaN`, `inf` or `-inf`.
        value: f32,
        /// Position in the flattened tensor.
        index: usize,
    },
    /// A call that the caller got wrong (wrong length, unknown name).
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// Whether the user's input is at fault (exit status 2), rather than the machine (1).
    pub fn is_user_fault(&self) -> bool {
        match self {
            Error::Io { source, .. } => {
                use std::io::ErrorKind as E;
                let theirs = [
                    E::NotFound,
                    E::IsADirectory,
                    E::NotADirectory,
                    E::PermissionDenied,
                    E::InvalidFilename,
                    E::InvalidInput,
                ];
                theirs.contains(&source.kind())
            }
            Error::Usage(_) => false,
            _ => true,
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { what: what.into(), source }
    }

    pub(crate) fn header(file: impl Into<String>, problem: HeaderProblem) -> Self {
        Error::Header { file: file.into(), problem }
    }

    pub(crate) fn config(file: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Config { file: file.into(), why: why.into() }
    }

    pub(crate) fn unsupported(file: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Unsupported { file: file.into(), what: what.into(), hint: String::new() }
    }
}

/// Joins the first `most` items and says how many more there are: ``a, b, c and 7 more``.
pub(crate) fn first_few<I: IntoIterator<Item = String>>(items: I, most: usize) -> String {
    let mut items = items.into_iter();
    let head: Vec<String> = items.by_ref().take(most).collect();
    let rest = items.count();
    let mut text = head.join(", ");
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}
