//! A card: what the selection knows of an adapter, and what a person has changed about it.

use serde::{Deserialize, Serialize};

/// What an adapter is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A thing, a creature, a place, clothing.
    #[default]
    Subject,
    /// How everything looks.
    Style,
    /// One person or figure with a name.
    Character,
    /// How a body stands.
    Pose,
    /// A scale to be moved along (age, weight, detail), both ways.
    ConceptSlider,
    /// Sharper, cleaner, better hands: about no topic.
    Quality,
    /// Fewer steps (LCM, Lightning, Turbo): about no topic, and it asks for a sampler of its own.
    Speed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Subject, Kind::Style, Kind::Character, Kind::Pose, Kind::ConceptSlider, Kind::Quality, Kind::Speed];

    /// The name on cards and in `--kind`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Subject => "subject",
            Kind::Style => "style",
            Kind::Character => "character",
            Kind::Pose => "pose",
            Kind::ConceptSlider => "concept-slider",
            Kind::Quality => "quality",
            Kind::Speed => "speed",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// A caption of the training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Caption {
    /// The words.
    pub text: String,
    /// In which part of the pictures, 0..1, where the most frequent caption counts as all of them.
    pub share: f32,
}

/// What is known of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    /// For people.
    pub title: String,
    /// What it does, in words.
    pub description: String,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// Labels that its author or a person gave it.
    pub tags: Vec<String>,
    /// Captions of its training, the most frequent first.
    pub captions: Vec<Caption>,
    /// What it is for.
    pub kind: Kind,
    /// Class of models: `sd1`, `sd2`, `sdxl`; none if nothing tells.
    pub family: Option<String>,
    /// Width of the text embedding that its attention layers read (768 for SD 1.x); tells models of one class apart.
    pub context: Option<usize>,
    /// Licence, as stated.
    pub licence: Option<String>,
    /// Recommended weight.
    pub weight: f64,
    /// Weights worth trying, lowest and highest.
    pub range: [f64; 2],
    /// Width and height of the training pictures.
    pub resolution: Option<(u32, u32)>,
    /// A small picture of its effect: a path, or the name of an entry in the store.
    pub thumbnail: Option<String>,
    /// What pictures drawn with and without it showed, in a sentence ([`crate::describe`]); not searched: it tells of colours and lines,
    /// which are no topics.
    pub seen: String,
    /// Where the facts come from.
    pub sources: Vec<String>,
}

/// What was told from pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// See [`Card::seen`].
    pub text: String,
    /// The model that drew, as recipes name it.
    pub model: String,
    /// The prompts.
    pub prompts: Vec<String>,
}

impl Card {
    /// How many captions, the most frequent ones, are held against a prompt phrase by phrase.
    pub const TELLING: usize = 6;

    /// Tags and the captions that most pictures share.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let captions = self.captions.iter().take(Card::TELLING).map(|c| c.text.as_str());
        self.tags.iter().take(24).map(String::as_str).chain(captions)
    }

    /// Lets go of memory that nothing lies in.
    pub fn fit(&mut self) {
        self.captions.iter_mut().for_each(|c| c.text.shrink_to_fit());
        self.captions.shrink_to_fit();
        for list in [&mut self.triggers, &mut self.tags, &mut self.sources] {
            list.iter_mut().for_each(String::shrink_to_fit);
            list.shrink_to_fit();
        }
        self.title.shrink_to_fit();
        self.description.shrink_to_fit();
    }
}

/// What a person changed: whatever is here wins over what the files say, now and after every new indexing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edits {
    /// See [`Card::title`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// See [`Card::description`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// See [`Card::triggers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Vec<String>>,
    /// See [`Card::tags`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// See [`Card::kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// See [`Card::family`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// See [`Card::licence`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// See [`Card::weight`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// See [`Card::range`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// See [`Card::thumbnail`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
}

impl Edits {
    /// The card with the edits on top.
    pub fn over(&self, mut card: Card) -> Card {
        fn put<T: Clone>(edit: &Option<T>, into: &mut T) {
            if let Some(value) = edit {
                into.clone_from(value);
            }
        }
        put(&self.title, &mut card.title);
        put(&self.description, &mut card.description);
        put(&self.triggers, &mut card.triggers);
        put(&self.tags, &mut card.tags);
        put(&self.kind, &mut card.kind);
        put(&self.weight, &mut card.weight);
        put(&self.range, &mut card.range);
        for (edit, into) in [
            (&self.family, &mut card.family),
            (&self.licence, &mut card.licence),
            (&self.thumbnail, &mut card.thumbnail),
        ] {
            if edit.is_some() {
                into.clone_from(edit);
            }
        }
        card
    }

    /// Takes over the newer changes.
    pub fn merge(&mut self, newer: Edits) {
        fn put<T>(into: &mut Option<T>, newer: Option<T>) {
            if newer.is_some() {
                *into = newer;
            }
        }
        put(&mut self.title, newer.title);
        put(&mut self.description, newer.description);
        put(&mut self.triggers, newer.triggers);
        put(&mut self.tags, newer.tags);
        put(&mut self.kind, newer.kind);
        put(&mut self.family, newer.family);
        put(&mut self.licence, newer.licence);
        put(&mut self.weight, newer.weight);
        put(&mut self.range, newer.range);
        put(&mut self.thumbnail, newer.thumbnail);
    }
}

/// An adapter of a library: where it lies, its card, and what was changed about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its name, as rows and reports show it.
    pub name: String,
    /// What a recipe calls it: a path or `builtin:NAME`.
    pub reference: String,
    /// Sha256 of its tensors, once known: the name of its card, whatever the file is called.
    pub key: Option<String>,
    /// What the files say.
    pub found: Card,
    /// What a person says.
    pub edits: Edits,
}

impl Entry {
    /// The card that counts.
    pub fn card(&self) -> Card {
        self.edits.over(self.found.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_win_and_stay() {
        let found = Card { title: "ink v2".into(), tags: vec!["a".into()], weight: 0.8, ..Card::default() };
        let mut edits: Edits = serde_json::from_str(r#"{"title": "Ink", "kind": "style"}"#).unwrap();
        let card = edits.over(found.clone());
        assert_eq!((card.title.as_str(), card.kind, card.weight), ("Ink", Kind::Style, 0.8));
        assert_eq!(card.tags, ["a"]);
        edits.merge(Edits { tags: Some(Vec::new()), ..Edits::default() });
        assert_eq!(edits.over(found.clone()).title, "Ink");
        assert!(edits.over(found).tags.is_empty());
        assert!(serde_json::from_str::<Edits>(r#"{"titel": "Ink"}"#).is_err());
    }
}
