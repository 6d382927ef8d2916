//! `scheduler/scheduler_config.json`: the noise schedule a model was trained with.

use super::Fields;
use super::fields::parse_object;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// What the U-Net predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// Velocity (Salimans and Ho, arXiv 2202.00512).
    V,
    /// The clean latent.
    Sample,
}

impl Prediction {
    /// diffusers' name: `epsilon`, `v_prediction`, `sample`.
    pub fn name(self) -> &'static str {
        match self {
            Prediction::Epsilon => "epsilon",
            Prediction::V => "v_prediction",
            Prediction::Sample => "sample",
        }
    }

    /// From diffusers' name, or from the short names in metadata (`eps`, `v`, `v_pred`, ...).
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "epsilon" | "eps" => Some(Prediction::Epsilon),
            "v_prediction" | "v-prediction" | "v" | "v_pred" | "vpred" | "velocity" => Some(Prediction::V),
            "sample" | "x0" => Some(Prediction::Sample),
            _ => None,
        }
    }
}

/// How beta goes from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// Evenly in the square root (Stable Diffusion).
    ScaledLinear,
    /// Nichol and Dhariwal's cosine (arXiv 2102.09672).
    SquaredcosCapV2,
}

impl BetaSchedule {
    /// diffusers' name.
    pub fn name(self) -> &'static str {
        match self {
            BetaSchedule::Linear => "linear",
            BetaSchedule::ScaledLinear => "scaled_linear",
            BetaSchedule::SquaredcosCapV2 => "squaredcos_cap_v2",
        }
    }
}

/// The training noise schedule and the conventions a model's author set for sampling.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Name of the file it came from, for errors.
    pub file: String,
    /// diffusers' scheduler class, e.g. `PNDMScheduler`.
    pub class_name: String,
    /// Number of noise levels in training.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// Their course.
    pub beta_schedule: BetaSchedule,
    /// Betas stated one by one; they go before the schedule.
    pub trained_betas: Option<Vec<f64>>,
    /// What the U-Net predicts.
    pub prediction_type: Prediction,
    /// Added to `leading` timesteps.
    pub steps_offset: usize,
    /// Whether the last step of DDIM ends at alpha = 1 rather than at the first training level's.
    pub set_alpha_to_one: bool,
    /// `leading`, `trailing` or `linspace`; none where the file does not say, and the solver's own default holds.
    pub timestep_spacing: Option<String>,
    /// Rescale so that the last level has no signal (Lin et al., arXiv 2305.08891).
    pub rescale_betas_zero_snr: bool,
    /// `zero` or `sigma_min`; none where the file does not say.
    pub final_sigmas_type: Option<String>,
    /// The author's choice of Karras sigmas.
    pub use_karras_sigmas: bool,
    /// Whether DDIM clips the predicted clean latent.
    pub clip_sample: bool,
    /// To plus and minus this.
    pub clip_sample_range: f64,
    /// Dynamic thresholding (Imagen), not for latent models.
    pub thresholding: bool,
    /// `dpmsolver++` and others, if stated.
    pub algorithm_type: Option<String>,
    /// Solver order, if stated.
    pub solver_order: Option<usize>,
}

impl SchedulerConfig {
    /// Reads the JSON text of a configuration; `file` names it in errors.
    pub fn from_json(file: &str, text: &[u8]) -> Result<Self> {
        Self::from_map(file, &parse_object(file, text)?)
    }

    /// Reads a parsed configuration.
    pub fn from_map(file: &str, map: &Map<String, Value>) -> Result<Self> {
        let f = Fields::new(file, map);
        let class_name = f.string("_class_name", "DDIMScheduler")?;
        if class_name.starts_with("Flow") {
            return Err(Error::unsupported(file, format!("`_class_name` `{class_name}` (a flow model)")));
        }
        // The two fields whose default depends on the class.
        let ddim = class_name == "DDIMScheduler" || class_name == "DDPMScheduler";
        let schedule = f.string("beta_schedule", "linear")?;
        let beta_schedule = match schedule.as_str() {
            "linear" => BetaSchedule::Linear,
            "scaled_linear" => BetaSchedule::ScaledLinear,
            "squaredcos_cap_v2" => BetaSchedule::SquaredcosCapV2,
            other => return Err(Error::unsupported(file, format!("`beta_schedule` = `{other}`"))),
        };
        let prediction = f.string("prediction_type", "epsilon")?;
        let prediction_type = match prediction.as_str() {
            "epsilon" => Prediction::Epsilon,
            "v_prediction" => Prediction::V,
            "sample" => Prediction::Sample,
            other => return Err(Error::unsupported(file, format!("`prediction_type` = `{other}`"))),
        };
        let timestep_spacing = f.opt_string("timestep_spacing")?;
        if let Some(s) = &timestep_spacing
            && !matches!(s.as_str(), "leading" | "trailing" | "linspace")
        {
            return Err(Error::unsupported(file, format!("`timestep_spacing` = `{s}`")));
        }
        let config = SchedulerConfig {
            file: file.to_owned(),
            num_train_timesteps: f.size("num_train_timesteps", 1000)?,
            beta_start: f.f64("beta_start", 0.0001)?,
            beta_end: f.f64("beta_end", 0.02)?,
            beta_schedule,
            trained_betas: f.opt_f64s("trained_betas")?,
            prediction_type,
            steps_offset: f.usize("steps_offset", 0)?,
            set_alpha_to_one: f.bool("set_alpha_to_one", true)?,
            timestep_spacing,
            rescale_betas_zero_snr: f.bool("rescale_betas_zero_snr", false)?,
            final_sigmas_type: f.opt_string("final_sigmas_type")?,
            use_karras_sigmas: f.bool("use_karras_sigmas", false)?,
            clip_sample: f.bool("clip_sample", ddim)?,
            clip_sample_range: f.f64("clip_sample_range", 1.0)?,
            thresholding: f.bool("thresholding", false)?,
            algorithm_type: f.opt_string("algorithm_type")?,
            solver_order: f.opt_usize("solver_order")?,
            class_name,
        };
        config.check_ranges()?;
        Ok(config)
    }

    fn check_ranges(&self) -> Result<()> {
        let bad = |why: String| Err(Error::config(&self.file, why));
        let is_beta = |b: f64| b > 0.0 && b < 1.0;
        for (field, value) in [("beta_start", self.beta_start), ("beta_end", self.beta_end)] {
            if !is_beta(value) {
                return bad(format!("`{field}` is {value}; expected a number between 0 and 1"));
            }
        }
        if let Some(betas) = &self.trained_betas {
            if betas.len() != self.num_train_timesteps {
                let (n, steps) = (betas.len(), self.num_train_timesteps);
                return bad(format!("`trained_betas` has {n} entries for `num_train_timesteps` = {steps}"));
            }
            // Zero-terminal-SNR models may end at exactly 1.
            if let Some(b) = betas.iter().find(|b| !(**b > 0.0 && **b <= 1.0)) {
                return bad(format!("`trained_betas` holds {b}; expected numbers between 0 and 1"));
            }
        }
        Ok(())
    }

    /// The schedule of every Stable Diffusion 1 and 2 checkpoint, for files that carry none.
    pub fn stable_diffusion(prediction: Prediction) -> Self {
        SchedulerConfig {
            file: "Stable Diffusion's own schedule".into(),
            class_name: "DDIMScheduler".into(),
            num_train_timesteps: 1000,
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            trained_betas: None,
            prediction_type: prediction,
            steps_offset: 1,
            set_alpha_to_one: false,
            timestep_spacing: None,
            rescale_betas_zero_snr: false,
            final_sigmas_type: None,
            use_karras_sigmas: false,
            clip_sample: false,
            clip_sample_range: 1.0,
            thresholding: false,
            algorithm_type: None,
            solver_order: None,
        }
    }

    /// Names the first thing in this configuration that the engine cannot compute.
    pub fn check_supported(&self) -> Result<()> {
        if self.thresholding {
            return Err(Error::unsupported(&self.file, "`thresholding`"));
        }
        Ok(())
    }

    /// The configuration file that diffusers would write.
    pub fn to_json(&self) -> Value {
        let mut map = json!({
            "_class_name": self.class_name,
            "beta_end": self.beta_end,
            "beta_schedule": self.beta_schedule.name(),
            "beta_start": self.beta_start,
            "clip_sample": self.clip_sample,
            "num_train_timesteps": self.num_train_timesteps,
            "prediction_type": self.prediction_type.name(),
            "rescale_betas_zero_snr": self.rescale_betas_zero_snr,
            "set_alpha_to_one": self.set_alpha_to_one,
            "steps_offset": self.steps_offset,
            "trained_betas": self.trained_betas
        });
        let stated = [
            ("timestep_spacing", self.timestep_spacing.clone().map(Value::from)),
            ("final_sigmas_type", self.final_sigmas_type.clone().map(Value::from)),
            ("use_karras_sigmas", self.use_karras_sigmas.then(|| true.into())),
            ("algorithm_type", self.algorithm_type.clone().map(Value::from)),
            ("solver_order", self.solver_order.map(Value::from)),
            ("clip_sample_range", (self.clip_sample_range != 1.0).then(|| self.clip_sample_range.into())),
            ("thresholding", self.thresholding.then(|| true.into())),
        ];
        for (field, value) in stated {
            if let Some(value) = value {
                map[field] = value;
            }
        }
        map
    }
}
