//! Whether a model fits the device, before anything is loaded.

use admix_files::config::{UNetConfig, VaeConfig};
use admix_tensor::kernels::Picture as Size;

use crate::EngineError;

const MB: u64 = 1 << 20;

/// Bytes that a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Weights of text encoders, U-Net and VAE: exact.
    pub weights: [u64; 3],
    /// Intermediate results: about.
    pub work: u64,
}

impl Needs {
    /// Errors: more is needed than is `free`; that is unknown on most graphics cards, and then nothing is refused.
    pub fn check(&self, model: &str, free: Option<u64>) -> Result<(), EngineError> {
        let needed = self.weights.iter().sum::<u64>() + self.work;
        let Some(free) = free.filter(|free| needed > *free) else { return Ok(()) };
        let [text, unet, vae] = self.weights.map(|bytes| bytes / MB);
        Err(EngineError::Input(format!(
            "{model} does not fit this device: it needs {} MB (text encoder {text}, U-Net {unet}, VAE {vae}, and about {} to work with), but {} \
             MB are free; use a model in f16 or a smaller picture (ADMIX_DEVICE_MEMORY states another size, in MB)",
            needed / MB,
            self.work / MB,
            free / MB
        )))
    }
}

/// Intermediate results of a U-Net pass, about: the skip connections, and the widest moment of a level (a feed-forward eight times as wide as the
/// level, beside its input and residual).
pub(crate) fn unet_work(config: &UNetConfig, size: Size) -> u64 {
    let (mut skips, mut widest) = (0, 0);
    for (level, width) in config.block_out_channels.iter().enumerate() {
        let pixels = size.n * size.h.div_ceil(1 << level) * size.w.div_ceil(1 << level);
        let one = (pixels * width * 4) as u64;
        skips += one * (config.layers(level) as u64 + 1);
        widest = widest.max(one * if config.down_has_attention(level) { 14 } else { 6 });
    }
    skips + widest
}

/// Intermediate results of decoding, about: the widest tensors stand at full resolution, in tiles of at most 768 pixels.
pub(crate) fn vae_work(config: Option<&VaeConfig>, size: Size) -> u64 {
    let Some(config) = config else { return 0 };
    let edge = |cells: usize| (cells * config.reduction()).min(768);
    let width = config.block_out_channels.get(1).or(config.block_out_channels.first()).copied().unwrap_or(0);
    (edge(size.h) * edge(size.w) * width * 4 * 4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let needs = Needs { weights: [1500 * MB, 5000 * MB, 160 * MB], work: 900 * MB };
        needs.check("xl", None).expect("unknown memory");
        needs.check("xl", Some(7560 * MB)).expect("just fits");
        let why = needs.check("xl", Some(7000 * MB)).expect_err("too small").to_string();
        assert!(
            why.contains("needs 7560 MB") && why.contains("U-Net 5000") && why.contains("7000 MB are free"),
            "{why}"
        );
    }
}
