//! `vae/config.json` of diffusers' `AutoencoderKL`.

use super::Fields;
use super::fields::{check_depth, parse_object};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// The autoencoder between pictures and latents. Lists have one entry per level, from full resolution downward.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Name of the file it came from, for errors.
    pub file: String,
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// Width of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level of the encoder (one more in the decoder).
    pub layers_per_block: usize,
    /// Encoder block classes.
    pub down_block_types: Vec<String>,
    /// Decoder block classes.
    pub up_block_types: Vec<String>,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Whether the encoder gives mean and log variance (always so for AutoencoderKL).
    pub double_z: bool,
    /// Groups of every GroupNorm, whose epsilon is 1e-6.
    pub norm_num_groups: usize,
    /// Activation.
    pub act_fn: String,
    /// Picture size it was trained at.
    pub sample_size: Option<[usize; 2]>,
    /// The U-Net's latent is `(z - shift_factor) * scaling_factor`.
    pub scaling_factor: f64,
    /// See `scaling_factor`; 0 where the file says nothing.
    pub shift_factor: f64,
    /// Per-channel mean, if latents are standardised by channel.
    pub latents_mean: Option<Vec<f64>>,
    /// Per-channel deviation, if latents are standardised by channel.
    pub latents_std: Option<Vec<f64>>,
    /// f16 overflows in this decoder.
    pub force_upcast: bool,
    /// A 1x1 convolution after the encoder.
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// Self-attention in the middle blocks.
    pub mid_block_add_attention: bool,
}

impl VaeConfig {
    /// Reads the JSON text of a configuration; `file` names it in errors.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        Self::from_map(file, &parse_object(file, text)?)
    }

    /// Reads a parsed configuration.
    pub fn from_map(file: &str, map: &Map<String, Value>) -> Result<Self> {
        let f = Fields::new(file, map);
        let class = f.string("_class_name", "AutoencoderKL")?;
        if class != "AutoencoderKL" {
            return Err(Error::unsupported(file, format!("`_class_name` `{class}` (AutoencoderKL is)")));
        }
        let block_out_channels = f.sizes("block_out_channels", &[64])?;
        let config = VaeConfig {
            file: file.to_owned(),
            in_channels: f.size("in_channels", 3)?,
            out_channels: f.size("out_channels", 3)?,
            layers_per_block: f.size("layers_per_block", 1)?,
            down_block_types: f.strings("down_block_types", &["DownEncoderBlock2D"])?,
            up_block_types: f.strings("up_block_types", &["UpDecoderBlock2D"])?,
            latent_channels: f.size("latent_channels", 4)?,
            double_z: f.bool("double_z", true)?,
            norm_num_groups: f.size("norm_num_groups", 32)?,
            act_fn: f.string("act_fn", "silu")?,
            sample_size: f.opt_extent("sample_size")?,
            scaling_factor: f.f64("scaling_factor", 0.18215)?,
            shift_factor: f.f64("shift_factor", 0.0)?,
            latents_mean: f.opt_f64s("latents_mean")?,
            latents_std: f.opt_f64s("latents_std")?,
            force_upcast: f.bool("force_upcast", true)?,
            use_quant_conv: f.bool("use_quant_conv", true)?,
            use_post_quant_conv: f.bool("use_post_quant_conv", true)?,
            mid_block_add_attention: f.bool("mid_block_add_attention", true)?,
            block_out_channels,
        };
        let levels = config.block_out_channels.len();
        for (field, count) in
            [("down_block_types", config.down_block_types.len()), ("up_block_types", config.up_block_types.len())]
        {
            if count != levels {
                let why = format!("`{field}` has {count} entries for {levels} levels of `block_out_channels`");
                return Err(Error::config(file, why));
            }
        }
        check_depth(file, levels.saturating_mul(2 * config.layers_per_block + 1), "`layers_per_block`")?;
        if config.scaling_factor <= 0.0 {
            let why = format!("`scaling_factor` is {}; expected a number above zero", config.scaling_factor);
            return Err(Error::config(file, why));
        }
        Ok(config)
    }

    /// Number of resolutions.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Picture pixels per latent pixel, in each direction.
    pub fn reduction(&self) -> usize {
        1 << (self.levels() - 1).min(62)
    }

    /// Names the first thing in this configuration that the engine cannot compute.
    pub fn check_supported(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::unsupported(&self.file, what));
        if let Some(t) = self.down_block_types.iter().find(|t| *t != "DownEncoderBlock2D") {
            return refuse(format!("`down_block_types` entry `{t}`"));
        }
        if let Some(t) = self.up_block_types.iter().find(|t| *t != "UpDecoderBlock2D") {
            return refuse(format!("`up_block_types` entry `{t}`"));
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return refuse(format!("`act_fn` = `{}` (`silu` is)", self.act_fn));
        }
        if self.latents_mean.is_some() || self.latents_std.is_some() {
            return refuse("`latents_mean` / `latents_std`".into());
        }
        if !self.double_z {
            return refuse("`double_z` = false".into());
        }
        for (level, width) in self.block_out_channels.iter().enumerate() {
            if !width.is_multiple_of(self.norm_num_groups) {
                let why = format!(
                    "`block_out_channels[{level}]` = {width} is not a multiple of `norm_num_groups` = {}",
                    self.norm_num_groups
                );
                return Err(Error::config(&self.file, why));
            }
        }
        Ok(())
    }

    /// The configuration file that diffusers would write for this model.
    pub fn to_json(&self) -> Value {
        let square = self.sample_size.map(|[h, w]| if h == w { json!(h) } else { json!([h, w]) });
        json!({
            "_class_name": "AutoencoderKL",
            "act_fn": self.act_fn,
            "block_out_channels": self.block_out_channels,
            "down_block_types": self.down_block_types,
            "force_upcast": self.force_upcast,
            "in_channels": self.in_channels,
            "latent_channels": self.latent_channels,
            "latents_mean": self.latents_mean,
            "latents_std": self.latents_std,
            "layers_per_block": self.layers_per_block,
            "mid_block_add_attention": self.mid_block_add_attention,
            "norm_num_groups": self.norm_num_groups,
            "out_channels": self.out_channels,
            "sample_size": square.unwrap_or_else(|| json!(32)),
            "scaling_factor": self.scaling_factor,
            "shift_factor": (self.shift_factor != 0.0).then_some(self.shift_factor),
            "up_block_types": self.up_block_types,
            "use_post_quant_conv": self.use_post_quant_conv,
            "use_quant_conv": self.use_quant_conv
        })
    }
}
