//! `config.json` of diffusers' `AutoencoderTiny` (TAESD): a small decoder for previews.

use super::Fields;
use super::fields::{check_depth, parse_object};
use crate::error::{Error, Result};

/// The decoder half of a TAESD-like autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyVaeConfig {
    /// Name of the file it came from, for errors.
    pub file: String,
    /// Width of each decoder stage, from the latent upward.
    pub decoder_block_out_channels: Vec<usize>,
    /// Residual blocks of each decoder stage.
    pub num_decoder_blocks: Vec<usize>,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Channels of the picture.
    pub out_channels: usize,
    /// Activation.
    pub act_fn: String,
    /// Latents are divided by this before decoding.
    pub scaling_factor: f64,
    /// Enlargement between stages.
    pub upsampling_scaling_factor: usize,
    /// How stages are enlarged.
    pub upsample_fn: String,
    /// Latents are clamped to about plus and minus this before decoding.
    pub latent_magnitude: f64,
    /// See `latent_magnitude`.
    pub latent_shift: f64,
}

impl TinyVaeConfig {
    /// Reads the JSON text of a configuration; `file` names it in errors.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        let map = parse_object(file, text)?;
        let f = Fields::new(file, &map);
        let class = f.string("_class_name", "AutoencoderTiny")?;
        if class != "AutoencoderTiny" {
            return Err(Error::unsupported(file, format!("`_class_name` `{class}` (AutoencoderTiny is)")));
        }
        let config = TinyVaeConfig {
            file: file.to_owned(),
            decoder_block_out_channels: f.sizes("decoder_block_out_channels", &[64, 64, 64, 64])?,
            num_decoder_blocks: f.sizes("num_decoder_blocks", &[3, 3, 3, 1])?,
            latent_channels: f.size("latent_channels", 4)?,
            out_channels: f.size("out_channels", 3)?,
            act_fn: f.string("act_fn", "relu")?,
            scaling_factor: f.f64("scaling_factor", 1.0)?,
            upsampling_scaling_factor: f.size("upsampling_scaling_factor", 2)?,
            upsample_fn: f.string("upsample_fn", "nearest")?,
            latent_magnitude: f.f64("latent_magnitude", 3.0)?,
            latent_shift: f.f64("latent_shift", 0.5)?,
        };
        if config.num_decoder_blocks.len() != config.decoder_block_out_channels.len() {
            let why = format!(
                "`num_decoder_blocks` has {} entries for {} of `decoder_block_out_channels`",
                config.num_decoder_blocks.len(),
                config.decoder_block_out_channels.len()
            );
            return Err(Error::config(file, why));
        }
        let blocks = config.num_decoder_blocks.iter().fold(0usize, |sum, n| sum.saturating_add(*n));
        check_depth(file, blocks, "`num_decoder_blocks`")?;
        Ok(config)
    }

    /// Names the first thing in this configuration that the engine cannot compute.
    pub fn check_supported(&self) -> Result<()> {
        for (field, value, only) in [("act_fn", &self.act_fn, "relu"), ("upsample_fn", &self.upsample_fn, "nearest")] {
            if value != only {
                return Err(Error::unsupported(&self.file, format!("`{field}` = `{value}` (`{only}` is)")));
            }
        }
        Ok(())
    }
}
