//! How well a card fits some words: by the words themselves and by their meaning, phrase by phrase of the card.

use crate::library::Library;
use crate::text::{is_stop, tokens};
use crate::topics::{MEDIA, PICTURE, Place};
use crate::words::{Words, dot};

/// Cosines that count as nothing and as the same.
const STRANGE: f32 = 0.35;
const SAME: f32 = 0.95;
/// Meaning alone never counts as much as the very words.
const MEANING: f32 = 0.95;
/// What "style" and "picture" weigh beside words that say something, and what "drawing" and "art" do.
const GENERIC: f32 = 0.12;
const MEDIUM: f32 = 0.5;
/// Labels that have nothing to do with the adapter's name or with one another say little.
const STRAY: f32 = 0.4;

/// A phrase of a card.
pub struct Phrase {
    text: String,
    stems: Vec<String>,
    vector: Option<Vec<f32>>,
    /// How much it speaks for the card.
    weight: f32,
    /// Whether it names the adapter: a trigger or the title.
    name: bool,
    /// "at night", "under the stars": it serves what stands around the things, not things.
    setting: bool,
}

/// The phrases of a card.
pub struct Phrases(Vec<Phrase>);

impl Phrases {
    /// Triggers, title, tags, the captions that all pictures share, and the description's phrases.
    pub fn of(library: &Library, entry: u32) -> Phrases {
        let card = library.card(entry);
        let words = library.words();
        let mut out: Vec<Phrase> = Vec::new();
        let mut add = |text: &str, weight: f32, name: bool| {
            let stems: Vec<String> = tokens(text).into_iter().map(|t| t.stem).filter(|s| !is_stop(s)).collect();
            if stems.is_empty() || stems.len() > 8 || out.iter().any(|p| p.stems == stems && p.weight >= weight) {
                return;
            }
            let vector = embed(words, &stems);
            let setting = SETTINGS.iter().any(|p| text.trim_start().to_lowercase().starts_with(p));
            out.push(Phrase { text: text.trim().to_owned(), stems, vector, weight, name, setting });
        };
        card.triggers.iter().take(8).for_each(|t| add(t, 1.0, true));
        let title = if card.title.is_empty() { &library.entries()[entry as usize].name } else { &card.title };
        add(title, 1.0, true);
        let names: Vec<Vec<f32>> =
            card.triggers.iter().take(8).chain([title]).filter_map(|n| known(words, n)).collect();
        // The more labels, the less each of them says.
        let tags: Vec<&str> = card.tags.iter().take(24).map(String::as_str).collect();
        let many = 0.97 * (12.0 / card.tags.len().max(12) as f32).sqrt();
        for (tag, belongs) in tags.iter().zip(coherence(words, &tags, &names)) {
            add(tag, many * belongs, false);
        }
        let captions: Vec<&str> = card.captions.iter().take(6).map(|c| c.text.as_str()).collect();
        let lonely = captions.len() == 1 && tags.is_empty();
        for ((caption, text), belongs) in card.captions.iter().zip(&captions).zip(coherence(words, &captions, &names)) {
            add(text, if lonely { 0.85 } else { 0.8 * caption.share * belongs }, false);
        }
        for part in card.description.split(['.', ',', ';', '!', '(', ')']).take(6) {
            add(part, 0.7, false);
        }
        Phrases(out)
    }
}

/// How phrases begin that say where or when.
const SETTINGS: &[&str] = &["at ", "under ", "in the ", "by ", "during "];

fn embed(words: &Words, stems: &[String]) -> Option<Vec<f32>> {
    words.embed_stems(&stems.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The meaning of a text that has at least one known word: a file name put together from syllables means nothing.
fn known(words: &Words, text: &str) -> Option<Vec<f32>> {
    let stems: Vec<String> = tokens(text).into_iter().map(|t| t.stem).filter(|s| !is_stop(s)).collect();
    stems.iter().any(|s| words.knows(s)).then(|| embed(words, &stems)).flatten()
}

/// How much each label has to do with the adapter's names, or with the other labels: 1 for those that belong, [`STRAY`] for words
/// that merely stood beside a picture.
fn coherence(words: &Words, labels: &[&str], names: &[Vec<f32>]) -> Vec<f32> {
    let vectors: Vec<Option<Vec<f32>>> = labels.iter().map(|l| words.embed(l)).collect();
    let one = |at: usize| {
        let Some(own) = &vectors[at] else { return STRAY };
        let to_names = names.iter().map(|n| dot(n, own)).fold(0.0, f32::max);
        let others: Vec<f32> = vectors
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .filter_map(|(_, v)| Some(dot(v.as_ref()?, own)))
            .collect();
        // Two labels may agree by chance; half of them do not.
        let agree = others.iter().filter(|c| **c > 0.5).count();
        let to_others = if agree >= 2 && 2 * agree >= others.len() { 0.5 } else { 0.0 };
        STRAY + (1.0 - STRAY) * ((to_names.max(to_others) - 0.2) / 0.25).clamp(0.0, 1.0)
    };
    (0..labels.len()).map(one).collect()
}

/// How well a card fits some words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// 0..1, what the place made of it.
    pub score: f32,
    /// The same before the place counts.
    pub raw: f32,
    /// The very words of a trigger or the title.
    pub exact: bool,
    /// Too broad or too narrow, in words.
    pub scope: Option<&'static str>,
    /// The phrase of the card.
    pub because: String,
}

/// Holds a card against stems of the prompt.
pub fn fit(stems: &[&str], place: Place, phrases: &Phrases, library: &Library) -> Fit {
    let words = library.words();
    let Some(vector) = words.embed_stems(stems) else { return Fit::default() };
    let telling = |s: &str| match s {
        s if MEDIA.contains(&s) => MEDIUM,
        s if PICTURE.contains(&s) => GENERIC,
        s => words.weight(s).max(0.2),
    };
    let total: f32 = stems.iter().map(|s| telling(s)).sum();
    // Words about pictures as such name no topic.
    if stems.iter().all(|s| PICTURE.contains(s)) {
        return Fit::default();
    }
    let mut best = Fit::default();
    let mut best_phrase = None;
    for phrase in &phrases.0 {
        if phrase.setting && matches!(place, Place::Thing | Place::Action) {
            continue;
        }
        let shared: f32 = stems.iter().filter(|s| phrase.stems.iter().any(|p| p == *s)).map(|s| telling(s)).sum();
        let all: f32 = phrase.stems.iter().map(|s| telling(s)).sum();
        let lexical = (shared / total.max(1e-3)) * (shared / all.max(1e-3));
        let cosine = phrase.vector.as_deref().map_or(0.0, |v| dot(v, &vector));
        let meaning = ((cosine - STRANGE) / (SAME - STRANGE)).clamp(0.0, 1.0) * MEANING;
        // Some of a longer name is not that name: "pumpkin" is no "pumpkin lantern".
        let part = stems.len() < phrase.stems.len()
            && stems.iter().all(|s| phrase.stems.iter().any(|p| p == s))
            && phrase.stems.iter().any(|p| !stems.contains(&p.as_str()) && !PICTURE.contains(&p.as_str()));
        let score = phrase.weight * if part { lexical } else { lexical.max(meaning) };
        if score > best.raw {
            let exact = phrase.name && lexical > 0.8;
            best = Fit { score, raw: score, exact, scope: None, because: phrase.text.clone() };
            best_phrase = Some((phrase, lexical));
        }
    }
    if let Some((phrase, lexical)) = best_phrase
        && lexical < 0.8
    {
        best.scope = scope(stems, phrase, words);
    }
    best
}

/// Stylus's rules 5 and 6: nothing broader than the topic ("food" for "hot dog"), nothing much narrower.
fn scope(stems: &[&str], phrase: &Phrase, words: &Words) -> Option<&'static str> {
    let topic = head(stems, words)?;
    let own: Vec<&str> = phrase.stems.iter().map(String::as_str).collect();
    let card = head(&own, words)?;
    if words.steps_up(&topic, &card, 6).is_some() {
        return Some("broader than these words");
    }
    if words.steps_up(&card, &topic, 4).is_some() {
        return Some("narrower than these words");
    }
    None
}

/// The longest known ending of a phrase: "polar bear", not "bear".
fn head(stems: &[&str], words: &Words) -> Option<String> {
    let content: Vec<&str> = stems.iter().copied().filter(|s| !PICTURE.contains(s)).collect();
    (0..content.len()).map(|from| content[from..].join("_")).find(|joined| words.knows(joined))
}
