//! SuperMerger's cosineB: more of the base where the columns of both models point the same way; columns as they are, which favours the structure of the model.

use super::cosine::Cosine;
use crate::method::About;

/// SuperMerger's cosineB.
pub(crate) static COSINE_B: Cosine = Cosine::new(
    About::new(
        "cosine_b",
        "Cosine B",
        "recoilme 2023, https://github.com/recoilme/losslessmix; SuperMerger `cosineB`: scaled by the model-wide 1st to 99th percentile, the VAE stays",
    ),
    false,
);
