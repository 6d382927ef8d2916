//! How well a card fits some words: by the words themselves and by their meaning, phrase by phrase of the card.

use crate::card::Card;
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

/// Some of a longer name whose last word is missing: "cherry blossom" is no "cherry blossom avenue".
const HEADLESS: f32 = 0.75;
/// What counts of words that say which, not what.
const BEFORE: f32 = 0.62;
/// Things that are named after something alike: a "subway map" is no "subway train".
const OTHER_HEAD: f32 = 0.6;

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
        let mut add = |read: Read, weight: f32, name: bool| {
            let Read { text, stems, vector } = read;
            let says = name || stems.iter().any(|s| s.chars().any(char::is_alphabetic));
            let twice = |p: &Phrase| p.stems == stems && p.weight >= weight;
            if stems.is_empty() || stems.len() > 8 || !says || out.iter().any(twice) {
                return;
            }
            let setting = SETTINGS.iter().any(|p| text.trim_start().to_lowercase().starts_with(p));
            out.push(Phrase { text: text.trim().to_owned(), stems, vector, weight, name, setting });
        };
        let title = if card.title.is_empty() { &library.entries()[entry as usize].name } else { &card.title };
        let names: Vec<Read> = card.triggers.iter().take(8).chain([title]).map(|t| Read::of(words, t)).collect();
        // A file name put together from syllables means nothing.
        let known = |n: &&Read| n.stems.iter().any(|s| words.knows(s));
        let meanings: Vec<Vec<f32>> = names.iter().filter(known).filter_map(|n| n.vector.clone()).collect();
        names.into_iter().for_each(|n| add(n, 1.0, true));
        // The more labels, the less each of them says, and so do those that stand on everything.
        let tags: Vec<Read> = card.tags.iter().take(24).map(|t| Read::of(words, t)).collect();
        let many = 0.97 * (12.0 / card.tags.len().max(12) as f32).sqrt();
        let telling = coherence(&tags, &meanings);
        for (tag, belongs) in tags.into_iter().zip(telling) {
            let rare = library.rarity(tag.text);
            add(tag, many * belongs * rare, false);
        }
        let captions: Vec<Read> = card.captions.iter().take(Card::TELLING).map(|c| Read::of(words, &c.text)).collect();
        let lonely = captions.len() == 1 && card.tags.is_empty();
        let telling = coherence(&captions, &meanings);
        for ((caption, read), belongs) in card.captions.iter().zip(captions).zip(telling) {
            let rare = library.rarity(read.text);
            add(read, if lonely { 0.85 } else { 0.8 * caption.share * belongs } * rare, false);
        }
        for part in sentences(&card.description).take(6) {
            add(Read::of(words, part), 0.7, false);
        }
        Phrases(out)
    }
}

/// The parts of a text between its points and commas; a point within a figure is none.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let cut = text.char_indices().find(|(at, c)| match c {
            ',' | ';' | '!' | '(' | ')' => true,
            '.' => !text[at + 1..].starts_with(|c: char| c.is_ascii_digit()),
            _ => false,
        });
        rest = cut.map(|(at, _)| &text[at + 1..]);
        Some(cut.map_or(text, |(at, _)| &text[..at]))
    })
}

/// A text, taken apart once.
struct Read<'a> {
    text: &'a str,
    stems: Vec<String>,
    vector: Option<Vec<f32>>,
}

impl Read<'_> {
    fn of<'a>(words: &Words, text: &'a str) -> Read<'a> {
        let stems: Vec<String> = tokens(text).into_iter().map(|t| t.stem).filter(|s| !is_stop(s)).collect();
        let vector = words.embed_stems(&stems.iter().map(String::as_str).collect::<Vec<_>>());
        Read { text, stems, vector }
    }
}

/// How phrases begin that say where or when.
const SETTINGS: &[&str] = &["at ", "under ", "in the ", "by ", "during "];

/// How much each label has to do with the adapter's names, or with the other labels: 1 for those that belong, [`STRAY`] for words
/// that merely stood beside a picture.
fn coherence(labels: &[Read], names: &[Vec<f32>]) -> Vec<f32> {
    let one = |at: usize| {
        let Some(own) = &labels[at].vector else { return STRAY };
        let to_names = names.iter().map(|n| dot(n, own)).fold(0.0, f32::max);
        let others: Vec<f32> = labels
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .filter_map(|(_, l)| Some(dot(l.vector.as_ref()?, own)))
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
    /// The card's phrase says where or when: "at night".
    pub setting: bool,
    /// Too broad or too narrow, in words.
    pub scope: Option<&'static str>,
    /// The phrase of the card.
    pub because: String,
}

/// Words of the prompt that cards are held against.
pub struct Asked<'a> {
    stems: Vec<&'a str>,
    vector: Option<Vec<f32>>,
    total: f32,
    head: Option<String>,
    /// The last word that is not about pictures as such.
    last: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// From stems that carry meaning.
    pub fn new(stems: Vec<&'a str>, words: &Words) -> Asked<'a> {
        // Words about pictures as such name no topic, nor do figures.
        let says = |s: &&str| !PICTURE.contains(s) && s.chars().any(char::is_alphabetic);
        let vector = if stems.iter().any(says) { words.embed_stems(&stems) } else { None };
        let total = stems.iter().map(|s| telling(s, words)).sum();
        let head = head(&stems, words);
        let last = stems.iter().rfind(|s| says(s)).copied();
        Asked { stems, vector, total, head, last }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.stems.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stems.is_empty()
    }
}

/// How much a word says about its phrase.
fn telling(stem: &str, words: &Words) -> f32 {
    match stem {
        s if MEDIA.contains(&s) => MEDIUM,
        s if PICTURE.contains(&s) => GENERIC,
        s => words.weight(s).max(0.2),
    }
}

/// Holds a card against words of the prompt.
pub fn fit(asked: &Asked, place: Place, phrases: &Phrases, library: &Library) -> Fit {
    let words = library.words();
    let Some(vector) = &asked.vector else { return Fit::default() };
    let stems = &asked.stems;
    let mut best = Fit::default();
    let mut best_phrase = None;
    for phrase in &phrases.0 {
        if phrase.setting && matches!(place, Place::Thing | Place::Action) || phrase.weight <= best.raw {
            continue;
        }
        let has = |s: &&&str| phrase.stems.iter().any(|p| p == **s);
        let shared: f32 = stems.iter().filter(has).map(|s| telling(s, words)).sum();
        let all: f32 = phrase.stems.iter().map(|s| telling(s, words)).sum();
        let mut lexical = (shared / asked.total.max(1e-3)) * (shared / all.max(1e-3));
        let cosine = phrase.vector.as_deref().map_or(0.0, |v| dot(v, vector));
        let mut meaning = ((cosine - STRANGE) / (SAME - STRANGE)).clamp(0.0, 1.0) * MEANING;
        let last = phrase.stems.iter().rfind(|s| !PICTURE.contains(&s.as_str()));
        let headless = last.is_some_and(|l| !stems.contains(&l.as_str()));
        // Some of a longer name is not that name: "pumpkin" is no "pumpkin lantern".
        let part = stems.len() < phrase.stems.len()
            && stems.iter().all(|s| phrase.stems.iter().any(|p| p == s))
            && phrase.stems.iter().any(|p| !stems.contains(&p.as_str()) && !PICTURE.contains(&p.as_str()));
        if part {
            meaning = 0.0;
            lexical *= if headless { HEADLESS } else { 1.0 };
        } else if headless && meaning > lexical && stems.len() + phrase.stems.len() > 2 {
            meaning *= other_head(asked, phrase, words);
        }
        // "A unicorn startup founder" is a founder: the words of the card stand before what it is about.
        let before = asked.last.is_some_and(|l| !phrase.stems.iter().any(|p| p == l))
            && stems.len() > phrase.stems.len()
            && phrase.stems.iter().all(|p| stems.contains(&p.as_str()));
        let score = phrase.weight * lexical.max(meaning) * if before { BEFORE } else { 1.0 };
        if score > best.raw {
            let exact = phrase.name && lexical > 0.8;
            best = Fit { score, raw: score, exact, setting: phrase.setting, scope: None, because: phrase.text.clone() };
            best_phrase = Some((phrase, lexical));
        }
    }
    if let Some((phrase, lexical)) = best_phrase
        && lexical < 0.8
    {
        best.scope = scope(asked, phrase, words);
    }
    best
}

/// What is left of a likeness between two things whose last words have nothing to do with one another.
fn other_head(asked: &Asked, phrase: &Phrase, words: &Words) -> f32 {
    let own: Vec<&str> = phrase.stems.iter().map(String::as_str).collect();
    match (&asked.head, head(&own, words)) {
        (Some(a), Some(b)) if words.is_noun(a) && words.is_noun(&b) && words.cosine(a, &b) < STRANGE => OTHER_HEAD,
        _ => 1.0,
    }
}

/// Stylus's rules 5 and 6: nothing broader than the topic ("food" for "hot dog"), nothing much narrower.
fn scope(asked: &Asked, phrase: &Phrase, words: &Words) -> Option<&'static str> {
    let topic = asked.head.as_ref()?;
    let own: Vec<&str> = phrase.stems.iter().map(String::as_str).collect();
    let card = head(&own, words)?;
    if words.steps_up(topic, &card, 6).is_some() {
        return Some("broader than these words");
    }
    if words.steps_up(&card, topic, 4).is_some() {
        return Some("narrower than these words");
    }
    None
}

/// The longest known ending of a phrase: "polar bear", not "bear".
fn head(stems: &[&str], words: &Words) -> Option<String> {
    let says = |s: &&str| !PICTURE.contains(s) && s.chars().any(char::is_alphabetic);
    let content: Vec<&str> = stems.iter().copied().filter(says).collect();
    (0..content.len()).map(|from| content[from..].join("_")).find(|joined| words.knows(joined))
}
