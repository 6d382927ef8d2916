//! Does a mix's interference predict trouble? `cargo run --release --example interference [adapters [weights]]`, both with commas between; built-in
//! adapters at 0.6 and 1 where nothing is said.
//!
//! Pairs of adapters are rendered beside each one alone and none: one prompt, one seed. Trouble is how far the latents of both are from the sum of what
//! each does alone, |z_ab - z_a - z_b + z_0|, beside |z_a - z_0| + |z_b - z_0|: 0 where adapters leave each other in peace. It is held against the
//! figures of `admix inspect --against`, by Spearman's rank correlation.

use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::{Control, EngineError, Given, Session};

const ADAPTERS: &str = "blueprint,line-art,neon,night,pixel,sketch,watercolour,twemoji-hand,robot,unicorn";
const WEIGHTS: &str = "0.6,1";

/// A recipe of adapters at one weight.
fn recipe(adapters: &[&str], weight: f64) -> Recipe {
    let mut recipe = Recipe::new("builtin");
    recipe.adapters = adapters.iter().map(|a| AdapterUse::new(format!("builtin:{a}"), weight)).collect();
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        seed: Some(1),
        steps: Some(8),
        cfg: Some(4.0),
        ..Sample::default()
    };
    // Nothing is merged: a pair costs its picture alone.
    recipe.sample.set.insert(admix_engine::settings::ADAPTERS_KNOB.into(), "unmerged".into());
    recipe
}

fn latents(session: &mut Session, adapters: &[&str], weight: f64) -> Result<Vec<f32>, EngineError> {
    let recipe = recipe(adapters, weight);
    Ok(pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()))?.latents)
}

/// Places in rising order, from 0; equal numbers share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |v: f64| values.iter().filter(|o| **o < v).count() as f64;
    let equal = |v: f64| values.iter().filter(|o| **o == v).count() as f64;
    values.iter().map(|v| below(*v) + (equal(*v) - 1.0) / 2.0).collect()
}

/// Spearman's rank correlation; 0 where one does not vary.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let centred = |values: &[f64]| -> Vec<f64> {
        let ranks = ranks(values);
        let mean = ranks.iter().sum::<f64>() / ranks.len() as f64;
        ranks.iter().map(|r| r - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if lengths > 0.0 { dot(&a, &b) / lengths } else { 0.0 }
}

fn length(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let adapters = words.next().unwrap_or_else(|| ADAPTERS.into());
    let adapters: Vec<&str> = adapters.split(',').collect();
    let weights = words.next().unwrap_or_else(|| WEIGHTS.into());
    let weights: Vec<f64> = weights.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut session = pollster::block_on(Session::open(&Default::default()))?;
    let none = latents(&mut session, &[], 1.0)?;
    let names = ["interference - chance", "worst block's", "range", "cosine", "|cosine|", "sum / base"];
    let (mut figures, mut troubles): (Vec<Vec<f64>>, Vec<f64>) = (vec![Vec::new(); names.len()], Vec::new());
    println!("| Pair | Weight | Trouble | Interference | Chance | Range | Cosine |\n|---|---|---|---|---|---|---|");
    for weight in weights {
        let alone = adapters.iter().map(|a| latents(&mut session, &[a], weight)).collect::<Result<Vec<_>, _>>()?;
        for (i, a) in adapters.iter().enumerate() {
            for (j, b) in adapters.iter().enumerate().skip(i + 1) {
                let both = latents(&mut session, &[a, b], weight)?;
                let moved = |z: &[f32]| length(z.iter().zip(&none).map(|(z, n)| z - n));
                let (za, zb) = (&alone[i], &alone[j]);
                let left = (0..none.len()).map(|e| both[e] - za[e] - zb[e] + none[e]);
                let trouble = length(left) / (moved(za) + moved(zb));
                let told = pollster::block_on(session.understand(&recipe(&[a, b], weight), &mut |_, _| true))?;
                let (whole, cosine) = (&told.whole, told.whole.pairs.first().map_or(0.0, |p| p.cosine));
                let beyond = |f: &admix_engine::mix::understand::BlockFigures| f.interference - f.chance;
                let worst = told.blocks.iter().map(beyond).fold(f64::NEG_INFINITY, f64::max);
                println!(
                    "| {a}, {b} | {weight} | {trouble:.3} | {:.3} | {:.3} | {:.2} | {cosine:.3} |",
                    whole.interference, whole.chance, whole.range
                );
                let row = [beyond(whole), worst, whole.range, cosine, cosine.abs(), whole.sum / whole.base];
                figures.iter_mut().zip(row).for_each(|(all, value)| all.push(value));
                troubles.push(trouble);
            }
        }
    }
    println!("\n{} pairs. Rank correlation with trouble:", troubles.len());
    for (name, values) in names.iter().zip(&figures) {
        println!("{name:24} {:+.2}", spearman(values, &troubles));
    }
    Ok(())
}
