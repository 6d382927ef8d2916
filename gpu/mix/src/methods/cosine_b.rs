//! SuperMerger's cosineB: more of the base where the columns of both models point the same way; columns as they are, which favours the structure of the model.

use super::cosine::Cosine;

/// SuperMerger's cosineB.
pub(crate) static COSINE_B: Cosine = Cosine {
    name: "cosine_b",
    label: "Cosine B",
    citation: "recoilme 2023, https://github.com/recoilme/losslessmix; SuperMerger `cosineB`: scaled by the model-wide 1st to 99th percentile, the VAE stays",
    unit: false,
};
