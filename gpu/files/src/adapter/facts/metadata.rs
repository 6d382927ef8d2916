//! Facts in a file's own metadata: modelspec (<https://github.com/Stability-AI/ModelSpec>), kohya-ss sd-scripts' `ss_*`
//! (<https://github.com/kohya-ss/sd-scripts>, train_network.py), and the words other trainers write.

use super::{AdapterFacts, Tag, Training, family_of, words};
use crate::checkpoint::ModelFamily;
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

const TRIGGERS: [&str; 6] =
    ["modelspec.trigger_phrase", "trigger_phrase", "trigger_words", "triggers", "trigger", "instance_prompt"];

/// The facts in a file's metadata.
pub(super) fn facts(metadata: &IndexMap<String, String>) -> AdapterFacts {
    let text = |key: &str| metadata.get(key).map(|t| t.trim()).filter(|t| !t.is_empty() && *t != "None");
    let first = |keys: &[&str]| keys.iter().find_map(|k| text(k)).map(str::to_owned);
    let number = |keys: &[&str]| keys.iter().find_map(|k| text(k)?.parse::<f64>().ok()).filter(|v| v.is_finite());
    let count = |keys: &[&str]| keys.iter().find_map(|k| text(k)?.parse::<u64>().ok());
    let triggers: IndexSet<String> = TRIGGERS.iter().filter_map(|k| text(k)).flat_map(words).collect();
    let training = Training {
        module: first(&["ss_network_module"]),
        arguments: first(&["ss_network_args"]).filter(|a| a != "{}"),
        rank: number(&["ss_network_dim"]),
        alpha: number(&["ss_network_alpha"]),
        pictures: count(&["ss_num_train_images"]).map(|n| n - repeated(metadata).min(n)),
        steps: count(&["ss_steps", "ss_max_train_steps"]),
        epochs: count(&["ss_epoch", "ss_num_epochs"]),
        batch: count(&["ss_total_batch_size", "ss_batch_size_per_device"]),
        learning_rate: number(&["ss_unet_lr", "ss_learning_rate"]),
        text_learning_rate: number(&["ss_text_encoder_lr"]),
        optimizer: first(&["ss_optimizer"]),
        scheduler: first(&["ss_lr_scheduler"]),
        clip_skip: count(&["ss_clip_skip"]),
        seed: count(&["ss_seed"]),
        finished: number(&["ss_training_finished_at"]),
        comment: first(&["ss_training_comment"]),
    };
    let mut facts = AdapterFacts {
        title: first(&["modelspec.title", "ss_output_name"]),
        description: first(&["modelspec.description", "description"]),
        author: first(&["modelspec.author", "author"]),
        license: first(&["modelspec.license", "license"]),
        triggers: triggers.into_iter().collect(),
        tags: tags(metadata),
        labels: first(&["modelspec.tags"]).map(|t| words(&t)).unwrap_or_default(),
        base_model: first(&["ss_sd_model_name", "base_model", "ss_base_model_version", "modelspec.architecture"]),
        family: stated_family(metadata).map(|(f, _)| f.id()),
        resolution: first(&["modelspec.resolution", "ss_resolution"]).and_then(|t| resolution(&t)),
        usage: first(&["modelspec.usage_hint"]),
        training,
        ..AdapterFacts::default()
    };
    if facts != AdapterFacts::default() {
        facts.sources.push("metadata");
    }
    facts
}

/// The class of models that the metadata state, and where.
pub(in crate::adapter) fn stated_family(metadata: &IndexMap<String, String>) -> Option<(ModelFamily, &str)> {
    ["modelspec.architecture", "ss_base_model_version", "ss_sd_model_name"].iter().find_map(|key| {
        let text = metadata.get(*key)?;
        Some((family_of(text)?, text.as_str()))
    })
}

/// kohya's `ss_tag_frequency` (data set -> caption -> count), summed over the data sets, the most frequent first.
fn tags(metadata: &IndexMap<String, String>) -> Vec<Tag> {
    let mut counts: IndexMap<&str, u64> = IndexMap::new();
    let parsed = metadata.get("ss_tag_frequency").and_then(|t| serde_json::from_str::<Value>(t).ok());
    for tags in parsed.iter().filter_map(Value::as_object).flat_map(|sets| sets.values()).filter_map(Value::as_object) {
        for (tag, count) in tags {
            let sum = counts.entry(tag.trim()).or_default();
            *sum = sum.saturating_add(count.as_u64().unwrap_or(0));
        }
    }
    // A stable sort: equal counts stay in the file's order.
    counts.sort_by(|_, a, _, b| b.cmp(a));
    counts.into_iter().filter(|(t, _)| !t.is_empty()).map(|(t, count)| Tag { text: t.to_owned(), count }).collect()
}

/// kohya counts every repeat of a picture; `ss_dataset_dirs` says how often each was repeated.
fn repeated(metadata: &IndexMap<String, String>) -> u64 {
    let parsed = metadata.get("ss_dataset_dirs").and_then(|t| serde_json::from_str::<Value>(t).ok());
    let sets = parsed.iter().filter_map(Value::as_object).flat_map(|sets| sets.values());
    sets.map(|set| {
        let [repeats, pictures] = ["n_repeats", "img_count"].map(|k| set[k].as_u64().unwrap_or(0));
        repeats.saturating_sub(1).saturating_mul(pictures)
    })
    .fold(0, u64::saturating_add)
}

/// `512x768`, `(512, 768)`, `512,768` or `512`.
fn resolution(text: &str) -> Option<(u32, u32)> {
    let inner = text.trim().trim_start_matches(['(', '[']).trim_end_matches([')', ']']);
    let mut parts = inner.split(['x', ',', '×']).map(|p| p.trim().parse::<u32>());
    let width = parts.next()?.ok()?;
    match parts.next() {
        None => Some((width, width)),
        Some(height) => Some((width, height.ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> AdapterFacts {
        facts(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn own_words_then_frequent_ones() {
        let m = |pairs: &[(&str, &str)]| of(pairs).words();
        let tags = r#"{"10_a": {"ink": 2, "paper": 9}, "5_b": {"ink": 8, " wash ": 1}}"#;
        assert_eq!(m(&[("ss_tag_frequency", tags)]), ["ink", "paper", "wash"]);
        assert_eq!(
            m(&[("ss_tag_frequency", tags), ("modelspec.trigger_phrase", "paper, neon")]),
            ["paper", "neon", "ink", "wash"]
        );
        assert_eq!(m(&[("triggers", r#"["a, b", "c"]"#)]), ["a, b", "c"]);
        assert!(m(&[("ss_tag_frequency", "nonsense")]).is_empty());
        assert!(m(&[("ss_tag_frequency", r#"{"a": {"x": "y"}, "b": 3}"#)]).len() <= 1);
    }

    #[test]
    fn the_training_is_read_from_kohyas_fields() {
        let facts = of(&[
            ("ss_network_module", "lycoris.kohya"),
            ("ss_network_dim", "16"),
            ("ss_network_alpha", "8.0"),
            ("ss_num_train_images", "240"),
            ("ss_dataset_dirs", r#"{"10_ink": {"n_repeats": 10, "img_count": 24}}"#),
            ("ss_steps", "1200"),
            ("ss_unet_lr", "0.0001"),
            ("ss_clip_skip", "None"),
            ("ss_resolution", "(768, 512)"),
            ("ss_base_model_version", "sdxl_base_v1-0"),
        ]);
        let t = &facts.training;
        assert_eq!((t.rank, t.alpha, t.pictures, t.steps), (Some(16.0), Some(8.0), Some(24), Some(1200)));
        assert_eq!((t.learning_rate, t.clip_skip), (Some(1e-4), None));
        assert_eq!((facts.family, facts.resolution), (Some("sdxl"), Some((768, 512))));
        assert_eq!(facts.sources, ["metadata"]);
        assert_eq!(of(&[("format", "pt")]), AdapterFacts::default());
    }

    #[test]
    fn resolutions_in_all_spellings() {
        for (text, size) in
            [("512x768", (512, 768)), ("(512, 768)", (512, 768)), ("1024", (1024, 1024)), ("[512,512]", (512, 512))]
        {
            assert_eq!(resolution(text), Some(size), "{text}");
        }
        assert_eq!(resolution("any"), None);
    }
}
