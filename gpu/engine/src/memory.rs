//! Whether a model fits the device, before anything is loaded.

use admix_files::config::{UNetConfig, VaeConfig};
use admix_tensor::kernels::Picture as Size;

use crate::EngineError;

const MB: u64 = 1 << 20;

/// Bytes that a model needs. Parts are text encoders, U-Net and VAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Weights of each part: exact.
    pub weights: [u64; 3],
    /// Intermediate results of each part: about.
    pub work: [u64; 3],
}

/// How the parts of a model share the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// All of them stand there.
    Together,
    /// Each comes when it is needed, in place of the others.
    Turns,
}

impl Needs {
    /// What a part needs by itself.
    pub fn alone(&self, part: usize) -> u64 {
        self.weights[part] + self.work[part]
    }

    /// Bytes with all parts on the device, and with the one that needs most.
    pub fn totals(&self) -> [u64; 2] {
        let work = self.work.into_iter().max().unwrap_or(0);
        [self.weights.iter().sum::<u64>() + work, [0, 1, 2].map(|part| self.alone(part)).into_iter().max().unwrap_or(0)]
    }

    /// How the model runs where `free` bytes are there; that is unknown on most graphics cards, and then nothing is refused.
    ///
    /// # Errors
    /// Not even in turns.
    pub fn share(&self, model: &str, free: Option<u64>) -> Result<Share, EngineError> {
        let [together, turns] = self.totals();
        match free {
            Some(free) if turns > free => Err(self.refusal(model, Some(free))),
            Some(free) if together > free => Ok(Share::Turns),
            _ => Ok(Share::Together),
        }
    }

    /// Says that the model does not fit, with the numbers.
    pub fn refusal(&self, model: &str, free: Option<u64>) -> EngineError {
        let [together, turns] = self.totals().map(|bytes| bytes.div_ceil(MB));
        let [text, unet, vae] = self.weights.map(|bytes| bytes.div_ceil(MB));
        let work = self.work.map(|bytes| bytes.div_ceil(MB)).into_iter().max().unwrap_or(0);
        let there = match free {
            Some(free) => format!("{} MB are free", free / MB),
            None => "the device ran out of memory".into(),
        };
        EngineError::Input(format!(
            "{model} does not fit this device: it needs {together} MB (text encoder {text}, U-Net {unet}, VAE {vae}, and about {work} to work with), \
             {turns} MB where its parts take turns, but {there}; use a model in f16 or a smaller picture (ADMIX_DEVICE_MEMORY states another size, \
             in MB)"
        ))
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

/// Intermediate results of decoding, about. Larger pictures can be done in tiles of 512 pixels.
pub(crate) fn vae_work(config: Option<&VaeConfig>, size: Size) -> u64 {
    config.map_or(0, |config| vae_bytes(config, size.h.min(64), size.w.min(64)))
}

/// Intermediate results of decoding `h` x `w` latent cells at once, about. The widest moment is the first block of the last level: what it takes
/// in and what it makes stand there whole, two strips of what it takes in (see [`admix_tensor::kernels::strips`]), and what the level below has left
/// in buffers of other sizes. (docs/real-widths.md has what it comes to.)
pub(crate) fn vae_bytes(config: &VaeConfig, h: usize, w: usize) -> u64 {
    let pixels = (h * config.reduction()) as u64 * (w * config.reduction()) as u64;
    let width = |level: usize| config.block_out_channels.get(level).copied().unwrap_or(0) as u64;
    let [narrow, wide, below] = [width(0), width(1).max(width(0)), width(2) / 4].map(|width| pixels * width * 4);
    narrow + wide + below + 2 * wide.min(128 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_turns_before_a_model_is_refused() {
        let needs = Needs { weights: [1500 * MB, 5000 * MB, 160 * MB], work: [0, 900 * MB, 700 * MB] };
        let share = |free: Option<u64>| needs.share("xl", free.map(|mb| mb * MB));
        assert_eq!(share(None).expect("unknown memory"), Share::Together);
        assert_eq!(share(Some(7560)).expect("just fits"), Share::Together);
        assert_eq!(share(Some(7559)).expect("fits in turns"), Share::Turns);
        assert_eq!(share(Some(5900)).expect("just fits in turns"), Share::Turns);
        let why = share(Some(5899)).expect_err("too small").to_string();
        for words in ["needs 7560 MB", "U-Net 5000", "5900 MB where its parts take turns", "5899 MB are free"] {
            assert!(why.contains(words), "{why} lacks {words}");
        }
    }
}
