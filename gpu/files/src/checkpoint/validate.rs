//! Whether a checkpoint is whole and whether the engine can run it.

use super::{Checkpoint, ModelFamily};
use crate::error::{Error, Result, first_few};
use crate::layout::{Shapes, as_matrix, text_tensors, unet_tensors, vae_tensors};

impl Checkpoint {
    /// Every tensor that the configurations imply, with its shape.
    pub fn implied(&self) -> Shapes {
        let mut all = Shapes::new();
        all.extend(self.unet.as_ref().map(unet_tensors).unwrap_or_default());
        all.extend(self.vae.as_ref().map(vae_tensors).unwrap_or_default());
        for (component, config) in [("text_encoder", &self.text_encoder), ("text_encoder_2", &self.text_encoder_2)] {
            all.extend(config.as_ref().map(|c| text_tensors(component, c)).unwrap_or_default());
        }
        all
    }

    /// Gives each tensor the implied shape where only dimensions of one differ.
    pub(super) fn adopt_implied_shapes(&mut self) {
        for (name, shape) in self.implied() {
            if let Some(t) = self.tensors.get_mut(&name)
                && t.shape != shape
                && as_matrix(&t.shape) == as_matrix(&shape)
            {
                t.shape = shape;
            }
        }
    }

    /// Checks that every implied tensor is there with the right shape.
    pub fn validate(&self) -> Result<()> {
        let (mut missing, mut wrong) = (Vec::new(), Vec::new());
        for (name, shape) in self.implied() {
            match self.tensors.get(&name) {
                None => missing.push(format!("`{name}`")),
                Some(t) if t.shape != shape => {
                    wrong.push(format!("`{name}` is {:?} where the configuration implies {shape:?}", t.shape));
                }
                Some(_) => {}
            }
        }
        let why = match (missing.len(), wrong.len()) {
            (0, 0) => return Ok(()),
            (0, n) => format!("{n} tensors have a wrong shape: {}", first_few(wrong, 2)),
            (n, 0) => format!("{n} tensors are missing: {}", first_few(missing, 3)),
            (n, m) => {
                let (missing, wrong) = (first_few(missing, 2), first_few(wrong, 1));
                format!("{n} tensors are missing ({missing}) and {m} have a wrong shape ({wrong})")
            }
        };
        Err(Error::Mismatch { file: self.name.clone(), why })
    }

    /// Tensors under a component's name that no configuration implies.
    pub fn unexpected(&self) -> Vec<&str> {
        let implied = self.implied();
        self.tensors.keys().filter(|k| !implied.contains_key(*k)).map(String::as_str).collect()
    }

    /// What the files hold and nothing reads, by the names that files and folders give it. Not listed: tensors that only say something (`v_pred`), and
    /// what every program makes itself or has no use for (position numbers, masks, EMA copies, CLIP's scale of likeness, the noise schedule of the
    /// training code).
    pub fn unused(&self) -> Vec<String> {
        let told = |key: &str| {
            let last = key.rsplit('.').next().unwrap_or(key);
            matches!(key, "v_pred" | "ztsnr" | "logvar")
                || ["position_ids", "attn_mask", "logit_scale", "betas", "sigmas"].contains(&last)
                || ["alphas_cumprod", "alphas_cumprod_prev"].contains(&last)
                || ["model_ema.", "sqrt_", "log_one_minus_", "posterior_"].iter().any(|start| key.starts_with(start))
        };
        let all = self.extra.keys().map(String::as_str).chain(self.unexpected());
        all.filter(|key| !told(key)).map(str::to_owned).collect()
    }

    /// Names the first thing that the engine cannot compute, in any configuration.
    pub fn check_supported(&self) -> Result<()> {
        if let Some(c) = &self.unet {
            c.check_supported()?;
        }
        if let Some(c) = &self.vae {
            c.check_supported()?;
        }
        for c in [&self.text_encoder, &self.text_encoder_2].into_iter().flatten() {
            c.check_supported()?;
        }
        self.scheduler.check_supported()
    }

    /// Numbers that an SDXL U-Net reads about sizes: six, or the refiner's four and an aesthetic score.
    fn size_values(&self) -> usize {
        if self.is_refiner() { 5 } else { 6 }
    }

    /// SDXL's refiner: the second text encoder without the first.
    pub fn is_refiner(&self) -> bool {
        self.family == ModelFamily::Sdxl && self.text_encoder.is_none() && self.text_encoder_2.is_some()
    }

    /// Whether a picture can be made from it: all three components there, whole, supported and fitting together.
    pub fn check_renderable(&self) -> Result<()> {
        let lacks = |what: &str| {
            let why = format!("it has no {what}, so it cannot make a picture by itself");
            Err(Error::NotA { file: self.name.clone(), why })
        };
        let Some(unet) = &self.unet else { return lacks("U-Net") };
        let Some(vae) = &self.vae else { return lacks("VAE") };
        // SDXL's refiner has the second encoder alone.
        let second = self.text_encoder_2.as_ref().filter(|_| self.family == ModelFamily::Sdxl);
        let Some(text) = self.text_encoder.as_ref().or(second) else { return lacks("text encoder") };
        self.check_supported()?;
        self.check_noise()?;
        self.validate()?;
        let mismatch = |why: String| Err(Error::Mismatch { file: self.name.clone(), why });
        if unet.out_channels != vae.latent_channels {
            return mismatch(format!(
                "the U-Net gives {} channels but the VAE takes {}",
                unet.out_channels, vae.latent_channels
            ));
        }
        if unet.in_channels < unet.out_channels {
            let what = format!("`in_channels` = {} with `out_channels` = {}", unet.in_channels, unet.out_channels);
            return Err(Error::unsupported(&unet.file, what));
        }
        let both = self.text_encoder.is_some() && second.is_some();
        let width = text.hidden_size + second.filter(|_| both).map_or(0, |t| t.hidden_size);
        if let Some(c) = unet.cross_attention_dim.iter().find(|c| **c != width) {
            let encoders = if both { "encoders together give" } else { "encoder gives" };
            return mismatch(format!("the U-Net expects text of width {c} but the text {encoders} {width}"));
        }
        let Some(pooled) = second.or(Some(text)).filter(|t| t.has_projection).map(|t| t.projection_dim) else {
            return match self.family {
                ModelFamily::Sdxl => lacks("text encoder with a `text_projection` (SDXL's second)"),
                _ => Ok(()),
            };
        };
        if let (Some(total), Some(dim)) = (unet.projection_class_embeddings_input_dim, unet.addition_time_embed_dim)
            && self.family == ModelFamily::Sdxl
            && total != pooled + self.size_values() * dim
        {
            let values = self.size_values();
            return mismatch(format!(
                "the U-Net's added embedding reads {total} features, but pooled text has {pooled} and its {values} size values have {}",
                values * dim
            ));
        }
        Ok(())
    }
}

/// Refuses NaN and infinity in a tensor's values: `Err` names the first one.
pub fn first_non_finite(file: &str, tensor: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { file: file.into(), tensor: tensor.into(), value: values[index], index }),
    }
}
