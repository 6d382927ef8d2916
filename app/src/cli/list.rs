//! `admix list`: what there is to choose from, straight from the registries.

use admix_engine::files::adapter::families;
use admix_engine::files::builtin::{self, Kind};
use admix_engine::mix::methods;
use admix_engine::sample::{Info, registry};
use serde::Serialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::output;

/// Arguments of `admix list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Samplers,
    Schedules,
    Guidance,
    Methods,
    Families,
    Models,
    Adapters,
    Knobs,
}

/// Lists.
pub fn run(args: &ListArgs, json: bool) -> Result<(), Fault> {
    let items = match args.what {
        What::Samplers => registry::samplers().map(technique).collect(),
        What::Schedules => registry::schedules().map(technique).collect(),
        What::Guidance => guidance(),
        What::Methods => merge_methods(),
        What::Families => adapter_families(),
        What::Models => built_in(&[Kind::Model, Kind::FineTune])?,
        What::Adapters => built_in(&[Kind::Adapter])?,
        What::Knobs => knobs(),
    };
    if json {
        output::print_json(&json!({ "items": items }));
    } else {
        items.iter().for_each(|item| output::print(&readable(item)));
    }
    Ok(())
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

fn technique(info: Info) -> Value {
    json!({ "name": info.name, "label": info.label, "citation": info.citation, "knobs": value(info.knobs) })
}

/// Every way to guide; the scale and the rescale are flags of their own.
fn guidance() -> Vec<Value> {
    let flag = |name: &str| {
        let (label, max, default, help) = match name {
            "cfg" => {
                ("CFG scale", 100.0, 7.0, "how strongly the prompt pulls; 1 leaves the negative prompt out (--cfg)")
            }
            "cfg_rescale" => ("Rescale", 1.0, 0.0, "0 is off; v-prediction models like 0.7 (--cfg-rescale)"),
            _ => return None,
        };
        Some(json!({ "name": name, "label": label, "min": 0.0, "max": max, "default": default, "help": help }))
    };
    let item = |info: Info| {
        let knobs: Vec<Value> = flag(info.name).into_iter().chain(info.knobs.iter().map(value)).collect();
        json!({ "name": info.name, "label": info.label, "citation": info.citation, "knobs": knobs })
    };
    registry::guidance().map(item).collect()
}

fn merge_methods() -> Vec<Value> {
    let item = |m: &&dyn admix_engine::mix::Method| {
        let knobs: Vec<_> = m.knobs().iter().chain(m.model_knobs()).collect();
        let most = *m.models().end();
        json!({
            "name": m.name(), "label": m.label(), "citation": m.citation(), "knobs": value(knobs),
            "model_knobs": m.model_knobs().iter().map(|k| k.name).collect::<Vec<_>>(),
            "models": { "min": m.models().start(), "max": if most == usize::MAX { None } else { Some(most) } },
            // Slow on large models.
            "on_host": m.on_host()
        })
    };
    methods().iter().map(item).collect()
}

fn adapter_families() -> Vec<Value> {
    let item = |f: &&dyn admix_engine::files::adapter::Family| json!({ "name": f.id(), "label": f.label(), "citation": f.citation(), "knobs": [], "applied": f.is_applied() });
    families().iter().map(item).collect()
}

fn built_in(kinds: &[Kind]) -> Result<Vec<Value>, Fault> {
    let items = builtin::catalogue()?.into_iter().filter(|i| kinds.contains(&i.kind));
    let item = |i: builtin::Item| {
        let kind = match i.kind {
            Kind::Model => "model",
            Kind::FineTune => "fine-tune",
            Kind::Adapter => "adapter",
        };
        json!({
            "name": i.name, "label": i.name.replace(['-', '_'], " "), "citation": "built in; see assets/CREDITS.md", "knobs": [],
            "kind": kind, "ref": format!("builtin:{}", i.name), "path": i.path.display().to_string()
        })
    };
    Ok(items.map(item).collect())
}

/// Every knob with the techniques that have it.
fn knobs() -> Vec<Value> {
    let mut owners: Vec<(&str, Info)> = registry::samplers().map(|i| ("sampler", i)).collect();
    owners.extend(registry::schedules().map(|i| ("schedule", i)));
    owners.extend(registry::guidance().map(|i| ("guidance", i)));
    let mut items = vec![json!({
        "name": admix_engine::settings::ADAPTERS_KNOB, "label": "Adapters", "citation": "Chen et al. 2023 (S-LoRA), arXiv 2311.03285",
        "of": "every run",
        "knobs": [{ "name": admix_engine::settings::ADAPTERS_KNOB, "label": "Adapters", "min": 0.0, "max": 1.0, "default": 0.0,
            "help": "merged: added into the weights; unmerged: run beside them", "choices": ["merged", "unmerged"] }]
    })];
    let mut add = |of: String, citation: &str, knob: &admix_engine::sample::Knob| {
        items.push(
            json!({ "name": knob.name, "label": knob.label, "citation": citation, "of": of, "knobs": [value(knob)] }),
        );
    };
    registry::RUN.iter().for_each(|k| {
        add("every run".into(), "Lin et al. 2023, arXiv 2305.08891; Karras et al. 2022, arXiv 2206.00364", k)
    });
    for knob in admix_engine::settings::Options::knobs() {
        add("every run".into(), "", &knob);
    }
    for (kind, info) in owners {
        info.knobs.iter().for_each(|k| add(format!("{kind} {}", info.name), info.citation, k));
    }
    items
}

fn readable(item: &Value) -> String {
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let mut out = format!("{:<16} {}", text("name"), text("label"));
    for (key, word) in [("kind", ""), ("of", "of ")] {
        if !text(key).is_empty() {
            out.push_str(&format!(" ({word}{})", text(key)));
        }
    }
    if item["applied"] == Value::Bool(false) {
        out.push_str(" (recognised, not applied yet)");
    }
    if item["on_host"] == Value::Bool(true) {
        out.push_str(" (on the host: slow on large models)");
    }
    if !text("citation").is_empty() && item["path"].is_null() {
        out.push_str(&format!("\n{:16}   {}", "", text("citation")));
    }
    for knob in item["knobs"].as_array().into_iter().flatten() {
        let word = |key: &str| knob[key].as_str().unwrap_or_default();
        let range = match knob["choices"].as_array() {
            Some(choices) => choices.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
            None => format!("{} to {}, default {}", knob["min"], knob["max"], knob["default"]),
        };
        out.push_str(&format!("\n{:16}   {} ({range}): {}", "", word("name"), word("help")));
    }
    out
}
