//! A score for weights: how well they denoise pictures they are shown.
//!
//! The loss that diffusion models are trained with: noise of a fixed seed is added to each picture's latents at fixed levels, and the mean squared
//! error of the predicted noise is taken (Ho et al. 2020, arXiv 2006.11239, L_simple). Lower is better; the same pictures, captions and program
//! give the same number.

use std::sync::Arc;

use admix_mix::recipe::Recipe;
use admix_model::prompt::Span;
use admix_sample::{Scaling, rng};
use admix_tensor::Recorder;

use crate::conditioning::{Inversions, encode_text};
use crate::control::Control;
use crate::networks::{Most, Networks, Part};
use crate::picture::Picture;
use crate::render::{Given, to_nhwc};
use crate::settings::Settings;
use crate::start::encode_init;
use crate::{EngineError, Session};

/// A picture and what it shows, in words.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The picture; it is brought to the recipe's size.
    pub picture: Picture,
    /// The prompt that describes it.
    pub caption: String,
}

/// Shares of the training timesteps at which pictures are looked at: fine detail to composition.
const LEVELS: [f64; 4] = [0.1, 0.3, 0.5, 0.7];
/// Seed of the noise.
const SEED: u64 = 2006;

impl Session {
    /// The mean loss of a recipe's weights over `shown`. Errors: nothing shown, what [`Session::render`] refuses, a loss that is not finite.
    pub async fn score(&mut self, recipe: &Recipe, shown: &[Shown], control: &mut Control) -> Result<f64, EngineError> {
        if shown.is_empty() {
            return Err(EngineError::Input("there are no pictures to score with".into()));
        }
        let (recipe, inversions) = &self.take_inversions(recipe).await?;
        let mixer = Arc::new(self.open_mix(recipe).await?);
        let settings = Settings::resolve(&recipe.sample, &mixer, &Given::default())?;
        let mut networks = self.networks_for(&mixer).await?;
        let size = networks.latent_size(1, settings.width, settings.height)?;
        let filled = networks.fill(&mixer, Most::at_once(size), control).await;
        let attached = filled.and_then(|_| networks.attach_side(&mixer)).and_then(|_| networks.set_active(|_| true));
        let mut sum = 0.0;
        let mut outcome = attached;
        for (at, one) in shown.iter().enumerate() {
            if outcome.is_err() {
                break;
            }
            outcome = match loss(&mut networks, &settings, inversions, one, at as u64, control).await {
                Ok(found) => {
                    sum += found;
                    control.check()
                }
                Err(e) => Err(e),
            };
        }
        self.keep_networks(mixer.base().state_sum().await?, networks);
        outcome?;
        let mean = sum / shown.len() as f64;
        if mean.is_finite() {
            return Ok(mean);
        }
        Err(EngineError::Input("the loss is not finite: a weight or a merge is out of range; lower the weights".into()))
    }
}

/// The mean loss of one picture over all levels.
async fn loss(
    networks: &mut Networks,
    settings: &Settings,
    inversions: &Inversions,
    shown: &Shown,
    number: u64,
    control: &mut Control,
) -> Result<f64, EngineError> {
    let gpu = networks.gpu().clone();
    if networks.unet.extra_channels() > 0 {
        return Err(EngineError::Input("models that read a picture beside the latents are not scored".into()));
    }
    let settings = Settings { prompt: shown.caption.clone(), batch: 1, ..settings.clone() };
    let clean = encode_init(&gpu, networks, &shown.picture, &settings, control).await?;
    let size = networks.latent_size(1, settings.width, settings.height)?;
    let channels = networks.unet.latent_channels();
    let span = Span { steps: 1, before: 0 };
    let context = encode_text(&gpu, networks, &settings, &Given::default(), inversions, 0, span, control).await?;
    let set = context.sets.first().ok_or_else(|| EngineError::Input("there is no caption".into()))?;
    let last = settings.sampling.train_steps().saturating_sub(1) as f64;
    let timesteps = LEVELS.map(|share| (share * last).round());
    networks.take_turn(Part::Denoise, control).await?;
    let cond = networks.unet.condition(&gpu, &timesteps, &set.states, context.samples, &set.extras)?;
    cond.prelude.submit();
    let pass = networks.unet.record(&gpu, size, &cond)?;
    let mut total = 0.0;
    for (row, timestep) in timesteps.iter().enumerate() {
        let sigma = settings.sampling.sigma_at(*timestep);
        let scaling = Scaling::of(settings.sampling.prediction(), sigma);
        let seed = SEED + number * LEVELS.len() as u64 + row as u64;
        let drawn = rng::noise(rng::Kind::Cpu, seed, 1, [channels, size.h, size.w]);
        let noise = to_nhwc(&drawn, [1, channels, size.h, size.w]);
        let x: Vec<f64> = clean.iter().zip(&noise).map(|(c, n)| f64::from(*c) + sigma * f64::from(*n)).collect();
        let input: Vec<f32> = x.iter().map(|v| (scaling.input * v) as f32).collect();
        pass.input.write(&gpu, &input);
        let mut rec = Recorder::new(&gpu);
        cond.select(&mut rec, row);
        rec.include(&pass.program);
        rec.finish().submit();
        let found = pass.output.read(&gpu).await?;
        let squares = found.iter().zip(&x).zip(&clean).map(|((f, x), c)| {
            let denoised = scaling.skip * x + scaling.output * f64::from(*f);
            // As noise: what is wrong with the estimate, in units of the noise that was added.
            ((denoised - f64::from(*c)) / sigma).powi(2)
        });
        total += squares.sum::<f64>() / clean.len() as f64;
    }
    Ok(total / LEVELS.len() as f64)
}
