//! What somebody waits for who drags a slider: from the changed recipe to the first preview, as the studio's quick renders make it.

use std::sync::{Arc, Mutex, PoisonError};

use admix_mix::recipe::{ModelUse, Recipe, Stage};
use web_time::Instant;

use super::{Figure, built_in};
use crate::{Cancel, Control, EngineError, Given, Progress, Session};

/// Steps of the studio's quick renders.
const STEPS: u32 = 6;
/// Renders that the median is taken of.
const ROUNDS: usize = 5;

/// Two sliders: one of sampling, and one of a merge, behind which all weights are mixed again.
pub(super) async fn figures(session: &mut Session, out: &mut Vec<Figure>) -> Result<(), EngineError> {
    let sampling = |round: usize| {
        let mut recipe = built_in();
        recipe.sample.cfg = Some(5.0 + round as f64 * 0.5);
        recipe
    };
    let merging = |round: usize| {
        let mut recipe = built_in();
        recipe.merge.push(Stage {
            method: "weighted_sum".into(),
            models: vec![ModelUse::new("builtin:twemoji", 0.2 + round as f64 * 0.05)],
            params: Default::default(),
            blocks: Default::default(),
            seed: None,
        });
        recipe
    };
    let cfg = median(session, sampling).await?;
    out.push(
        Figure::new("cfg_to_preview", cfg, "ms").of("CFG changed, built-in model, first preview of a quick render"),
    );
    let merge = median(session, merging).await?;
    out.push(Figure::new("merge_to_preview", merge, "ms").of("a merge's weight changed: all weights mixed again"));
    Ok(())
}

/// Milliseconds to the first preview, the median over recipes that differ; one render before them builds what all need.
async fn median(session: &mut Session, recipe: impl Fn(usize) -> Recipe) -> Result<f64, EngineError> {
    first_preview(session, recipe(ROUNDS)).await?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        times.push(first_preview(session, recipe(round)).await? * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

/// Seconds until the first preview; the render is cancelled there.
async fn first_preview(session: &mut Session, mut recipe: Recipe) -> Result<f64, EngineError> {
    recipe.sample.steps = Some(STEPS);
    let (seen, cancel) = (Arc::new(Mutex::new(None)), Cancel::default());
    let (theirs, stop, start) = (seen.clone(), cancel.clone(), Instant::now());
    let listener = move |progress: Progress| {
        if let Progress::Step { preview: Some(_), .. } = progress {
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(start.elapsed().as_secs_f64());
            stop.cancel();
        }
    };
    let listener = Some(Box::new(listener) as _);
    let mut control = Control { listener, cancel, preview_every: 1, preview_share: 0.5, is_quick: true };
    match session.render(&recipe, &Given::default(), &mut control).await {
        Ok(_) | Err(EngineError::Cancelled) => {}
        Err(error) => return Err(error),
    }
    let seconds = *seen.lock().unwrap_or_else(PoisonError::into_inner);
    seconds.ok_or_else(|| EngineError::Input("the model has no preview decoder".into()))
}
