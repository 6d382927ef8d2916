//! The noise levels a network was trained at.

use serde_json::Value;

use crate::math::{interp, linspace_f32};
use crate::{Result, SampleError};

/// What the network's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// Velocity (Salimans and Ho, arXiv 2202.00512).
    V,
    /// The clean latent.
    Sample,
    /// The network F of Karras et al. 2022, table 1, for data of spread [`Prediction::SIGMA_DATA`]; told a quarter of ln sigma.
    Edm,
    /// The velocity noise - clean of rectified flow (Liu et al., arXiv 2209.03003), told 1000 times the share of noise.
    Flow,
}

impl Prediction {
    /// Spread of the data that an EDM network was trained for.
    pub const SIGMA_DATA: f64 = 0.5;
    /// The names of the knob `prediction`, after `auto`.
    pub const NAMES: [(&'static str, Prediction); 5] = [
        ("epsilon", Prediction::Epsilon),
        ("v_prediction", Prediction::V),
        ("sample", Prediction::Sample),
        ("edm", Prediction::Edm),
        ("flow", Prediction::Flow),
    ];

    /// From diffusers' name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, p)| *p)
    }
}

/// How timesteps are spread over the training range (Lin et al., arXiv 2305.08891, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Multiples of T / n from 0 upwards, plus an offset: the noisiest level is left out.
    Leading,
    /// Evenly with both ends.
    Linspace,
    /// Multiples of T / n from T downwards.
    Trailing,
}

impl Spacing {
    /// From diffusers' name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "leading" => Some(Spacing::Leading),
            "linspace" => Some(Spacing::Linspace),
            "trailing" => Some(Spacing::Trailing),
            _ => None,
        }
    }
}

/// How beta grows over the training steps.
#[derive(Clone, Debug, PartialEq)]
pub enum BetaSchedule {
    /// Evenly from `start` to `end`.
    Linear {
        /// First beta.
        start: f64,
        /// Last beta.
        end: f64,
    },
    /// Evenly in the square root (latent diffusion).
    ScaledLinear {
        /// First beta.
        start: f64,
        /// Last beta.
        end: f64,
    },
    /// The cosine schedule (Nichol and Dhariwal, arXiv 2102.09672).
    SquaredCos,
    /// Stated one by one.
    Trained(Vec<f64>),
    /// No betas: noise levels evenly spaced in log sigma (EDM; ComfyUI's ModelSamplingContinuousEDM).
    Continuous {
        /// Smallest noise level.
        min: f64,
        /// Largest noise level.
        max: f64,
    },
    /// No betas: x = (1 - t) clean + t noise with t = shift u / (1 + (shift - 1) u) and u even (Esser et al. 2024, arXiv 2403.03206, section 5.3.2).
    Flow {
        /// 1 is even; larger spends more levels at high noise.
        shift: f64,
    },
}

impl BetaSchedule {
    /// The levels of Karras et al. 2022 (table 1), as diffusers' EDM schedulers have them.
    pub const EDM: BetaSchedule = BetaSchedule::Continuous { min: 0.002, max: 80.0 };
}

/// What a checkpoint's scheduler configuration says, as far as sampling goes.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseConfig {
    /// Training steps T.
    pub train_steps: usize,
    /// The betas.
    pub betas: BetaSchedule,
    /// What the network's output means.
    pub prediction: Prediction,
    /// The file's `timestep_spacing`; none: each sampler has its own.
    pub spacing: Option<Spacing>,
    /// Added to leading timesteps.
    pub steps_offset: usize,
    /// DDIM's last step ends at alpha 1 rather than at the first training level's.
    pub set_alpha_to_one: bool,
    /// Rescale the betas to zero terminal SNR (Lin et al., arXiv 2305.08891).
    pub zero_snr: bool,
    /// The last sigma is the smallest of training instead of 0 (`final_sigmas_type`).
    pub final_sigma_min: bool,
    /// The author's choice of Karras sigmas, for whoever leaves the schedule open.
    pub karras: bool,
}

impl NoiseConfig {
    /// Stable Diffusion 1 and 2, when a checkpoint carries no configuration.
    pub fn stable_diffusion(prediction: Prediction) -> Self {
        NoiseConfig {
            train_steps: 1000,
            betas: BetaSchedule::ScaledLinear { start: 0.00085, end: 0.012 },
            prediction,
            spacing: None,
            steps_offset: 1,
            set_alpha_to_one: false,
            zero_snr: false,
            final_sigma_min: false,
            karras: false,
        }
    }

    /// From the JSON of a diffusers `scheduler_config.json`; what it leaves out has diffusers' default.
    ///
    /// # Errors
    /// A field of the wrong type, or a value this crate cannot sample with.
    pub fn from_diffusers(config: &Value) -> Result<Self> {
        let bad = |field: &str, found: &Value| {
            SampleError::setting("scheduler_config.json", format!("`{field}` is {found}, which is not supported"))
        };
        let field = |name: &str| config.get(name).filter(|v| !v.is_null());
        let number =
            |name: &str, default: f64| field(name).map_or(Ok(default), |v| v.as_f64().ok_or_else(|| bad(name, v)));
        let whole = |name: &str, default: usize| {
            field(name).map_or(Ok(default), |v| v.as_u64().map(|n| n as usize).ok_or_else(|| bad(name, v)))
        };
        let flag =
            |name: &str, default: bool| field(name).map_or(Ok(default), |v| v.as_bool().ok_or_else(|| bad(name, v)));
        let text = |name: &str| field(name).map(|v| v.as_str().ok_or_else(|| bad(name, v))).transpose();
        let (start, end) = (number("beta_start", 0.0001)?, number("beta_end", 0.02)?);
        let betas = match (field("trained_betas"), text("beta_schedule")?.unwrap_or("linear")) {
            (Some(v), _) => {
                let list = v.as_array().ok_or_else(|| bad("trained_betas", v))?;
                let list = list.iter().map(|b| b.as_f64().ok_or_else(|| bad("trained_betas", b)));
                BetaSchedule::Trained(list.collect::<Result<_>>()?)
            }
            (None, "linear") => BetaSchedule::Linear { start, end },
            (None, "scaled_linear") => BetaSchedule::ScaledLinear { start, end },
            (None, "squaredcos_cap_v2") => BetaSchedule::SquaredCos,
            (None, other) => return Err(bad("beta_schedule", &other.into())),
        };
        let prediction = text("prediction_type")?.unwrap_or("epsilon");
        let spacing = text("timestep_spacing")?;
        let last = text("final_sigmas_type")?.unwrap_or("zero");
        Ok(NoiseConfig {
            train_steps: whole("num_train_timesteps", 1000)?,
            betas,
            prediction: Prediction::from_name(prediction).ok_or_else(|| bad("prediction_type", &prediction.into()))?,
            spacing: spacing
                .map(|s| Spacing::from_name(s).ok_or_else(|| bad("timestep_spacing", &s.into())))
                .transpose()?,
            steps_offset: whole("steps_offset", 0)?,
            set_alpha_to_one: flag("set_alpha_to_one", true)?,
            zero_snr: flag("rescale_betas_zero_snr", false)?,
            final_sigma_min: match last {
                "zero" => false,
                "sigma_min" => true,
                other => return Err(bad("final_sigmas_type", &other.into())),
            },
            karras: flag("use_karras_sigmas", false)?,
        })
    }
}

/// The training noise levels of a network, and how its author wants it sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSampling {
    config: NoiseConfig,
    alphas_cumprod: Vec<f64>,
    sigmas: Vec<f64>,
    log_sigmas: Vec<f64>,
}

/// Stands for a share of signal of 0: close to it without making sigma infinite; gives sigma 4096 (diffusers' Euler and DPM-Solver).
const ALMOST_NO_SIGNAL: f64 = 1.0 / 16_777_216.0;

impl ModelSampling {
    /// Computes the levels, in f32 where torch does, so that they agree to the last digits.
    ///
    /// # Errors
    /// No training steps, or betas that are not between 0 and 1 or not as many as the steps.
    pub fn new(config: &NoiseConfig) -> Result<Self> {
        let n = config.train_steps;
        if !(2..=1_000_000).contains(&n) {
            return Err(SampleError::setting("num_train_timesteps", format!("{n}; expected 2 to 1000000")));
        }
        if let Some(sigmas) = continuous(&config.betas, n)? {
            let alphas_cumprod = sigmas.iter().map(|s| 1.0 / (1.0 + s * s)).collect();
            let log_sigmas = sigmas.iter().map(|s: &f64| s.ln()).collect();
            return Ok(ModelSampling { config: config.clone(), alphas_cumprod, sigmas, log_sigmas });
        }
        let mut betas = betas(&config.betas, n)?;
        // Written so that NaN fails.
        if let Some(b) = betas.iter().find(|b| !(**b >= 0.0 && **b <= 1.0)) {
            return Err(SampleError::setting("betas", format!("{b} is not between 0 and 1")));
        }
        if config.zero_snr {
            betas = rescale_zero_terminal_snr(&betas);
        }
        let alphas_cumprod: Vec<f64> = cumprod(&betas).into_iter().map(f64::from).collect();
        let sigma = |i: usize, a: f64| {
            let a = if a <= 0.0 || (config.zero_snr && i + 1 == n) { ALMOST_NO_SIGNAL } else { a } as f32;
            f64::from(((1.0 - a) / a).sqrt())
        };
        let sigmas: Vec<f64> = alphas_cumprod.iter().enumerate().map(|(i, &a)| sigma(i, a)).collect();
        if !sigmas.windows(2).all(|w| w[0] <= w[1]) || sigmas[n - 1] <= 0.0 {
            return Err(SampleError::setting("betas", "the noise levels they give do not grow"));
        }
        let log_sigmas = sigmas.iter().map(|s| s.max(1e-10).ln()).collect();
        Ok(ModelSampling { config: config.clone(), alphas_cumprod, sigmas, log_sigmas })
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &NoiseConfig {
        &self.config
    }

    /// What the network predicts.
    pub fn prediction(&self) -> Prediction {
        self.config.prediction
    }

    /// Training steps T.
    pub fn train_steps(&self) -> usize {
        self.sigmas.len()
    }

    /// Cumulative product of 1 - beta, T entries; the last is 0 with zero terminal SNR.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Noise levels of training, sqrt((1 - a) / a), T entries, growing; the last is 4096 with zero terminal SNR.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Smallest noise level of training.
    pub fn sigma_min(&self) -> f64 {
        self.sigmas[0]
    }

    /// Largest noise level of training.
    pub fn sigma_max(&self) -> f64 {
        self.sigmas[self.sigmas.len() - 1]
    }

    /// Noise level at a timestep, linear in between (diffusers' and numpy's interpolation of sigma; for flow, of the share of noise).
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        match self.config.betas {
            BetaSchedule::Flow { shift } => {
                let u = (timestep.clamp(0.0, self.train_steps() as f64 - 1.0) + 1.0) / self.train_steps() as f64;
                flow_sigma(shifted(u, shift))
            }
            _ => interp(&self.sigmas, timestep),
        }
    }

    /// What the network is told at a noise level: the timestep itself, or what its prediction type defines instead.
    pub fn told(&self, sigma: f64, timestep: f64) -> f64 {
        match self.config.prediction {
            Prediction::Edm => 0.25 * sigma.ln(),
            Prediction::Flow => FLOW_STEPS * sigma / (1.0 + sigma),
            _ => timestep,
        }
    }

    /// Noise level at a timestep, linear in log sigma (k-diffusion's).
    pub fn sigma_at_log(&self, timestep: f64) -> f64 {
        interp(&self.log_sigmas, timestep).exp()
    }

    /// The timestep at which a noise level lies, linear in log sigma, within 0..=T-1.
    pub fn timestep_at(&self, sigma: f64) -> f64 {
        let wanted = sigma.max(1e-10).ln();
        let last = self.log_sigmas.len() - 1;
        let low = self.log_sigmas.partition_point(|l| *l <= wanted).saturating_sub(1).min(last - 1);
        let (a, b) = (self.log_sigmas[low], self.log_sigmas[low + 1]);
        let w = if b > a { ((wanted - a) / (b - a)).clamp(0.0, 1.0) } else { 0.0 };
        low as f64 + w
    }
}

/// What a flow network is told at pure noise.
const FLOW_STEPS: f64 = 1000.0;

/// Stands for the infinite sigma of pure noise in flow models: what it leaves of the clean latent is below f32's digits.
const PURE_NOISE: f64 = 1e6;

/// x0 + sigma noise from a share `t` of noise.
fn flow_sigma(t: f64) -> f64 {
    (t / (1.0 - t)).min(PURE_NOISE)
}

fn shifted(u: f64, shift: f64) -> f64 {
    shift * u / (1.0 + (shift - 1.0) * u)
}

/// Noise levels that are stated without betas, growing; none for the others.
fn continuous(schedule: &BetaSchedule, n: usize) -> Result<Option<Vec<f64>>> {
    let wrong = |what: &str, v: f64| SampleError::setting(what.to_owned(), format!("{v} cannot be used"));
    match *schedule {
        BetaSchedule::Continuous { min, max } => {
            // Written so that NaN fails.
            if !(min > 0.0 && max > min && max < 1e6) {
                return Err(wrong("sigma_min and sigma_max", min));
            }
            Ok(Some(crate::math::linspace(min.ln(), max.ln(), n).into_iter().map(f64::exp).collect()))
        }
        BetaSchedule::Flow { shift } => {
            if !(shift > 0.0 && shift < 1e3) {
                return Err(wrong("shift", shift));
            }
            Ok(Some((1..=n).map(|i| flow_sigma(shifted(i as f64 / n as f64, shift))).collect()))
        }
        _ => Ok(None),
    }
}

/// The betas in torch's f32.
fn betas(schedule: &BetaSchedule, n: usize) -> Result<Vec<f32>> {
    Ok(match schedule {
        BetaSchedule::Linear { start, end } => linspace_f32(*start as f32, *end as f32, n),
        BetaSchedule::ScaledLinear { start, end } => {
            linspace_f32(start.sqrt() as f32, end.sqrt() as f32, n).into_iter().map(|b| b * b).collect()
        }
        BetaSchedule::SquaredCos => {
            let bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let at = |i: usize| bar(i as f64 / n as f64);
            (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
        }
        BetaSchedule::Trained(betas) if betas.len() == n => betas.iter().map(|b| *b as f32).collect(),
        BetaSchedule::Trained(betas) => {
            return Err(SampleError::setting("trained_betas", format!("{} betas for {n} training steps", betas.len())));
        }
        BetaSchedule::Continuous { .. } | BetaSchedule::Flow { .. } => Vec::new(),
    })
}

/// torch.cumprod(1 - betas): f32 entries, accumulated in f64 as torch does on the CPU.
fn cumprod(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    let next = |b: &f32| {
        product *= f64::from(1.0 - b);
        product as f32
    };
    betas.iter().map(next).collect()
}

/// Lin et al., arXiv 2305.08891, algorithm 1: shift and scale sqrt(alphas_cumprod) so that the last is 0 and the first stays.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumprod(betas).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let bar: Vec<f32> = roots.iter().map(|r| ((r - last) * scale).powi(2)).collect();
    let mut previous = 1.0;
    let step = |a: &f32| {
        let alpha = a / previous;
        previous = *a;
        1.0 - alpha
    };
    bar.iter().map(step).collect()
}
