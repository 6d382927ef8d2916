//! What can go wrong between a recipe and its weights.

use admix_tensor::TensorError;

/// An error of the mix layer. Each text is one line for people: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum MixError {
    /// The recipe is not what a recipe should be.
    #[error("recipe, {place}: {reason}")]
    Recipe {
        /// Path of the field, such as `merge[0].models[1].density`.
        place: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The models do not fit together.
    #[error("{place}: tensor {tensor}: {reason}")]
    Tensor {
        /// Which input, by its reference.
        place: String,
        /// Canonical name of the tensor.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that a recipe names differs from the one it was made with.
    #[error(
        "{reference}: its sha256 is {found}, the recipe was made with {expected}; use that file, or allow changed files (--allow-changed)"
    )]
    Changed {
        /// The reference.
        reference: String,
        /// sha256 in the recipe.
        expected: String,
        /// sha256 of the file.
        found: String,
    },
    /// No module of an adapter belongs to the model.
    #[error("{reference}: none of its {modules} modules fits {base}: {cause}")]
    NothingMatched {
        /// The adapter.
        reference: String,
        /// The base model.
        base: String,
        /// Modules in the file.
        modules: usize,
        /// The likely reason.
        cause: String,
    },
    /// A method was asked for that does not exist or cannot do what was asked.
    #[error("merge method {method}: {reason}")]
    Method {
        /// Its name.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// A result that cannot be written.
    #[error("{0}")]
    Output(String),
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] admix_files::Error),
    /// The user stopped the work.
    #[error("stopped")]
    Cancelled,
    /// The device layer failed.
    #[error(transparent)]
    Device(#[from] TensorError),
}

impl MixError {
    /// Whether the user's input is at fault (exit status 2), rather than the machine (1).
    pub fn is_user_fault(&self) -> bool {
        match self {
            MixError::Files(inner) => inner.is_user_fault(),
            MixError::Device(_) | MixError::Cancelled => false,
            _ => true,
        }
    }

    /// A recipe error at `place`.
    pub fn recipe(place: impl Into<String>, reason: impl Into<String>) -> MixError {
        MixError::Recipe { place: place.into(), reason: reason.into() }
    }
}
