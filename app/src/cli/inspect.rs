//! `admix inspect`: what a file is, how well an adapter fits a model, and what it would change there, alone and beside others.

use admix_engine::files::{Bundle, builtin};
use admix_engine::inspect::{self, Against};
use admix_engine::mix::recipe::AdapterUse;
use serde_json::{Map, Value};

use super::fault::Fault;
use super::{figures, output, values};

/// Arguments of `admix inspect`.
#[derive(clap::Args)]
pub struct InspectArgs {
    /// A checkpoint, an adapter, a picture, a recipe, or builtin:NAME
    #[arg(value_name = "FILE")]
    file: String,
    /// The model to hold an adapter or a checkpoint against: a path or builtin:NAME
    #[arg(long, value_name = "REF")]
    against: Option<String>,
    /// An adapter or a checkpoint that lies on that model too: figures of the stack follow. May be given several times
    #[arg(long = "with", value_name = "REF[@WEIGHT]", value_parser = values::adapter, requires = "against")]
    with: Vec<AdapterUse>,
    /// Weight of FILE in that stack
    #[arg(long, default_value_t = 1.0, requires = "against", allow_hyphen_values = true)]
    weight: f64,
}

/// Most keys of one kind that the readable form lists.
const MOST: usize = 12;

/// Inspects and reports.
pub fn run(args: &InspectArgs, json: bool) -> Result<(), Fault> {
    let bundle = Bundle::open(builtin::resolve_any(&args.file)?)?;
    let against = match &args.against {
        Some(reference) => {
            let mut with = Vec::new();
            for used in &args.with {
                let name = &used.source.reference;
                with.push((name.clone(), Bundle::open(builtin::resolve_any(name)?)?, used.weight));
            }
            let model = (reference.clone(), Bundle::open(builtin::resolve_model(reference)?)?);
            Some(Against { model, with, weight: args.weight })
        }
        None => None,
    };
    let about = pollster::block_on(inspect::describe(bundle, against))?;
    if json {
        output::print_json(&about);
    } else {
        output::print(readable(&about).trim_end());
    }
    Ok(())
}

/// The object as lines: plain facts first, then metadata, then the fit.
fn readable(about: &Value) -> String {
    let mut out = String::new();
    let Some(fields) = about.as_object() else { return about.to_string() };
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(facts) if name == "facts" => out.push_str(&facts_text(facts)),
            Value::Object(_) => {}
            Value::String(text) if text.contains('\n') => out.push_str(&format!("{name}:\n{}\n", indent(text))),
            Value::Array(list) if name == "evidence" => out.push_str(&evidence_text(list)),
            Value::Array(list) => out.push_str(&list_line(name, list)),
            other => out.push_str(&format!("{name:<12} {}\n", plain(other))),
        }
    }
    if let Some(metadata) = fields.get("metadata").and_then(Value::as_object).filter(|m| !m.is_empty()) {
        out.push_str("metadata:\n");
        for (key, value) in metadata {
            out.push_str(&format!("  {} = {}\n", visible(key), short(&plain(value))));
        }
    }
    if let Some(recipe) = fields.get("recipe").filter(|r| !r.is_null()) {
        out.push_str(&format!("recipe:\n{}\n", indent(&format!("{recipe:#}"))));
    }
    if let Some(fit) = fields.get("fit") {
        out.push_str(&fit_text(fit));
    }
    if let Some(mix) = fields.get("mix") {
        out.push_str(&figures::text(mix));
    }
    out
}

fn fit_text(fit: &Value) -> String {
    let list = |key: &str| fit[key].as_array().cloned().unwrap_or_default();
    let (unmatched, mismatched) = (list("unmatched"), list("mismatched"));
    let mut out = format!(
        "fit against {}: {} matched, {} unmatched, {} mismatched\n",
        plain(&fit["against"]),
        plain(&fit["matched"]),
        unmatched.len(),
        mismatched.len()
    );
    if let Some(cause) = fit["cause"].as_str() {
        out.push_str(&format!("  why: {}\n", visible(cause)));
    }
    let mut group = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        out.push_str(&format!("  {title}:\n"));
        let more = lines.len().saturating_sub(MOST);
        lines.iter().take(MOST).for_each(|l| out.push_str(&format!("    {l}\n")));
        if more > 0 {
            out.push_str(&format!("    and {more} more (--json lists all)\n"));
        }
    };
    group("unmatched (not applied)", unmatched.iter().map(plain).collect());
    let differs = |m: &Value| format!("{}: expected {}, found {}", plain(&m["key"]), m["expected"], m["found"]);
    group("mismatched (another shape)", mismatched.iter().map(differs).collect());
    out
}

/// What the files around an adapter say about it: a line for each fact that is there.
fn facts_text(facts: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in facts {
        let text = match value {
            Value::Null => continue,
            Value::Object(training) => {
                let stated = training.iter().filter(|(_, v)| !v.is_null());
                stated.map(|(k, v)| format!("{k} {}", plain(v))).collect::<Vec<_>>().join(", ")
            }
            Value::Array(list) => {
                let some = list.iter().take(MOST).map(|item| match (item["text"].as_str(), &item["count"]) {
                    (Some(text), count) => format!("{text} ({count})"),
                    (None, _) => plain(item),
                });
                some.collect::<Vec<_>>().join(", ")
            }
            other => plain(other),
        };
        if !text.is_empty() {
            out.push_str(&format!("  {} = {}\n", name.replace('_', " "), short(&text)));
        }
    }
    if out.is_empty() { out } else { format!("card:\n{out}") }
}

/// What the model was told from, a line each.
fn evidence_text(list: &[Value]) -> String {
    let line = |e: &Value| format!("  {} {}: {}\n", plain(&e["about"]), plain(&e["value"]), plain(&e["because"]));
    let lines: String = list.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("evidence:\n{lines}") }
}

fn list_line(name: &str, list: &[Value]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let some: Vec<String> = list.iter().take(MOST).map(plain).collect();
    let more = if list.len() > MOST { format!(", and {} more", list.len() - MOST) } else { String::new() };
    format!("{name:<12} {}{more}\n", some.join(", "))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), visible)
}

/// Names come from files: what would move the cursor, colour or forge a line becomes a space.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn short(text: &str) -> String {
    let line = output::one_line(text);
    if line.chars().count() > 120 { format!("{}...", line.chars().take(117).collect::<String>()) } else { line }
}

fn indent(text: &str) -> String {
    text.lines().map(|l| format!("  {}", visible(l))).collect::<Vec<_>>().join("\n")
}
