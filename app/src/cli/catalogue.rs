//! `admix catalogue`: the cards of adapters as `suggest` reads them; a person's changes to them; what they do, seen in pictures.

use std::path::PathBuf;

use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::select::card::Seen;
use admix_engine::select::describe::{Look, View, describe};
use admix_engine::select::{Card, Edits, Entry, Home, Kind, Shelf};
use admix_engine::{Cancel, Control, Given, Picture, Session};
use serde_json::{Value, json};

use super::fault::Fault;
use super::library::LibraryArgs;
use super::progress::Bar;
use super::{cancel, output, recipe, values};

/// Arguments of `admix catalogue`.
#[derive(clap::Args)]
pub struct CatalogueArgs {
    #[command(flatten)]
    library: LibraryArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Every card in a line
    List,
    /// One card in full
    Show {
        /// Its name or its reference
        name: String,
    },
    /// Change a card; what is said here wins over what files say, now and after every new indexing
    Edit(Box<EditArgs>),
    /// Draw a few prompts without the adapter and with it and note what changed; the first becomes its thumbnail
    Describe(DescribeArgs),
}

#[derive(clap::Args)]
struct EditArgs {
    /// Its name or its reference
    name: String,
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// What it does, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A word that calls it up, in place of those it has; may be repeated
    #[arg(long, value_name = "TEXT")]
    trigger: Vec<String>,
    /// A label, in place of those it has; may be repeated
    #[arg(long, value_name = "TEXT")]
    tag: Vec<String>,
    /// subject, style, character, pose, concept-slider, quality or speed
    #[arg(long, value_name = "KIND", value_parser = values::kind)]
    kind: Option<Kind>,
    /// Class of models: sd1, sd2, sdxl
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Its licence
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Recommended weight
    #[arg(long, value_name = "F", allow_hyphen_values = true)]
    weight: Option<f64>,
    /// Weights worth trying, lowest and highest
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = range)]
    range: Option<[f64; 2]>,
    /// A picture for it
    #[arg(long, value_name = "FILE")]
    thumbnail: Option<PathBuf>,
    /// Forget all changes first
    #[arg(long)]
    clear: bool,
}

#[derive(clap::Args)]
struct DescribeArgs {
    /// Names or references
    #[arg(required = true)]
    names: Vec<String>,
    /// The model that draws [default: builtin]
    #[arg(long, value_name = "REF", default_value = "builtin")]
    model: String,
    /// A prompt of the sweep, in place of the usual four; may be repeated. The adapter's first trigger is added to each
    #[arg(long, value_name = "TEXT")]
    prompt: Vec<String>,
    /// Sampling steps
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::steps)]
    steps: u32,
    /// Seed of the pictures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the pictures side by side into a PNG: above without, below with
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
}

/// Things that any model can draw, plain enough for changes to show.
const SWEEP: [&str; 4] = ["cat face", "red apple", "rocket", "house"];
/// Longest edge of a thumbnail.
const THUMBNAIL: usize = 128;

fn range(text: &str) -> Result<[f64; 2], String> {
    let parts: Vec<f64> = text.split(',').filter_map(|p| p.trim().parse().ok()).collect();
    match parts[..] {
        [low, high] if low.is_finite() && high.is_finite() && low <= high => Ok([low, high]),
        _ => Err("two numbers are wanted, as in 0.4,1.2".into()),
    }
}

/// Does what was asked for.
pub fn run(args: &CatalogueArgs, json: bool) -> Result<(), Fault> {
    let cancel = cancel::on_ctrl_c();
    let shelf = args.library.open(&cancel)?;
    match &args.action {
        Action::List => list(&shelf, json),
        Action::Show { name } => show(&shelf.entries[find(&shelf, name)?], json),
        Action::Edit(edit) => {
            let at = find(&shelf, &edit.name)?;
            change(&shelf.homes[at], edit)?;
            let again = args.library.open(&cancel)?;
            show(&again.entries[at], json);
        }
        Action::Describe(args) => describe_all(&shelf, args, &cancel, json)?,
    }
    Ok(())
}

/// The place of an adapter. Errors: none of that name, or several.
fn find(shelf: &Shelf, name: &str) -> Result<usize, Fault> {
    let places = |same: &dyn Fn(&Entry) -> bool| -> Vec<usize> {
        (0..shelf.entries.len()).filter(|at| same(&shelf.entries[*at])).collect()
    };
    let mut found = places(&|e| e.reference == name);
    if found.is_empty() {
        found = places(&|e| e.name == name);
    }
    match found[..] {
        [at] => Ok(at),
        [] => Err(Fault::input(format!("there is no adapter \"{name}\"; `admix catalogue list` names them"))),
        _ => {
            let all: Vec<&str> = found.iter().map(|at| shelf.entries[*at].reference.as_str()).collect();
            Err(Fault::input(format!("\"{name}\" is the name of several adapters; say which: {}", all.join(", "))))
        }
    }
}

fn change(home: &Home, args: &EditArgs) -> Result<(), Fault> {
    let many = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let edits = Edits {
        title: args.title.clone(),
        description: args.description.clone(),
        triggers: many(&args.trigger),
        tags: many(&args.tag),
        kind: args.kind,
        family: args.family.clone(),
        licence: args.licence.clone(),
        weight: args.weight,
        range: args.range,
        thumbnail: match &args.thumbnail {
            Some(path) => Some(picture_path(path)?),
            None => None,
        },
    };
    if edits == Edits::default() && !args.clear {
        return Err(Fault::input("nothing to change: name at least one field, as in --title \"Ink\""));
    }
    if args.clear {
        pollster::block_on(home.clear())?;
    }
    if edits != Edits::default() {
        pollster::block_on(home.edit(edits))?;
    }
    Ok(())
}

/// The absolute path of a picture that can be read.
fn picture_path(path: &std::path::Path) -> Result<String, Fault> {
    Picture::decode(&recipe::read_file(path)?, &path.display().to_string())?;
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Ok(whole.display().to_string())
}

fn list(shelf: &Shelf, json: bool) {
    if json {
        let items: Vec<Value> = shelf.entries.iter().map(card_json).collect();
        return output::print_json(&json!({ "items": items }));
    }
    for entry in &shelf.entries {
        let card = entry.card();
        let family = card.family.as_deref().unwrap_or("?");
        let about = if card.description.is_empty() { card.triggers.join(", ") } else { card.description.clone() };
        let about: String = output::one_line(&about).chars().take(60).collect();
        let title = output::one_line(&card.title);
        let line = format!("{:<24} {:<14} {family:<5} {title:<28} {about}", entry.name, card.kind.name());
        output::print(line.trim_end());
    }
}

fn card_json(entry: &Entry) -> Value {
    let card = entry.card();
    let captions: Vec<Value> = card.captions.iter().map(|c| json!({ "text": c.text, "share": c.share })).collect();
    json!({
        "name": entry.name, "ref": entry.reference, "key": entry.key, "title": card.title, "description": card.description,
        "triggers": card.triggers, "tags": card.tags, "captions": captions, "kind": card.kind.name(), "family": card.family,
        "context": card.context, "licence": card.licence, "weight": card.weight, "range": card.range,
        "resolution": card.resolution.map(|(w, h)| [w, h]), "thumbnail": card.thumbnail, "seen": card.seen,
        "sources": card.sources, "edited": serde_json::to_value(&entry.edits).unwrap_or(Value::Null)
    })
}

fn show(entry: &Entry, json: bool) {
    if json {
        return output::print_json(&card_json(entry));
    }
    let card = entry.card();
    let Card { title, description, kind, weight, range: [low, high], .. } = &card;
    let joined = |list: &[String]| list.join(", ");
    let size = card.resolution.map(|(w, h)| format!("{w} x {h}")).unwrap_or_default();
    for (name, value) in [
        ("title", title.clone()),
        ("kind", kind.name().to_owned()),
        ("description", description.clone()),
        ("seen", card.seen.clone()),
        ("triggers", joined(&card.triggers)),
        ("tags", joined(&card.tags)),
        ("captions", joined(&card.captions.iter().map(|c| c.text.clone()).collect::<Vec<_>>())),
        ("made for", card.family.clone().unwrap_or_default()),
        ("trained at", size),
        ("licence", card.licence.clone().unwrap_or_default()),
        ("weight", format!("{weight} (worth trying: {low} to {high})")),
        ("thumbnail", card.thumbnail.clone().unwrap_or_default()),
        ("known from", joined(&card.sources)),
        ("file", entry.reference.clone()),
    ] {
        if !value.is_empty() {
            output::print(&format!("{name:<12} {}", output::one_line(&value)));
        }
    }
    if entry.edits != Edits::default() {
        output::print("edited       yes; `admix catalogue edit NAME --clear` forgets that");
    }
}

fn describe_all(shelf: &Shelf, args: &DescribeArgs, cancel: &Cancel, json: bool) -> Result<(), Fault> {
    if let Some(path) = &args.sheet {
        output::check_target(path, "--sheet")?;
    }
    let places = args.names.iter().map(|name| find(shelf, name)).collect::<Result<Vec<usize>, Fault>>()?;
    let mut session = recipe::open_session(false)?;
    let mut bar = Bar::new();
    let mut told = Vec::new();
    let mut drawn: Vec<Picture> = Vec::new();
    for (done, at) in places.iter().enumerate() {
        bar.show("adapters", done, places.len());
        let entry = &shelf.entries[*at];
        let (seen, pairs) = sweep(&mut session, entry, args, cancel)?;
        let thumbnail = pairs.first().map(|(_, with)| thumbnail(with)).transpose()?.unwrap_or_default();
        pollster::block_on(shelf.homes[*at].keep_seen(seen.clone(), &thumbnail))?;
        told.push(json!({ "name": entry.name, "ref": entry.reference, "seen": seen.text, "prompts": seen.prompts, "model": seen.model }));
        let (without, with): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        drawn.extend(without.into_iter().chain(with));
    }
    drop(bar);
    if let Some(path) = &args.sheet {
        let columns = if args.prompt.is_empty() { SWEEP.len() } else { args.prompt.len() };
        let mut file = output::Batch::default();
        file.add(path, &Picture::sheet(&drawn, columns, 8).to_png(&[])?)?;
        file.finish()?;
    }
    if json {
        output::print_json(&json!({ "items": told }));
    } else {
        for one in &told {
            let text = |key: &str| one[key].as_str().unwrap_or_default();
            output::print(&format!("{}: {}", text("name"), text("seen")));
        }
    }
    Ok(())
}

fn thumbnail(picture: &Picture) -> Result<Vec<u8>, Fault> {
    let longest = picture.width.max(picture.height).max(1);
    let side = |n: usize| if longest > THUMBNAIL { (n * THUMBNAIL / longest).max(1) } else { n };
    Ok(picture.resized(side(picture.width), side(picture.height)).to_png(&[])?)
}

/// Pictures without the adapter and with it, from the same words and seeds, and what they tell.
fn sweep(
    session: &mut Session,
    entry: &Entry,
    args: &DescribeArgs,
    cancel: &Cancel,
) -> Result<(Seen, Vec<(Picture, Picture)>), Fault> {
    let card = entry.card();
    let usual: Vec<String> = SWEEP.map(str::to_owned).to_vec();
    let prompts = if args.prompt.is_empty() { &usual } else { &args.prompt };
    let with_trigger = |prompt: &String| match card.triggers.first() {
        Some(trigger) => format!("{prompt}, {trigger}"),
        None => prompt.clone(),
    };
    let prompts: Vec<String> = prompts.iter().map(with_trigger).collect();
    let mut pairs = Vec::new();
    for prompt in &prompts {
        let mut draw = |with: bool| -> Result<Picture, Fault> {
            let mut recipe = Recipe::new(&args.model);
            if with {
                recipe.adapters.push(AdapterUse::new(&entry.reference, card.weight));
            }
            let sample = Sample {
                prompt: Some(prompt.clone()),
                seed: Some(args.seed),
                steps: Some(args.steps),
                ..Sample::default()
            };
            recipe.sample = sample;
            let mut control = Control { cancel: cancel.clone(), ..Control::default() };
            let rendered = pollster::block_on(session.render(&recipe, &Given::default(), &mut control))?;
            rendered.pictures.into_iter().next().ok_or_else(|| Fault::other("the model drew nothing"))
        };
        pairs.push((draw(false)?, draw(true)?));
    }
    let look = |p: &Picture| Look::of(View { width: p.width, rgb: &p.rgb });
    let looks: Vec<(Look, Look)> = pairs.iter().map(|(a, b)| (look(a), look(b))).collect();
    Ok((Seen { text: describe(&looks), model: args.model.clone(), prompts }, pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers() {
        assert_eq!(range("0.4, 1.2"), Ok([0.4, 1.2]));
        assert_eq!(range("-2,2"), Ok([-2.0, 2.0]));
        for wrong in ["", "1", "2,1", "a,b", "1,2,3", "nan,1"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
