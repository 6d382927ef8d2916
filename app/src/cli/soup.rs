//! `admix soup`: the greedy soup of several models, by how well they denoise pictures they are shown.

use std::path::PathBuf;

use admix_engine::Control;
use admix_engine::mix::Recipe;
use admix_engine::soup::{Soup, greedy};
use serde_json::{Value, json};

use super::fault::Fault;
use super::progress::Bar;
use super::{output, recipe, shown};

/// Arguments of `admix soup`.
#[derive(clap::Args)]
pub struct SoupArgs {
    /// The models, two or more: fine-tunes of one base, and the base itself if it may join
    #[arg(value_name = "REF", required = true, num_args = 2..)]
    models: Vec<String>,
    /// A whole model that gives what the others lack, a VAE perhaps [default: the first]
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Pictures that the models have not seen: each with a .txt that describes it, or named by what it shows
    #[arg(long, value_name = "DIR")]
    pictures: PathBuf,
    /// The recipe of the soup
    #[arg(long, value_name = "RECIPE.json")]
    out: PathBuf,
}

/// Looks for the soup and writes its recipe.
pub fn run(args: &SoupArgs, json: bool) -> Result<(), Fault> {
    output::check_target(&args.out, "--out")?;
    let shown = shown::read(&args.pictures)?;
    let base = args.base.as_ref().unwrap_or(&args.models[0]);
    let like = Recipe::new(base);
    recipe::check_files(&like, true)?;
    for model in &args.models {
        recipe::check_files(&Recipe::new(model), false)?;
    }
    let mut session = recipe::open_session(false)?;
    // The same models in every mean.
    session.keeps_inputs = true;
    let mut bar = Bar::new();
    let mut done = 0;
    let total = 2 * args.models.len() - 1;
    let soup = pollster::block_on(greedy(&args.models, &like, async |recipe: &Recipe| {
        bar.show("scoring", done, total);
        done += 1;
        session.score(recipe, &shown, &mut Control::default()).await
    }));
    drop(bar);
    let soup = soup?;
    let mut batch = output::Batch::default();
    batch.add(&args.out, soup.recipe.to_json(true).as_bytes())?;
    batch.finish()?;
    if json {
        let mut value = serde_json::to_value(&soup).unwrap_or(Value::Null);
        value["out"] = json!(args.out.display().to_string());
        value["pictures"] = json!(shown.len());
        output::print_json(&value);
    } else {
        output::print(&table(&soup, shown.len()));
        output::print(&args.out.display().to_string());
    }
    Ok(())
}

fn table(soup: &Soup, pictures: usize) -> String {
    let mut lines = vec![format!("loss over {pictures} pictures, lower is better"), String::new()];
    lines.push(format!("{:<32} {:>9} {:>9}", "", "alone", "with it"));
    for t in &soup.tried {
        let said = if t.kept { "stays" } else { "left out" };
        lines.push(format!("{:<32} {:>9.5} {:>9.5}  {said}", t.model, t.alone, t.loss));
    }
    lines.push(format!("{:<32} {:>9} {:>9.5}", "the soup", "", soup.loss));
    lines.join("\n")
}
