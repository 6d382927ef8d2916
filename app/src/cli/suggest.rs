//! `admix suggest`: which adapters suit a prompt, at which weights, and which do not and why (Stylus, arXiv 2404.18928).

use std::path::PathBuf;

use admix_engine::files::builtin;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::mix::recipe::Recipe;
use admix_engine::select::compose::{Choice, Suggestion};
use admix_engine::select::describe::View;
use admix_engine::select::folders::shipped_words;
use admix_engine::select::judge;
use admix_engine::select::masks::{self, Candidate, Masks};
use admix_engine::select::{Filter, Kind, Library};
use admix_engine::suggest::Adviser;
use admix_engine::{Cancel, Control, Given, Picture};
use serde_json::{Value, json};

use super::fault::Fault;
use super::library::LibraryArgs;
use super::progress::Bar;
use super::{cancel, output, recipe, values};

/// Arguments of `admix suggest`.
#[derive(clap::Args)]
pub struct SuggestArgs {
    /// What the picture shall show
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    #[command(flatten)]
    library: LibraryArgs,
    /// The model they shall fit [default: builtin]
    #[arg(long, value_name = "REF")]
    model: Option<String>,
    /// Only adapters of this kind (subject, style, character, pose, concept-slider, quality, speed); may be repeated
    #[arg(long, value_name = "KIND", value_parser = values::kind)]
    kind: Vec<Kind>,
    /// Only adapters whose licence contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    licence: Vec<String>,
    /// Only adapters with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Add the first trigger of each adapter whose triggers the prompt lacks, as a click in the studio does; Stylus adds none
    #[arg(long)]
    triggers: bool,
    /// Write the recipe to a file that `admix render --recipe` takes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Render the candidates, from everything on to everything off, side by side into a PNG
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// How many candidates the sheet shows at most, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    candidates: u32,
    /// Candidates from every subset of a topic's adapters, as Stylus's code does it, not only one, all and none, as its paper says
    #[arg(long)]
    power_set: bool,
    /// Draw the candidates and put the best first by a score of contrast and colour; the recipe is then that of the first
    #[arg(long)]
    rank: bool,
    /// Write the recipe of this candidate (its number on the sheet, from 1) instead of the one with everything on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pick: Option<u32>,
    /// Seed of the pictures, and of the draw where there are more candidates than shown
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Sampling steps of the sheet's pictures
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::steps)]
    steps: u32,
}

/// White pixels between the pictures of the sheet.
const GAP: usize = 8;

/// Suggests.
pub fn run(args: &SuggestArgs, json: bool) -> Result<(), Fault> {
    for (path, flag) in [(&args.out, "--out"), (&args.sheet, "--sheet")] {
        if let Some(path) = path {
            output::check_target(path, flag)?;
        }
    }
    let lower = |list: &[String]| list.iter().map(|t| t.to_lowercase()).collect();
    let reference = args.model.as_deref().unwrap_or("builtin");
    let model = Checkpoint::open(builtin::resolve_model(reference)?)?;
    let filter = Filter {
        kinds: args.kind.clone(),
        licences: lower(&args.licence),
        tags: lower(&args.tag),
        ..Filter::default()
    };
    let cancel = cancel::on_ctrl_c();
    let adviser = Adviser::new(shipped_words()?, args.library.open(&cancel)?, &model, filter);
    let suggestion = pollster::block_on(adviser.suggest(&args.prompt));
    let library = adviser.library();
    let adopt = |candidate: &Candidate| {
        let mut recipe = adviser.recipe(reference, &args.prompt, (&suggestion, candidate), args.triggers);
        recipe.sample.seed = Some(args.seed);
        recipe
    };

    let how = if args.power_set { Masks::PowerSet } else { Masks::Paper };
    let mut candidates = masks::candidates(&suggestion, how, args.candidates as usize, args.seed);
    let mut pictures = Vec::new();
    if args.sheet.is_some() || args.rank {
        pictures = draw(candidates.iter().map(adopt).collect(), args, &cancel)?;
    }
    let scores = if args.rank { ranked(&mut candidates, &mut pictures, &args.prompt) } else { Vec::new() };
    let picked = match args.pick {
        None if args.rank => candidates.first().cloned().unwrap_or_else(|| Candidate::everything(&suggestion)),
        None => Candidate::everything(&suggestion),
        Some(n) => candidates.get(n as usize - 1).cloned().ok_or_else(|| {
            Fault::input(format!("--pick: there is no candidate {n}; there are {}", candidates.len()))
        })?,
    };
    let chosen = adopt(&picked);
    if let Some(path) = &args.sheet {
        sheet(path, &pictures)?;
    }
    if let Some(path) = &args.out {
        let mut file = output::Batch::default();
        file.add(path, format!("{}\n", chosen.to_json(true)).as_bytes())?;
        file.finish()?;
    }
    if json {
        output::print_json(&report(&suggestion, library, &chosen, (&candidates, &scores), args));
    } else {
        readable(&suggestion, library);
    }
    Ok(())
}

/// Renders the candidates at few steps with one seed.
fn draw(recipes: Vec<Recipe>, args: &SuggestArgs, cancel: &Cancel) -> Result<Vec<Picture>, Fault> {
    let mut session = recipe::open_session(false)?;
    let mut bar = Bar::new();
    let mut pictures = Vec::new();
    let count = recipes.len();
    for (i, mut recipe) in recipes.into_iter().enumerate() {
        bar.show("candidates", i, count);
        recipe.sample.steps = Some(args.steps);
        let mut control = Control { cancel: cancel.clone(), ..Control::default() };
        let rendered = pollster::block_on(session.render(&recipe, &Given::default(), &mut control))?;
        pictures.extend(rendered.pictures);
    }
    Ok(pictures)
}

/// Puts candidates and their pictures in the order of their scores, the best first.
fn ranked(candidates: &mut Vec<Candidate>, pictures: &mut Vec<Picture>, prompt: &str) -> Vec<f64> {
    let score = |p: &Picture| judge::ALL[0].score(prompt, View { width: p.width, rgb: &p.rgb });
    let pairs = std::mem::take(candidates).into_iter().zip(std::mem::take(pictures));
    let mut all: Vec<(f64, Candidate, Picture)> = pairs.map(|(c, p)| (score(&p), c, p)).collect();
    // Equal ones stay in order: more adapters first.
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut scores = Vec::new();
    for (score, candidate, picture) in all {
        scores.push(score);
        candidates.push(candidate);
        pictures.push(picture);
    }
    scores
}

/// The pictures side by side.
fn sheet(path: &std::path::Path, pictures: &[Picture]) -> Result<(), Fault> {
    let columns = (pictures.len() as f64).sqrt().ceil() as usize;
    let mut file = output::Batch::default();
    file.add(path, &Picture::sheet(pictures, columns.max(1), GAP).to_png(&[])?)?;
    file.finish()
}

fn rounded(value: impl Into<f64>) -> f64 {
    (value.into() * 1000.0).round() / 1000.0
}

fn choice_json(choice: &Choice, library: &Library) -> Value {
    let (entry, card) = (&library.entries()[choice.entry as usize], library.card(choice.entry));
    json!({
        "name": entry.name, "ref": entry.reference, "score": rounded(choice.score), "weight": rounded(choice.weight),
        "title": card.title, "kind": card.kind.name(), "triggers": card.triggers, "range": card.range, "because": choice.because
    })
}

fn report(
    suggestion: &Suggestion,
    library: &Library,
    recipe: &Recipe,
    (candidates, scores): (&[Candidate], &[f64]),
    args: &SuggestArgs,
) -> Value {
    let topics: Vec<Value> = suggestion
        .topics
        .iter()
        .map(|t| {
            json!({
                "text": t.text, "span": t.span, "weight": rounded(t.weight),
                "adapters": t.choices.iter().map(|c| choice_json(c, library)).collect::<Vec<_>>()
            })
        })
        .collect();
    let rejected: Vec<Value> = suggestion.rejected.iter().map(|r| {
        let entry = &library.entries()[r.entry as usize];
        json!({ "name": entry.name, "reason": r.reason, "ref": entry.reference, "topic": r.topic, "score": rounded(r.score) })
    }).collect();
    let names = |c: &Candidate| -> Vec<String> {
        c.on()
            .filter_map(|(t, i, _)| {
                Some(library.entries()[suggestion.topics.get(t)?.choices.get(i)?.entry as usize].name.clone())
            })
            .collect()
    };
    let mut value = json!({
        "prompt": args.prompt, "topics": topics, "rejected": rejected,
        "recipe": serde_json::to_value(recipe).unwrap_or(Value::Null),
        "candidates": candidates.iter().map(names).collect::<Vec<_>>(), "cards": library.len()
    });
    if args.rank {
        value["scores"] = scores.iter().map(|s| rounded(*s)).collect::<Vec<_>>().into();
        value["judge"] = judge::ALL[0].name().into();
    }
    if let Some(path) = &args.sheet {
        value["sheet"] = path.display().to_string().into();
    }
    value
}

fn readable(suggestion: &Suggestion, library: &Library) {
    let name = |entry: u32| &library.entries()[entry as usize].name;
    for topic in &suggestion.topics {
        for c in &topic.choices {
            let card = library.card(c.entry);
            let triggers = if card.triggers.is_empty() {
                String::new()
            } else {
                format!("; triggers: {}", card.triggers.join(", "))
            };
            output::print(&format!(
                "\"{}\": {} at {} (fits {:.2}, {}{triggers})",
                topic.text,
                name(c.entry),
                rounded(c.weight),
                c.score,
                card.kind.name()
            ));
        }
    }
    if suggestion.topics.iter().all(|t| t.choices.is_empty()) {
        output::print("no adapter is needed");
    }
    for r in &suggestion.rejected {
        eprintln!("not {} for \"{}\": {}", name(r.entry), r.topic, r.reason);
    }
}
