//! What is known about an adapter beside its tensors: title, trigger words, tags of its training, base model, settings of the
//! training. One typed [`AdapterFacts`] from four sources, the first that states a fact winning: the person's own notes beside the
//! file (A1111's `NAME.json`), the site's side-car (`NAME.civitai.info`), the file's metadata (modelspec, kohya's `ss_*`), and the
//! README of a hub's repository.

mod metadata;
mod readme;
mod sidecar;

pub(super) use metadata::stated_family;

use crate::bundle::{Bundle, CARD, NOTES, SITE};
use crate::checkpoint::ModelFamily;
use crate::error::Result;
use indexmap::{IndexMap, IndexSet};
use serde::Serialize;

/// More words than these are a data set, not triggers.
const MOST_TRIGGERS: usize = 20;

/// A caption of the training set and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// The caption, trimmed.
    pub text: String,
    /// Number of pictures it stood beside, over all data sets.
    pub count: u64,
}

/// How an adapter was trained, as far as its files say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Training {
    /// The module that made it, e.g. `networks.lora` or `lycoris.kohya`.
    pub module: Option<String>,
    /// Its arguments, as JSON text.
    pub arguments: Option<String>,
    /// Stated rank.
    pub rank: Option<f64>,
    /// Stated alpha.
    pub alpha: Option<f64>,
    /// Pictures, repeats not counted.
    pub pictures: Option<u64>,
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Epochs.
    pub epochs: Option<u64>,
    /// Pictures per step.
    pub batch: Option<u64>,
    /// Learning rate of the U-Net, or the general one.
    pub learning_rate: Option<f64>,
    /// Learning rate of the text encoder.
    pub text_learning_rate: Option<f64>,
    /// Optimiser, e.g. `AdamW8bit`.
    pub optimizer: Option<String>,
    /// Schedule of the learning rate.
    pub scheduler: Option<String>,
    /// Layers of the text encoder that were skipped (A1111's count: 1 is none).
    pub clip_skip: Option<u64>,
    /// Seed.
    pub seed: Option<u64>,
    /// When it ended, seconds since 1970.
    pub finished: Option<f64>,
    /// The trainer's remark.
    pub comment: Option<String>,
}

/// Everything that the files around an adapter say about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AdapterFacts {
    /// Its name for people.
    pub title: Option<String>,
    /// Plain text, without mark-up.
    pub description: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// Licence.
    pub license: Option<String>,
    /// Words that call it up, as its author states them; never guessed from captions.
    pub triggers: Vec<String>,
    /// Captions of the training set, the most frequent first.
    pub tags: Vec<Tag>,
    /// Labels that the author or a site gave it (`style`, `character`).
    pub labels: Vec<String>,
    /// The model it was trained on, as stated: `SD 1.5`, `sd_xl_base_1.0`, a repository's name.
    pub base_model: Option<String>,
    /// The class of models that this names, where it can be told (as `inspect` reports it: `sd1`, `sd2`, `sdxl`).
    pub family: Option<&'static str>,
    /// Width and height of the training pictures.
    pub resolution: Option<(u32, u32)>,
    /// Recommended weight.
    pub weight: Option<f64>,
    /// Words its author would put into the negative prompt.
    pub negative: Option<String>,
    /// Prompts of example pictures.
    pub examples: Vec<String>,
    /// How to use it, in the author's words.
    pub usage: Option<String>,
    /// The training.
    pub training: Training,
    /// Where the facts come from: `metadata`, `NAME.json`, `NAME.civitai.info`, `README.md`.
    pub sources: Vec<&'static str>,
    /// Side-car files that could not be read, a line each with why.
    pub passed_over: Vec<String>,
}

impl AdapterFacts {
    /// The words to offer a person: the author's own first, then the most frequent captions; at most twenty.
    pub fn words(&self) -> Vec<String> {
        let own = self.triggers.iter().cloned();
        let all: IndexSet<String> = own.chain(self.tags.iter().map(|t| t.text.clone())).collect();
        all.into_iter().take(MOST_TRIGGERS).collect()
    }

    /// Takes over what `other` states and this does not. Lists are joined, without repetition.
    fn complete(&mut self, other: AdapterFacts) {
        fn fill<T>(own: &mut Option<T>, other: Option<T>) {
            if own.is_none() {
                *own = other;
            }
        }
        fn join<T: PartialEq>(own: &mut Vec<T>, other: Vec<T>) {
            for item in other {
                if !own.contains(&item) {
                    own.push(item);
                }
            }
        }
        if other == AdapterFacts::default() {
            return;
        }
        fill(&mut self.title, other.title);
        fill(&mut self.description, other.description);
        fill(&mut self.author, other.author);
        fill(&mut self.license, other.license);
        join(&mut self.triggers, other.triggers);
        join(&mut self.tags, other.tags);
        join(&mut self.labels, other.labels);
        fill(&mut self.base_model, other.base_model);
        fill(&mut self.family, other.family);
        fill(&mut self.resolution, other.resolution);
        fill(&mut self.weight, other.weight);
        fill(&mut self.negative, other.negative);
        join(&mut self.examples, other.examples);
        fill(&mut self.usage, other.usage);
        if self.training == Training::default() {
            self.training = other.training;
        }
        join(&mut self.sources, other.sources);
        join(&mut self.passed_over, other.passed_over);
    }
}

/// Gathers the facts of an adapter. A side-car that cannot be read is passed over with a warning: it is not the adapter.
pub(super) async fn gather(bundle: &Bundle, metadata: &IndexMap<String, String>) -> Result<AdapterFacts> {
    let mut facts = AdapterFacts::default();
    if let Some(text) = bundle.text(NOTES).await? {
        facts.complete(sidecar::notes(&text).unwrap_or_else(|why| passed_over(bundle, NOTES, &why)));
    }
    if let Some(text) = bundle.text(SITE).await? {
        facts.complete(sidecar::civitai(&text).unwrap_or_else(|why| passed_over(bundle, SITE, &why)));
    }
    facts.complete(metadata::facts(metadata));
    if let Some(text) = bundle.text(CARD).await? {
        facts.complete(readme::facts(&String::from_utf8_lossy(&text)));
    }
    Ok(facts)
}

fn passed_over(bundle: &Bundle, what: &str, why: &str) -> AdapterFacts {
    log::warn!("{}: its side-car file {what} is passed over: {why}", bundle.name());
    AdapterFacts { passed_over: vec![format!("{what}: {why}")], ..AdapterFacts::default() }
}

/// Words separated by commas, or a JSON list of them.
fn words(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(list) => list.into_iter().map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect(),
        Err(_) => text.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect(),
    }
}

/// The class of models that a stated name means.
fn family_of(name: &str) -> Option<ModelFamily> {
    let lower = name.to_ascii_lowercase();
    let any = |parts: &[&str]| parts.iter().any(|p| lower.contains(p));
    if any(&["xl", "pony", "illustrious", "noobai"]) {
        Some(ModelFamily::Sdxl)
    } else if any(&["diffusion-v2", "diffusion-2", "sd_v2", "sd2", "sd 2", "sd-2", "v2-1", "sd-turbo"]) {
        Some(ModelFamily::Sd2)
    } else if any(&["diffusion-v1", "sd_v1", "sd1", "sd 1", "sd-1", "v1-5", "v1-4"]) {
        Some(ModelFamily::Sd1)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{MemSource, ready};
    use std::sync::Arc;

    #[test]
    fn the_nearest_source_wins_and_lists_are_joined() {
        let source = |text: &str| Arc::new(MemSource::new(text.as_bytes().to_vec())) as crate::SharedSource;
        let site = r#"{"name": "v2", "baseModel": "SD 1.5", "trainedWords": ["ink, wash", "paper"],
            "model": {"name": "Ink", "tags": ["style"]}, "description": "<p>Soft <b>ink</b> &amp; paper.</p>",
            "images": [{"meta": {"prompt": "ink, a heron"}}]}"#;
        let notes =
            r#"{"activation text": "inkwash", "preferred weight": 0.7, "description": "mine", "sd version": "SD1"}"#;
        let card = "---\nlicense: mit\nbase_model:\n- runwayml/stable-diffusion-v1-5\ntags: [lora, ink]\ninstance_prompt: inkwash\n---\n# Heron ink\n\nA *hub* text.\n";
        let bundle = Bundle::file("ink.safetensors", source("x")).with_text(NOTES, source(notes));
        let bundle = bundle.with_text(SITE, source(site)).with_text(CARD, source(card));
        let metadata = [("ss_tag_frequency", r#"{"a": {"bird": 3, "ink": 5}}"#), ("ss_resolution", "(512, 768)")];
        let metadata = metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        let facts = ready(gather(&bundle, &metadata)).expect("reads");
        assert_eq!(facts.description.as_deref(), Some("mine"));
        assert_eq!(facts.title.as_deref(), Some("Ink"));
        assert_eq!(facts.triggers, ["inkwash", "ink", "wash", "paper"]);
        assert_eq!(facts.tags[0], Tag { text: "ink".into(), count: 5 });
        assert_eq!(facts.words()[..5], ["inkwash", "ink", "wash", "paper", "bird"]);
        assert_eq!(facts.weight, Some(0.7));
        assert_eq!((facts.family, facts.resolution), (Some("sd1"), Some((512, 768))));
        assert_eq!(facts.labels, ["style", "lora", "ink"]);
        assert_eq!(facts.examples, ["ink, a heron"]);
        assert_eq!(facts.license.as_deref(), Some("mit"));
        assert_eq!(facts.sources, ["NAME.json", "NAME.civitai.info", "metadata", "README.md"]);
        // A broken side-car is no reason to refuse the adapter.
        let bundle = Bundle::file("ink.safetensors", source("x")).with_text(SITE, source("{"));
        let facts = ready(gather(&bundle, &IndexMap::new())).expect("reads");
        assert!(facts.passed_over.iter().any(|line| line.starts_with("civitai.info: ")), "{:?}", facts.passed_over);
        assert_eq!(AdapterFacts { passed_over: Vec::new(), ..facts }, AdapterFacts::default());
    }

    #[test]
    fn families_are_told_by_the_names_people_use() {
        for (name, family) in [
            ("SDXL 1.0", Some(ModelFamily::Sdxl)),
            ("Pony", Some(ModelFamily::Sdxl)),
            ("stable-diffusion-xl-v1-base/lora", Some(ModelFamily::Sdxl)),
            ("sd_v2_768_v", Some(ModelFamily::Sd2)),
            ("SD 2.1 768", Some(ModelFamily::Sd2)),
            ("stable-diffusion-v1/lora", Some(ModelFamily::Sd1)),
            ("SD 1.5", Some(ModelFamily::Sd1)),
            ("runwayml/stable-diffusion-v1-5", Some(ModelFamily::Sd1)),
            ("Flux.1 D", None),
        ] {
            assert_eq!(family_of(name), family, "{name}");
        }
    }
}
