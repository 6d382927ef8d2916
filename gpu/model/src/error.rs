//! What can go wrong while a model is built or recorded.

/// One line for people: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The device layer failed.
    #[error(transparent)]
    Tensor(#[from] admix_tensor::TensorError),
    /// The configuration asks for something this engine does not run.
    #[error("{component}: {what} is not supported yet")]
    Unsupported {
        /// `unet`, `vae`, `text_encoder`, ...
        component: &'static str,
        /// The field and its value.
        what: String,
    },
    /// A tokenizer's file is missing, damaged or not CLIP's kind.
    #[error("tokenizer: {file}: {what}")]
    Tokenizer {
        /// File name.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// A picture or latent size does not suit the model.
    #[error("{0}")]
    Size(String),
}
