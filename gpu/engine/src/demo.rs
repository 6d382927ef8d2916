//! The demonstration: recipes for a contact sheet of the built-in model, its adapters and a merge. Rows differ in the mix, columns in prompt and seed.

use admix_files::adapter::Adapter;
use admix_files::builtin::{self, Item, Kind};
use admix_mix::recipe::{AdapterUse, ModelUse, Recipe, Sample, Stage};

use crate::EngineError;

/// Columns of the sheet.
pub const COLUMNS: usize = 4;
/// Seed of the first column; the others follow.
const SEED: u64 = 1;
/// Subjects to prefer, where the model's list of names has them.
const SUBJECTS: [&str; 8] = ["cat face", "red apple", "rocket", "hamburger", "rose", "penguin", "automobile", "house"];
/// Adapters to prefer, where they are built in: styles show best side by side.
const STYLES: [&str; 6] = ["watercolour", "neon", "pixel", "line-art", "night", "blueprint"];

/// One picture of the sheet.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Name of its file, without `.png`.
    pub name: String,
    /// What it shows, for the legend.
    pub caption: String,
    /// How it is made.
    pub recipe: Recipe,
}

/// One row of the sheet.
#[derive(Clone, Debug)]
pub struct Row {
    /// What its pictures have in common.
    pub title: String,
    /// [`COLUMNS`] pictures.
    pub cells: Vec<Cell>,
}

/// What the sheet will hold.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Rows from top to bottom.
    pub rows: Vec<Row>,
    /// Rows that cannot be made because something is not built in, a line each.
    pub skipped: Vec<String>,
}

/// An adapter with the word that calls it up.
struct Style {
    name: String,
    trigger: String,
}

/// Prompts from the model's list: preferred subjects first, then the list's own, evenly spaced.
fn prompts(names: &str) -> Vec<String> {
    let all: Vec<&str> = names.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let mut chosen: Vec<&str> = SUBJECTS.into_iter().filter(|s| all.contains(s)).take(COLUMNS).collect();
    let step = (all.len() / COLUMNS).max(1);
    for name in all.iter().step_by(step) {
        if chosen.len() < COLUMNS && !chosen.contains(name) {
            chosen.push(name);
        }
    }
    if chosen.is_empty() {
        chosen = SUBJECTS[..COLUMNS].to_vec();
    }
    chosen.iter().cycle().take(COLUMNS).map(|s| (*s).to_string()).collect()
}

/// The preferred adapters that are there, then any others.
fn styles(items: &[Item]) -> Vec<Style> {
    let adapters: Vec<&Item> = items.iter().filter(|i| i.kind == Kind::Adapter).collect();
    let preferred = STYLES.iter().filter_map(|s| adapters.iter().find(|i| i.name == *s));
    let others = adapters.iter().filter(|i| !STYLES.contains(&i.name.as_str()));
    let open = |i: &&Item| {
        let adapter = Adapter::open(&i.path).ok()?;
        adapter.check_supported().ok()?;
        let trigger = adapter.triggers.first().cloned().unwrap_or_default();
        Some(Style { name: i.name.clone(), trigger })
    };
    preferred.chain(others).filter_map(open).take(2).collect()
}

fn recipe(prompt: String, column: usize) -> Recipe {
    let mut recipe = Recipe::new("builtin");
    recipe.sample = Sample {
        prompt: Some(prompt),
        seed: Some(SEED + column as u64),
        steps: Some(20),
        cfg: Some(7.0),
        ..Sample::default()
    };
    recipe
}

/// A row of one picture per prompt. `change` turns a plain recipe into that column's mix and says what it did.
fn row(key: &str, title: &str, prompts: &[String], change: impl Fn(usize, &str) -> (Recipe, String)) -> Row {
    let cell = |(i, prompt): (usize, &String)| {
        let (recipe, what) = change(i, prompt);
        Cell { name: format!("{key}-{}", i + 1), caption: format!("{prompt}{what}"), recipe }
    };
    Row { title: title.into(), cells: prompts.iter().enumerate().map(cell).collect() }
}

/// With the words that call the adapters up behind the prompt.
fn styled(prompt: &str, column: usize, styles: &[(&Style, f64)]) -> Recipe {
    let mut text = prompt.to_string();
    for (style, _) in styles.iter().filter(|(s, _)| !s.trigger.is_empty()) {
        text.push_str(&format!(", {}", style.trigger));
    }
    let mut recipe = recipe(text, column);
    recipe.adapters = styles.iter().map(|(s, w)| AdapterUse::new(format!("builtin:{}", s.name), *w)).collect();
    recipe
}

/// Plans the sheet from what is built in. Errors: no assets folder, no model in it.
pub fn plan() -> Result<Plan, EngineError> {
    let items = builtin::catalogue()?;
    let model = builtin::resolve_model("builtin")?;
    let names = std::fs::read_to_string(model.join("names.txt")).unwrap_or_default();
    let prompts = prompts(&names);
    let mut plan = Plan::default();
    plan.rows.push(row("plain", "the built-in model", &prompts, |i, p| (recipe(p.into(), i), String::new())));
    // Fewer adapters leave fewer rows; the plain model at other guidance keeps the sheet a sheet.
    plan.rows.push(row("guidance", "guidance 2, 4, 7 and 12", &prompts, |i, p| {
        let mut recipe = recipe(p.into(), i);
        let cfg = [2.0, 4.0, 7.0, 12.0][i % 4];
        recipe.sample.cfg = Some(cfg);
        (recipe, format!(", cfg {cfg}"))
    }));
    let styles = styles(&items);
    match &styles[..] {
        [] => plan.skipped.push("no adapter is built in, so no row shows one".into()),
        [a, rest @ ..] => {
            let title = format!("adapter {} at 1", a.name);
            plan.rows.push(row(&a.name, &title, &prompts, |i, p| (styled(p, i, &[(a, 1.0)]), format!(", {}", a.name))));
            match rest {
                [] => plan.skipped.push("only one adapter is built in, so no row shows two".into()),
                [b, ..] => {
                    let title = format!("adapter {} at 1", b.name);
                    plan.rows.push(row(&b.name, &title, &prompts, |i, p| {
                        (styled(p, i, &[(b, 1.0)]), format!(", {}", b.name))
                    }));
                    let title = format!("both adapters: {} at 0.7, {} at 0.7", a.name, b.name);
                    plan.rows.push(row("both", &title, &prompts, |i, p| {
                        (styled(p, i, &[(a, 0.7), (b, 0.7)]), format!(", {} and {}", a.name, b.name))
                    }));
                }
            }
        }
    }
    match items.iter().find(|i| i.kind == Kind::FineTune) {
        None => plan.skipped.push("no fine-tune is built in, so no row shows a merge".into()),
        Some(tune) => {
            let title = format!("merged with {} (weighted_sum) at 0.25, 0.5, 0.75 and 1", tune.name);
            plan.rows.push(row("merge", &title, &prompts, |i, p| {
                let mut recipe = recipe(p.into(), i);
                let weight = 0.25 * (i + 1) as f64;
                recipe.merge.push(Stage {
                    method: "weighted_sum".into(),
                    models: vec![ModelUse::new(format!("builtin:{}", tune.name), weight)],
                    params: Default::default(),
                    blocks: Default::default(),
                    seed: None,
                });
                (recipe, format!(", {} at {weight}", tune.name))
            }));
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_prompt_for_each_column() {
        assert_eq!(prompts("a\nrose\nb\n\nrocket\nc"), ["rocket", "rose", "a", "b"]);
        assert_eq!(prompts("only"), ["only"; 4]);
        assert_eq!(prompts("").len(), COLUMNS);
    }
}
