//! SuperMerger's cosineA: more of the base where the columns of both models point the same way; columns are normalised first, which favours the structure of the base.

use super::cosine::Cosine;
use crate::method::About;

/// SuperMerger's cosineA.
pub(crate) static COSINE_A: Cosine = Cosine::new(
    About::new(
        "cosine_a",
        "Cosine A",
        "recoilme 2023, https://github.com/recoilme/losslessmix; SuperMerger `cosineA`: scaled by the model-wide 1st to 99th percentile, the VAE stays",
    ),
    true,
);
