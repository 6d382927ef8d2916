//! The small pictures of the built-in things: `cargo run --release --workspace --example thumbnails` writes assets/thumbnails/NAME.png, which the studio
//! holds. Adapters are shown by the first example of assets/adapters/catalogue.json, models by an apple.

use std::path::PathBuf;

use admix_engine::files::builtin::{self, Item, Kind};
use admix_engine::mix::recipe::{AdapterUse, ModelUse, Recipe, Sample, Stage};
use admix_engine::{Control, EngineError, Given, Session};

/// Pixels along an edge: as the studio keeps those it makes.
const EDGE: usize = 64;
/// What models are shown by.
const PLAIN: &str = "red apple";

/// The prompt of the first example and the weight of an adapter, as its trainer wrote them down.
fn example(catalogue: &serde_json::Value, name: &str) -> (String, f64) {
    let entry = catalogue.as_array().into_iter().flatten().find(|entry| entry["name"] == name);
    let prompt = entry.and_then(|e| e["examples"][0].as_str()).unwrap_or(PLAIN);
    (prompt.into(), entry.and_then(|e| e["weight"].as_f64()).unwrap_or(1.0))
}

fn recipe(item: &Item, catalogue: &serde_json::Value) -> Recipe {
    let reference = format!("builtin:{}", item.name);
    let mut recipe = Recipe::new("builtin");
    let mut prompt = PLAIN.to_string();
    match item.kind {
        Kind::Model => recipe.base = ModelUse::new(reference, 1.0).source,
        Kind::FineTune => recipe.merge.push(Stage {
            method: "weighted_sum".into(),
            models: vec![ModelUse::new(reference, 1.0)],
            params: Default::default(),
            blocks: Default::default(),
            seed: None,
        }),
        Kind::Adapter => {
            let weight;
            (prompt, weight) = example(catalogue, &item.name);
            recipe.adapters.push(AdapterUse::new(reference, weight));
        }
    }
    recipe.sample =
        Sample { prompt: Some(prompt), seed: Some(1), steps: Some(20), cfg: Some(5.0), ..Sample::default() };
    recipe
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let assets = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let out = assets.join("thumbnails");
    std::fs::create_dir_all(&out)?;
    let catalogue = serde_json::from_slice(&std::fs::read(assets.join("adapters/catalogue.json"))?)?;
    let mut session = pollster::block_on(Session::open(&Default::default()))?;
    for item in builtin::catalogue()? {
        let recipe = recipe(&item, &catalogue);
        let rendered = pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()))?;
        let picture = rendered.pictures.first().ok_or(EngineError::Cancelled)?.resized(EDGE, EDGE);
        let path = out.join(format!("{}.png", item.name));
        std::fs::write(&path, picture.to_png(&[])?)?;
        println!("{}: {}", path.display(), recipe.sample.prompt.unwrap_or_default());
    }
    Ok(())
}
