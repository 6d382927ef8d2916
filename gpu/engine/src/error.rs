//! Everything that can end a piece of work, each as one line for people.

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller asked for something impossible: a bad value, an unknown name.
    #[error("{0}")]
    Input(String),
    /// A file is damaged, missing or of the wrong kind.
    #[error(transparent)]
    Files(#[from] admix_files::Error),
    /// The recipe cannot be carried out.
    #[error(transparent)]
    Mix(#[from] admix_mix::MixError),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] admix_model::ModelError),
    /// Sampling settings do not work.
    #[error(transparent)]
    Sample(#[from] admix_sample::SampleError),
    /// The device failed.
    #[error(transparent)]
    Tensor(#[from] admix_tensor::TensorError),
    /// A picture cannot be read or written.
    #[error("{0}")]
    Picture(String),
    /// A file cannot be written.
    #[error("{path}: {reason}")]
    Write {
        /// Where.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The person stopped it.
    #[error("cancelled")]
    Cancelled,
}

impl EngineError {
    /// True when the input is at fault (exit code 2), false when the machine or this program is (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            EngineError::Input(_) | EngineError::Picture(_) | EngineError::Sample(_) => true,
            EngineError::Files(e) => e.is_user_fault(),
            EngineError::Mix(e) => e.is_user_fault(),
            EngineError::Model(e) => !matches!(e, admix_model::ModelError::Tensor(_)),
            EngineError::Tensor(_) | EngineError::Write { .. } | EngineError::Cancelled => false,
        }
    }
}
