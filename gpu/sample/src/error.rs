//! What can be wrong with sampling settings.

/// An error of this crate: always the settings' fault, always one line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// No technique of that name.
    #[error("{kind} `{name}` is not known; known: {known}")]
    Unknown {
        /// `sampler`, `schedule`, `rng` and the like.
        kind: &'static str,
        /// The name given.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// A setting out of range or that does not fit the others.
    #[error("{what}: {why}")]
    Setting {
        /// Name of the setting.
        what: String,
        /// What is wrong and what to do.
        why: String,
    },
}

impl From<admix_knob::KnobError> for SampleError {
    fn from(error: admix_knob::KnobError) -> SampleError {
        SampleError::setting(error.name, error.why)
    }
}

impl SampleError {
    /// A setting that cannot be used.
    pub(crate) fn setting(what: impl Into<String>, why: impl Into<String>) -> Self {
        SampleError::Setting { what: what.into(), why: why.into() }
    }
}
