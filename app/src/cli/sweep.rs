//! `admix sweep`: WiSE-FT's walk from a model to its fine-tune, with the loss and its sharpness on the way.

use std::path::PathBuf;

use admix_engine::Control;
use admix_engine::mix::Recipe;
use admix_engine::soup::{self, Sweep};
use serde_json::{Value, json};

use super::fault::Fault;
use super::progress::Bar;
use super::{output, recipe, shown};

/// Arguments of `admix sweep`.
#[derive(clap::Args)]
pub struct SweepArgs {
    /// Where the walk begins: the base
    #[arg(value_name = "REF")]
    base: String,
    /// Where it ends: the fine-tune
    #[arg(value_name = "REF")]
    model: String,
    /// Pictures to score with: each with a .txt that describes it, or named by what it shows
    #[arg(long, value_name = "DIR")]
    pictures: PathBuf,
    /// Places from the base to the fine-tune, both counted
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u16).range(2..=101))]
    points: u16,
    /// The recipe of the best place
    #[arg(long, value_name = "RECIPE.json")]
    out: PathBuf,
}

/// Walks and writes the recipe of the best place.
pub fn run(args: &SweepArgs, json: bool) -> Result<(), Fault> {
    output::check_target(&args.out, "--out")?;
    let shown = shown::read(&args.pictures)?;
    let like = Recipe::new(&args.base);
    recipe::check_files(&like, true)?;
    recipe::check_files(&Recipe::new(&args.model), false)?;
    let mut session = recipe::open_session(false)?;
    // The same two models at every place.
    session.keeps_inputs = true;
    let mut bar = Bar::new();
    let points = usize::from(args.points);
    let mut done = 0;
    let found = pollster::block_on(soup::sweep(&args.model, &like, points, async |recipe: &Recipe| {
        bar.show("scoring", done, points + 2);
        done += 1;
        session.score(recipe, &shown, &mut Control::default()).await
    }));
    drop(bar);
    let found = found?;
    let mut batch = output::Batch::default();
    batch.add(&args.out, found.recipe.to_json(true).as_bytes())?;
    batch.finish()?;
    if json {
        let mut value = serde_json::to_value(&found).unwrap_or(Value::Null);
        value["out"] = json!(args.out.display().to_string());
        value["pictures"] = json!(shown.len());
        output::print_json(&value);
    } else {
        output::print(&table(&found, shown.len()));
        output::print(&args.out.display().to_string());
    }
    Ok(())
}

fn table(sweep: &Sweep, pictures: usize) -> String {
    let mut lines = vec![format!("loss over {pictures} pictures, lower is better"), String::new()];
    lines.push(format!("{:>6} {:>9} {:>10}", "alpha", "loss", "sharpness"));
    for p in &sweep.points {
        let mark = if p.alpha == sweep.best { "  best" } else { "" };
        lines.push(format!("{:>6.3} {:>9.5} {:>10.4}{mark}", p.alpha, p.loss, p.sharpness));
    }
    lines
        .push(format!("barrier {:.5}: how far the loss rises above the straight line between the ends", sweep.barrier));
    lines.join("\n")
}
