//! What can go wrong, in one line for people.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The word vectors cannot be used.
    #[error("{0}")]
    Words(String),
    /// The catalogue cannot be read or written.
    #[error("{0}")]
    Catalogue(String),
    /// The person asked for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file is at fault.
    #[error(transparent)]
    File(#[from] admix_files::Error),
    /// The person stopped it.
    #[error("stopped")]
    Cancelled,
}

impl Error {
    /// Whether the person's input is at fault.
    pub fn is_user_fault(&self) -> bool {
        match self {
            Error::File(e) => e.is_user_fault(),
            Error::Usage(_) | Error::Catalogue(_) => true,
            Error::Words(_) | Error::Cancelled => false,
        }
    }
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;
