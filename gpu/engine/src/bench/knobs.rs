//! What a hand on a knob costs: a merge's first weights, and those after one knob was moved.

use std::sync::Arc;

use admix_files::builtin::{Kind, catalogue};
use admix_mix::recipe::{ModelUse, Recipe, Stage};
use admix_tensor::kernels::Picture as Size;
use web_time::Instant;

use super::{Figure, Measure, built_in};
use crate::networks::{Most, Networks};
use crate::{Control, EngineError, Session};

/// A merge of two fine-tunes by TIES.
fn merge(names: &[String]) -> Recipe {
    let mut recipe = built_in();
    let mut models: Vec<ModelUse> =
        names.iter().take(2).map(|name| ModelUse::new(format!("builtin:{name}"), 0.5)).collect();
    for model in &mut models {
        model.params.insert("density".into(), 0.4.into());
    }
    let stage =
        Stage { method: "ties".into(), models, params: Default::default(), blocks: Default::default(), seed: None };
    recipe.merge.push(stage);
    recipe
}

/// The first merge, a weight, a density, one block's factor: milliseconds from the recipe to weights in place, text and picture aside.
pub(super) async fn figures(
    session: &mut Session,
    bench: &Measure,
    networks: &mut Networks,
) -> Result<Vec<Figure>, EngineError> {
    let tunes: Vec<String> =
        catalogue()?.into_iter().filter(|item| item.kind == Kind::FineTune).map(|item| item.name).collect();
    if tunes.len() < 2 {
        return Ok(Vec::new());
    }
    let first = merge(&tunes);
    let mut weight = first.clone();
    weight.merge[0].models[0].weight = 0.6;
    let mut density = weight.clone();
    density.merge[0].models[0].params.insert("density".into(), 0.5.into());
    let mut block = density.clone();
    block.merge[0].blocks.insert("unet.mid".into(), 0.5);
    // Once, so that kernels are compiled; then from nothing.
    fill(session, bench, networks, &first).await?;
    session.cache().clear();
    fill(session, bench, networks, &built_in()).await?;
    let mut figures = Vec::new();
    for (name, recipe, what) in [
        ("merge_first", &first, "ties of two fine-tunes"),
        ("merge_weight", &weight, "one weight moved"),
        ("merge_density", &density, "one density moved"),
        ("merge_block", &block, "one block's factor moved"),
    ] {
        let before = session.cache().counts();
        let (seconds, tensors) = fill(session, bench, networks, recipe).await?;
        let after = session.cache().counts();
        let what = format!(
            "{what}: {tensors} tensors, {} inputs from the device, {} from files, {} thresholds known, {} found",
            after.kept - before.kept,
            after.read - before.read,
            after.known - before.known,
            after.found - before.found
        );
        figures.push(Figure::new(name, seconds * 1e3, "ms").of(what));
    }
    fill(session, bench, networks, &built_in()).await?;
    Ok(figures)
}

/// Seconds from a recipe to its weights in place, and how many tensors were packed.
async fn fill(
    session: &mut Session,
    bench: &Measure,
    networks: &mut Networks,
    recipe: &Recipe,
) -> Result<(f64, usize), EngineError> {
    let start = Instant::now();
    let mixer = Arc::new(session.open_mix(recipe).await?);
    let size = Size { n: 2, h: 16, w: 16 };
    let tensors = networks.fill(&mixer, Most::at_once(size), &mut Control::default()).await?;
    bench.gpu.finished().await?;
    Ok((start.elapsed().as_secs_f64(), tensors))
}
