//! `unet/config.json` of diffusers' `UNet2DConditionModel`.

use super::Fields;
use super::fields::{check_depth, parse_object};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// A U-Net with cross-attention. Lists have one entry per level, from full resolution downward.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Name of the file it came from, for errors.
    pub file: String,
    /// Channels of the latent that goes in.
    pub in_channels: usize,
    /// Channels of the prediction that comes out.
    pub out_channels: usize,
    /// Latent height and width it was trained at.
    pub sample_size: Option<[usize; 2]>,
    /// Width of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level on the way down (one more on the way up).
    pub layers_per_block: Vec<usize>,
    /// Block class of each level on the way down.
    pub down_block_types: Vec<String>,
    /// Block class of each level on the way up, so from the lowest resolution.
    pub up_block_types: Vec<String>,
    /// Class of the middle block; none means there is none.
    pub mid_block_type: Option<String>,
    /// Width of the text embedding at each level.
    pub cross_attention_dim: Vec<usize>,
    /// Number of attention heads at each level. (In the file `attention_head_dim` holds it, a misnomer that diffusers
    /// keeps for old checkpoints; `num_attention_heads` goes before it.)
    pub attention_heads: Vec<usize>,
    /// Transformer blocks in each spatial transformer of a level.
    pub transformer_layers_per_block: Vec<usize>,
    /// Whether the transformers' projections in and out are matrices rather than 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Levels whose self-attention looks at the text instead of at itself.
    pub only_cross_attention: Vec<bool>,
    /// Whether the middle block does so.
    pub mid_block_only_cross_attention: bool,
    /// Two cross-attentions in one block.
    pub dual_cross_attention: bool,
    /// Compute attention scores in f32 (ours always are).
    pub upcast_attention: bool,
    /// Groups of every GroupNorm.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' GroupNorm (the transformers' is 1e-6).
    pub norm_eps: f64,
    /// Activation of residual blocks.
    pub act_fn: String,
    /// Cosine before sine in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies in the time embedding's exponent.
    pub freq_shift: f64,
    /// Width of the time embedding, four times the first level if absent.
    pub time_embedding_dim: Option<usize>,
    /// `positional` or `fourier`.
    pub time_embedding_type: String,
    /// Activation applied to the time embedding as a whole.
    pub time_embedding_act_fn: Option<String>,
    /// Activation after the time embedding's second layer.
    pub timestep_post_act: Option<String>,
    /// Width of a conditioning vector added inside the time embedding (guidance-distilled models).
    pub time_cond_proj_dim: Option<usize>,
    /// `default` (added) or `scale_shift`.
    pub resnet_time_scale_shift: String,
    /// Activation on the time embedding skipped.
    pub resnet_skip_time_act: bool,
    /// Divisor of the residual sum.
    pub resnet_out_scale_factor: f64,
    /// Divisor of the middle block's residual sum.
    pub mid_block_scale_factor: f64,
    /// Padding of the down-sampling convolutions.
    pub downsample_padding: usize,
    /// Input rescaled to 2x - 1.
    pub center_input_sample: bool,
    /// Kernel of the first convolution.
    pub conv_in_kernel: usize,
    /// Kernel of the last convolution.
    pub conv_out_kernel: usize,
    /// `timestep`, `projection`, ... if the model takes class labels.
    pub class_embed_type: Option<String>,
    /// Number of class labels.
    pub num_class_embeds: Option<usize>,
    /// `text_time` for SDXL.
    pub addition_embed_type: Option<String>,
    /// Width of each of SDXL's six size embeddings.
    pub addition_time_embed_dim: Option<usize>,
    /// Input width of the class or addition embedding.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Projection of the text embedding before use.
    pub encoder_hid_dim_type: Option<String>,
    /// Its input width.
    pub encoder_hid_dim: Option<usize>,
    /// Normalisation of the text embedding inside cross-attention.
    pub cross_attention_norm: Option<String>,
    /// `default`, or `gated` for GLIGEN.
    pub attention_type: String,
    /// Whether class embeddings are concatenated instead of added.
    pub class_embeddings_concat: bool,
    /// A separate list of transformer depths on the way up, which is not read further.
    pub has_reverse_transformer_layers: bool,
}

impl UNetConfig {
    /// Reads the JSON text of a configuration; `file` names it in errors.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        Self::from_map(file, &parse_object(file, text)?)
    }

    /// Reads a parsed configuration.
    pub fn from_map(file: &str, map: &Map<String, Value>) -> Result<Self> {
        let f = Fields::new(file, map);
        let class = f.string("_class_name", "UNet2DConditionModel")?;
        if class != "UNet2DConditionModel" {
            return Err(Error::unsupported(file, format!("`_class_name` `{class}` (UNet2DConditionModel is)")));
        }
        let block_out_channels = f.sizes("block_out_channels", &[320, 640, 1280, 1280])?;
        let levels = block_out_channels.len();
        let heads = match f.opt_per_level("num_attention_heads", levels)? {
            Some(heads) => heads,
            None => f.per_level("attention_head_dim", levels, 8)?,
        };
        let transformer_layers = match f.get("transformer_layers_per_block") {
            Some(Value::Array(a)) if a.iter().any(Value::is_array) => {
                let why = "`transformer_layers_per_block` lists within a list (one entry per block)";
                return Err(Error::unsupported(file, why));
            }
            _ => f.per_level("transformer_layers_per_block", levels, 1)?,
        };
        let only_cross_attention = f.bool_per_level("only_cross_attention", levels, false)?;
        // diffusers: a single bool also governs the middle block; a list leaves it false.
        let single_only_cross = f.get("only_cross_attention").and_then(Value::as_bool).unwrap_or(false);
        let cross = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let up = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];
        let mid_block_type = match map.get("mid_block_type") {
            None => Some("UNetMidBlock2DCrossAttn".to_owned()),
            Some(_) => f.opt_string("mid_block_type")?,
        };
        let config = UNetConfig {
            file: file.to_owned(),
            in_channels: f.size("in_channels", 4)?,
            out_channels: f.size("out_channels", 4)?,
            sample_size: f.opt_extent("sample_size")?,
            layers_per_block: f.per_level("layers_per_block", levels, 2)?,
            down_block_types: f.strings("down_block_types", &cross)?,
            up_block_types: f.strings("up_block_types", &up)?,
            mid_block_type,
            cross_attention_dim: f.per_level("cross_attention_dim", levels, 1280)?,
            attention_heads: heads,
            transformer_layers_per_block: transformer_layers,
            use_linear_projection: f.bool("use_linear_projection", false)?,
            mid_block_only_cross_attention: f.bool("mid_block_only_cross_attention", single_only_cross)?,
            only_cross_attention,
            dual_cross_attention: f.bool("dual_cross_attention", false)?,
            upcast_attention: f.bool("upcast_attention", false)?,
            norm_num_groups: f.size("norm_num_groups", 32)?,
            norm_eps: f.f64("norm_eps", 1e-5)?,
            act_fn: f.string("act_fn", "silu")?,
            flip_sin_to_cos: f.bool("flip_sin_to_cos", true)?,
            freq_shift: f.f64("freq_shift", 0.0)?,
            time_embedding_dim: f.opt_usize("time_embedding_dim")?,
            time_embedding_type: f.string("time_embedding_type", "positional")?,
            time_embedding_act_fn: f.opt_string("time_embedding_act_fn")?,
            timestep_post_act: f.opt_string("timestep_post_act")?,
            time_cond_proj_dim: f.opt_usize("time_cond_proj_dim")?,
            resnet_time_scale_shift: f.string("resnet_time_scale_shift", "default")?,
            resnet_skip_time_act: f.bool("resnet_skip_time_act", false)?,
            resnet_out_scale_factor: f.f64("resnet_out_scale_factor", 1.0)?,
            mid_block_scale_factor: f.f64("mid_block_scale_factor", 1.0)?,
            downsample_padding: f.usize("downsample_padding", 1)?,
            center_input_sample: f.bool("center_input_sample", false)?,
            conv_in_kernel: f.size("conv_in_kernel", 3)?,
            conv_out_kernel: f.size("conv_out_kernel", 3)?,
            class_embed_type: f.opt_string("class_embed_type")?,
            num_class_embeds: f.opt_usize("num_class_embeds")?,
            addition_embed_type: f.opt_string("addition_embed_type")?,
            addition_time_embed_dim: f.opt_usize("addition_time_embed_dim")?,
            projection_class_embeddings_input_dim: f.opt_usize("projection_class_embeddings_input_dim")?,
            encoder_hid_dim_type: f.opt_string("encoder_hid_dim_type")?,
            encoder_hid_dim: f.opt_usize("encoder_hid_dim")?,
            cross_attention_norm: f.opt_string("cross_attention_norm")?,
            attention_type: f.string("attention_type", "default")?,
            class_embeddings_concat: f.bool("class_embeddings_concat", false)?,
            has_reverse_transformer_layers: f.get("reverse_transformer_layers_per_block").is_some(),
            block_out_channels,
        };
        for (field, count) in
            [("down_block_types", config.down_block_types.len()), ("up_block_types", config.up_block_types.len())]
        {
            if count != levels {
                let why = format!("`{field}` has {count} entries for {levels} levels of `block_out_channels`");
                return Err(Error::config(file, why));
            }
        }
        let levels = config.layers_per_block.iter().zip(&config.transformer_layers_per_block);
        let blocks = levels.fold(0usize, |sum, (layers, depth)| {
            // Down and up, which has one more; each a residual block and a transformer.
            sum.saturating_add((2 * layers + 1).saturating_mul(1 + depth))
        });
        check_depth(file, blocks, "`layers_per_block` and `transformer_layers_per_block`")?;
        Ok(config)
    }

    /// Number of resolutions.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Width of the time embedding.
    pub fn time_width(&self) -> usize {
        self.time_embedding_dim.unwrap_or(self.block_out_channels[0] * 4)
    }

    /// Attention heads at a level.
    pub fn heads(&self, level: usize) -> usize {
        self.attention_heads[level]
    }

    /// Width of the text embedding at a level.
    pub fn cross_attention(&self, level: usize) -> usize {
        self.cross_attention_dim[level]
    }

    /// Transformer blocks in each spatial transformer of a level.
    pub fn transformer_layers(&self, level: usize) -> usize {
        self.transformer_layers_per_block[level]
    }

    /// Residual blocks of a level on the way down.
    pub fn layers(&self, level: usize) -> usize {
        self.layers_per_block[level]
    }

    /// Whether down block `i` (from full resolution) has attention.
    pub fn down_has_attention(&self, i: usize) -> bool {
        self.down_block_types[i] == "CrossAttnDownBlock2D"
    }

    /// Whether up block `i` (from the lowest resolution) has attention.
    pub fn up_has_attention(&self, i: usize) -> bool {
        self.up_block_types[i] == "CrossAttnUpBlock2D"
    }

    /// Whether the middle block has attention.
    pub fn mid_has_attention(&self) -> bool {
        self.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn")
    }

    /// Names the first thing in this configuration that the engine cannot compute.
    pub fn check_supported(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::unsupported(&self.file, what));
        for t in &self.down_block_types {
            if !matches!(t.as_str(), "CrossAttnDownBlock2D" | "DownBlock2D") {
                return refuse(format!("`down_block_types` entry `{t}`"));
            }
        }
        for t in &self.up_block_types {
            if !matches!(t.as_str(), "CrossAttnUpBlock2D" | "UpBlock2D") {
                return refuse(format!("`up_block_types` entry `{t}`"));
            }
        }
        if !self.mid_has_attention() {
            return refuse(format!("`mid_block_type` {}", self.mid_block_type.as_deref().unwrap_or("null")));
        }
        let named = [
            ("class_embed_type", self.class_embed_type.clone()),
            ("num_class_embeds", self.num_class_embeds.map(|n| n.to_string())),
            ("addition_embed_type", self.addition_embed_type.clone().filter(|t| t != "text_time")),
            ("encoder_hid_dim_type", self.encoder_hid_dim_type.clone()),
            ("encoder_hid_dim", self.encoder_hid_dim.map(|n| n.to_string())),
            ("cross_attention_norm", self.cross_attention_norm.clone()),
            ("time_embedding_act_fn", self.time_embedding_act_fn.clone()),
            ("timestep_post_act", self.timestep_post_act.clone()),
        ];
        for (field, value) in named {
            if let Some(value) = value {
                return refuse(format!("`{field}` = `{value}`"));
            }
        }
        if self.addition_embed_type.is_some() {
            for (field, value) in [
                ("addition_time_embed_dim", self.addition_time_embed_dim),
                ("projection_class_embeddings_input_dim", self.projection_class_embeddings_input_dim),
            ] {
                if value.unwrap_or(0) == 0 {
                    let why = format!("`{field}` is missing; `addition_embed_type` = `text_time` needs it");
                    return Err(Error::config(&self.file, why));
                }
            }
        }
        let fixed = [
            ("dual_cross_attention", self.dual_cross_attention),
            ("only_cross_attention", self.only_cross_attention.contains(&true) || self.mid_block_only_cross_attention),
            ("class_embeddings_concat", self.class_embeddings_concat),
            ("resnet_skip_time_act", self.resnet_skip_time_act),
            ("center_input_sample", self.center_input_sample),
            ("reverse_transformer_layers_per_block", self.has_reverse_transformer_layers),
        ];
        if let Some((field, _)) = fixed.iter().find(|(_, set)| *set) {
            return refuse(format!("`{field}`"));
        }
        let expected = [
            ("act_fn", self.act_fn.as_str(), "silu"),
            ("time_embedding_type", self.time_embedding_type.as_str(), "positional"),
            ("resnet_time_scale_shift", self.resnet_time_scale_shift.as_str(), "default"),
            ("attention_type", self.attention_type.as_str(), "default"),
        ];
        for (field, value, only) in expected {
            // swish is diffusers' other name of silu.
            if value != only && !(field == "act_fn" && value == "swish") {
                return refuse(format!("`{field}` = `{value}` (`{only}` is)"));
            }
        }
        for (field, value) in [
            ("resnet_out_scale_factor", self.resnet_out_scale_factor),
            ("mid_block_scale_factor", self.mid_block_scale_factor),
        ] {
            if value != 1.0 {
                return refuse(format!("`{field}` = {value} (1 is)"));
            }
        }
        for (field, value, only) in [
            ("conv_in_kernel", self.conv_in_kernel, 3),
            ("conv_out_kernel", self.conv_out_kernel, 3),
            ("downsample_padding", self.downsample_padding, 1),
        ] {
            if value != only {
                return refuse(format!("`{field}` = {value} ({only} is)"));
            }
        }
        self.check_divisions()
    }

    fn check_divisions(&self) -> Result<()> {
        let last = self.levels() - 1;
        for (level, width) in self.block_out_channels.iter().enumerate() {
            if !width.is_multiple_of(self.norm_num_groups) {
                let why = format!(
                    "`block_out_channels[{level}]` = {width} is not a multiple of `norm_num_groups` = {}",
                    self.norm_num_groups
                );
                return Err(Error::config(&self.file, why));
            }
            let attends = self.down_has_attention(level) || self.up_has_attention(last - level) || level == last;
            if attends && !width.is_multiple_of(self.heads(level)) {
                let why = format!(
                    "`block_out_channels[{level}]` = {width} does not divide into {} attention heads \
                     (`attention_head_dim` states their number)",
                    self.heads(level)
                );
                return Err(Error::config(&self.file, why));
            }
        }
        Ok(())
    }

    /// The configuration file that diffusers would write for this model.
    pub fn to_json(&self) -> Value {
        fn same<T: PartialEq + Clone + Into<Value>>(list: &[T]) -> Value {
            match list.split_first() {
                Some((first, rest)) if rest.iter().all(|x| x == first) => first.clone().into(),
                _ => Value::Array(list.iter().cloned().map(Into::into).collect()),
            }
        }
        json!({
            "_class_name": "UNet2DConditionModel",
            "act_fn": self.act_fn,
            "addition_embed_type": self.addition_embed_type,
            "addition_time_embed_dim": self.addition_time_embed_dim,
            "attention_head_dim": same(&self.attention_heads),
            "attention_type": self.attention_type,
            "block_out_channels": self.block_out_channels,
            "center_input_sample": self.center_input_sample,
            "class_embed_type": self.class_embed_type,
            "class_embeddings_concat": self.class_embeddings_concat,
            "conv_in_kernel": self.conv_in_kernel,
            "conv_out_kernel": self.conv_out_kernel,
            "cross_attention_dim": same(&self.cross_attention_dim),
            "cross_attention_norm": self.cross_attention_norm,
            "down_block_types": self.down_block_types,
            "downsample_padding": self.downsample_padding,
            "dual_cross_attention": self.dual_cross_attention,
            "encoder_hid_dim": self.encoder_hid_dim,
            "encoder_hid_dim_type": self.encoder_hid_dim_type,
            "flip_sin_to_cos": self.flip_sin_to_cos,
            "freq_shift": whole_or_float(self.freq_shift),
            "in_channels": self.in_channels,
            "layers_per_block": same(&self.layers_per_block),
            "mid_block_only_cross_attention": self.mid_block_only_cross_attention,
            "mid_block_scale_factor": whole_or_float(self.mid_block_scale_factor),
            "mid_block_type": self.mid_block_type,
            "norm_eps": self.norm_eps,
            "norm_num_groups": self.norm_num_groups,
            "num_class_embeds": self.num_class_embeds,
            "only_cross_attention": same(&self.only_cross_attention),
            "out_channels": self.out_channels,
            "projection_class_embeddings_input_dim": self.projection_class_embeddings_input_dim,
            "resnet_out_scale_factor": self.resnet_out_scale_factor,
            "resnet_skip_time_act": self.resnet_skip_time_act,
            "resnet_time_scale_shift": self.resnet_time_scale_shift,
            "sample_size": self.sample_size.map(|[h, w]| if h == w { json!(h) } else { json!([h, w]) }),
            "time_cond_proj_dim": self.time_cond_proj_dim,
            "time_embedding_act_fn": self.time_embedding_act_fn,
            "time_embedding_dim": self.time_embedding_dim,
            "time_embedding_type": self.time_embedding_type,
            "timestep_post_act": self.timestep_post_act,
            "transformer_layers_per_block": same(&self.transformer_layers_per_block),
            "up_block_types": self.up_block_types,
            "upcast_attention": self.upcast_attention,
            "use_linear_projection": self.use_linear_projection
        })
    }
}

/// `1` rather than `1.0`, as Python would have it for integer fields.
pub(super) fn whole_or_float(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}
