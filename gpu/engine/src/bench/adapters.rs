//! Un-merged adapters: how many stay on the device, what switching and a weight cost, and what each adds to a step.

use std::sync::Arc;

use admix_files::builtin::{Kind, catalogue};
use admix_files::{Bundle, MemSource};
use admix_mix::recipe::{AdapterUse, Recipe};
use admix_tensor::Program;
use web_time::Instant;

use super::{Figure, Measure, built_in};
use crate::networks::Networks;
use crate::settings::ADAPTERS_KNOB;
use crate::{EngineError, Session};

/// Adapters that are made resident.
const RESIDENT: usize = 64;

fn reference(i: usize) -> String {
    format!("bench:{i}")
}

/// Copies of the built-in adapters, each a file of its own: the last value differs.
fn register(session: &mut Session) -> Result<usize, EngineError> {
    let files: Vec<_> = catalogue()?.into_iter().filter(|item| item.kind == Kind::Adapter).collect();
    for i in 0..if files.is_empty() { 0 } else { RESIDENT } {
        let item = &files[i % files.len()];
        let mut bytes = std::fs::read(&item.path)
            .map_err(|e| EngineError::Input(format!("cannot read {}: {e}", item.path.display())))?;
        if let Some(low) = bytes.iter_mut().rev().nth(1) {
            *low = i as u8;
        }
        session.add_source(
            reference(i),
            Bundle::file(format!("{}.safetensors", item.name), Arc::new(MemSource::new(bytes))),
        );
    }
    Ok(files.len().min(RESIDENT))
}

/// A recipe with adapters beside the weights.
fn beside(adapters: impl Iterator<Item = (usize, f64)>) -> Recipe {
    let mut recipe = built_in();
    recipe.adapters = adapters.map(|(i, weight)| AdapterUse::new(reference(i), weight)).collect();
    recipe.sample.set.insert(ADAPTERS_KNOB.into(), "unmerged".into());
    recipe
}

/// Milliseconds from a recipe to its adapters in place.
async fn attach(
    session: &mut Session,
    bench: &Measure,
    networks: &mut Networks,
    recipe: &Recipe,
) -> Result<f64, EngineError> {
    let start = Instant::now();
    let mixer = session.open_mix(recipe).await?;
    networks.attach_side(&mixer)?;
    bench.gpu.finished().await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// `step`: seconds of a step without adapters; `program` records one.
pub(super) async fn figures(
    session: &mut Session,
    bench: &Measure,
    networks: &mut Networks,
    step: f64,
    program: &dyn Fn(&Networks) -> Result<Arc<Program>, EngineError>,
) -> Result<Vec<Figure>, EngineError> {
    if register(session)? == 0 {
        return Ok(Vec::new());
    }
    let milliseconds = step * 1e3;
    let within = |name: &str, value: f64, what: &str| Figure {
        limit: Some(milliseconds),
        ratio: Some(milliseconds / value),
        ..Figure::new(name, value, "ms").of(what)
    };
    let mut figures = Vec::new();
    // One after another, then again: the second time nothing is uploaded.
    for round in 0..2 {
        let mut times = Vec::new();
        for i in 0..RESIDENT {
            times.push(attach(session, bench, networks, &beside([(i, 1.0)].into_iter())).await?);
        }
        times.sort_by(f64::total_cmp);
        let (name, what) = match round {
            0 => ("adapter_first", "to an adapter that is not there yet; limit: a step"),
            _ => ("adapter_switch", "to another of those that are there; limit: a step"),
        };
        figures.push(within(name, times[RESIDENT / 2], what));
    }
    let (count, bytes) = (networks.beside.pool.len(), networks.beside.pool.bytes());
    let what = format!("un-merged adapters on the device, {:.1} MB of pages", bytes as f64 / 1e6);
    figures.push(Figure::new("adapters_resident", count as f64, "calls").of(what));
    let mut times = Vec::new();
    for i in 0..8 {
        let recipe = beside([(0, 0.5 + f64::from(i) / 10.0)].into_iter());
        times.push(attach(session, bench, networks, &recipe).await?);
    }
    times.sort_by(f64::total_cmp);
    figures.push(within("adapter_weight", times[4], "one weight moved, un-merged; limit: a step"));
    for count in [1, 4, 16] {
        attach(session, bench, networks, &beside((0..count).map(|i| (i, 0.1)))).await?;
        networks.set_active(|_| true)?;
        let seconds = bench.seconds(&*program(networks)?).await?;
        let each = (seconds - step) * 1e3 / count as f64;
        let what =
            format!("each of {count} beside the weights adds to a step, {:.0} % of it", 100.0 * each / milliseconds);
        figures.push(Figure::new(&format!("adapter_step_{count}"), each, "ms").of(what));
    }
    let mixer = session.open_mix(&built_in()).await?;
    networks.attach_side(&mixer)?;
    Ok(figures)
}
