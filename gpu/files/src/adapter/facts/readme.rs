//! A hub's model card: the YAML head of README.md (`base_model`, `tags`, `license`, `instance_prompt`, `widget`) and the first lines of
//! its text. <https://huggingface.co/docs/hub/model-cards>

use super::{AdapterFacts, family_of};
use indexmap::IndexMap;

/// Longest description taken from a text, in characters.
const MOST: usize = 1000;

/// The facts of a README.
pub(super) fn facts(text: &str) -> AdapterFacts {
    let text = text.trim_start_matches('\u{feff}');
    let (head, body) = match text.strip_prefix("---").and_then(|rest| rest.split_once("\n---")) {
        Some((head, body)) => (fields(head), body.split_once('\n').map_or("", |(_, b)| b)),
        None => (IndexMap::new(), text),
    };
    let list = |key: &str| head.get(key).cloned().unwrap_or_default();
    let one = |key: &str| head.get(key).and_then(|v| v.first().cloned());
    let mut facts = AdapterFacts {
        title: body.lines().find_map(|l| l.strip_prefix("# ")).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
        description: description(body),
        license: one("license"),
        triggers: list("instance_prompt").into_iter().chain(trigger_sentence(body)).fold(Vec::new(), |mut all, w| {
            if !all.contains(&w) {
                all.push(w);
            }
            all
        }),
        labels: list("tags"),
        base_model: one("base_model"),
        examples: list("widget"),
        ..AdapterFacts::default()
    };
    facts.family = facts.base_model.as_deref().and_then(family_of).map(|f| f.id());
    if facts != AdapterFacts::default() {
        facts.sources.push("README.md");
    }
    facts
}

/// The fields of the head that are words or lists of words. This is not all of YAML: what has another form is left out, but for the
/// `text` of a list of objects (`widget`).
fn fields(head: &str) -> IndexMap<String, Vec<String>> {
    let mut found: IndexMap<String, Vec<String>> = IndexMap::new();
    let mut key = None::<String>;
    for line in head.lines() {
        let inner = line.trim();
        if inner.is_empty() || inner.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t', '-']) {
            key = inner.split_once(':').map(|(name, value)| {
                let values = match value.trim().strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
                    Some(list) => list.split(',').map(word).collect(),
                    None => vec![word(value)],
                };
                let values = values.into_iter().filter(|v| !v.is_empty() && v != ">-" && v != "|" && v != ">");
                found.entry(name.trim().to_owned()).or_default().extend(values);
                name.trim().to_owned()
            });
        } else if let Some(key) = &key {
            let item = inner.strip_prefix("- ").unwrap_or(inner).trim();
            let text = item.strip_prefix("text:").map(str::trim);
            let value = match text {
                Some(text) => word(text),
                // Another field of an object: not a word of the list.
                None if item.contains(": ") || item.ends_with(':') => continue,
                None if inner.starts_with('-') => word(item),
                None => continue,
            };
            if !value.is_empty() && value != "-" {
                found.entry(key.clone()).or_default().push(value);
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    let text = text.trim();
    let quoted = ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q));
    quoted.unwrap_or(text).to_owned()
}

/// diffusers' training scripts write: "You should use `sks dog` to trigger the image generation."
fn trigger_sentence(body: &str) -> Vec<String> {
    let line = body.lines().find(|l| l.contains("to trigger"));
    let ticked = line.into_iter().flat_map(|l| l.split('`').skip(1).step_by(2));
    ticked.map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect()
}

/// The first paragraphs, without headings, pictures and code.
fn description(body: &str) -> Option<String> {
    let mut kept: Vec<String> = Vec::new();
    let (mut code, mut length) = (false, 0);
    for line in body.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            code = !code;
        }
        if code || line.starts_with(['#', '!', '<', '|', '`', '[']) || line.is_empty() {
            continue;
        }
        let plain: String = line.chars().filter(|c| !matches!(c, '*' | '_' | '`')).collect();
        length += plain.chars().count();
        kept.push(plain);
        if length > MOST {
            break;
        }
    }
    let text: String = kept.join(" ").chars().take(MOST).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_as_diffusers_writes_it() {
        let card = "---\nbase_model: stabilityai/stable-diffusion-xl-base-1.0\nlicense: openrail++\ntags:\n- text-to-image\n- \
            'lora'\nwidget:\n- text: 'a sks dog, \"quoted\"'\n  output:\n    url: image_0.png\ninstance_prompt: \"sks dog\"\n---\n\
            # SDXL LoRA DreamBooth - me/dog\n\n<Gallery />\n\n## Model description\n\nThese are *LoRA* weights.\n\n## Trigger \
            words\n\nYou should use `sks dog` to trigger the image generation.\n\n```py\nprint(1)\n```\n";
        let facts = facts(card);
        assert_eq!(facts.title.as_deref(), Some("SDXL LoRA DreamBooth - me/dog"));
        assert_eq!(facts.triggers, ["sks dog"]);
        assert_eq!(facts.labels, ["text-to-image", "lora"]);
        assert_eq!(facts.examples, ["a sks dog, \"quoted\""]);
        assert_eq!(facts.family, Some("sdxl"));
        assert!(facts.description.as_deref().is_some_and(|d| d.starts_with("These are LoRA weights.")));
        assert_eq!(facts.sources, ["README.md"]);
    }

    #[test]
    fn a_text_without_head_and_no_text_at_all() {
        let plain = facts("Just words.");
        assert_eq!(plain.description.as_deref(), Some("Just words."));
        assert_eq!(facts(""), AdapterFacts::default());
        assert_eq!(facts("---\n: \n- x\n---"), AdapterFacts::default());
    }
}
