//! `admix list`: what there is to choose from, straight from the registries.

use admix_engine::files::adapter::families;
use admix_engine::files::builtin::{self, Kind};
use admix_engine::mix::recipe::limits;
use admix_engine::mix::{Knob, methods};
use admix_engine::sample::{Info, names, registry};
use admix_engine::settings;
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
        What::Samplers => registry::samplers().map(sampler).collect(),
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

/// A sampler, with the other names that may be typed for it, and the names that other tools have for it with knobs set.
fn sampler(info: Info) -> Value {
    let variants = names::VARIANTS.iter().filter(|v| v.solver == info.name);
    let set = |v: &names::Variant| v.knobs.iter().map(|(k, v)| (*k, *v)).collect::<std::collections::BTreeMap<_, _>>();
    let variants: Vec<Value> = variants
        .map(|v| json!({ "name": v.name, "aliases": v.aliases, "set": set(v), "citation": v.citation }))
        .collect();
    let mut item = technique(info);
    item["aliases"] = value(info.aliases);
    item["variants"] = variants.into();
    item
}

/// Every way to guide; the scale and the rescale are flags of their own.
fn guidance() -> Vec<Value> {
    let item = |info: Info| {
        let flag = [limits::CFG, limits::CFG_RESCALE].into_iter().find(|k| k.name == info.name);
        let knobs: Vec<Value> = flag.iter().chain(info.knobs).map(value).collect();
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

/// Every knob with the techniques that have it: numbers of `sample`, knobs of `sample.set`, and those of merges.
fn knobs() -> Vec<Value> {
    let mut items = Vec::new();
    let mut add = |of: &str, citation: &str, knobs: &[Knob]| {
        for knob in knobs {
            items.push(
                json!({ "name": knob.name, "label": knob.label, "citation": citation, "of": of, "knobs": [value(knob)] }),
            );
        }
    };
    add("sample, a flag", "", &limits::ALL);
    add("every run", "Chen et al. 2023 (S-LoRA), arXiv 2311.03285", &[settings::ADAPTERS]);
    add("every run", "Podell et al. 2023 (SDXL), arXiv 2307.01952, section 2.2", &settings::Sizes::ALL);
    add("every run", "Lin et al. 2023, arXiv 2305.08891; Karras et al. 2022, arXiv 2206.00364", &registry::RUN);
    add("every run", "", &settings::Options::knobs().collect::<Vec<_>>());
    let sampling = registry::samplers().map(|i| ("sampler", i)).chain(registry::schedules().map(|i| ("schedule", i)));
    for (kind, info) in sampling.chain(registry::guidance().map(|i| ("guidance", i))) {
        add(&format!("{kind} {}", info.name), info.citation, info.knobs);
    }
    for method in methods() {
        add(&format!("merge {}, params", method.name()), method.citation(), method.knobs());
        add(&format!("merge {}, each model", method.name()), method.citation(), method.model_knobs());
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
    let listed = |key: &str| item[key].as_array().into_iter().flatten();
    let also: Vec<&str> = listed("aliases").filter_map(Value::as_str).collect();
    if !also.is_empty() {
        out.push_str(&format!("\n{:16}   also: {}", "", also.join(", ")));
    }
    for variant in listed("variants") {
        let set = variant["set"].as_object().into_iter().flatten();
        let set: Vec<String> = set.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        let (name, of) =
            (variant["name"].as_str().unwrap_or_default(), variant["citation"].as_str().unwrap_or_default());
        out.push_str(&format!("\n{:16}   {name}: with {} ({of})", "", set.join(", ")));
    }
    for knob in item["knobs"].as_array().into_iter().flatten() {
        let word = |key: &str| knob[key].as_str().unwrap_or_default();
        let range = match knob["choices"].as_array() {
            Some(choices) => choices.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
            None if word("kind") == "text" => "text".into(),
            None => format!("{} to {}, default {}", knob["min"], knob["max"], knob["default"]),
        };
        out.push_str(&format!("\n{:16}   {} ({range}): {}", "", word("name"), word("help")));
    }
    out
}
