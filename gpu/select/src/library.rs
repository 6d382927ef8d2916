//! The retriever: the cards of a library, found by their words and by their meaning.

use crate::admitted::Admitted;
use crate::bm25::{self, Bm25, best};
use crate::card::{Card, Entry, Kind};
use crate::fit::Phrases;
use crate::lean::Lean;
use crate::text::{is_stop, tokens};
use crate::words::{Words, normalize};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Libraries smaller than this are searched in full dimensions: there is nothing to gain.
const WORTH_REDUCING: usize = 4096;
/// Dimensions of the first pass.
const REDUCED: usize = 96;
/// Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION: f32 = 60.0;

/// Labels on fewer cards than this are nobody's habit.
const COMMON: usize = 8;
/// Share of cards from which a label says less.
const RARE: f32 = 0.004;
/// Cards whose phrases are kept at hand, some 20 KB each.
const MOST_PHRASES: usize = 768;

/// What the model at hand is, for telling which adapters fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Class of models, as on cards.
    pub family: Option<String>,
    /// Width of its text embedding.
    pub context: Option<usize>,
}

impl Target {
    /// Why a card does not fit, in words; none if it does or nothing tells.
    pub fn objection(&self, card: &Card) -> Option<String> {
        let shown = |family: &str| match family {
            "sd1" => "SD 1.x".to_owned(),
            "sd2" => "SD 2.x".to_owned(),
            "sdxl" => "SDXL".to_owned(),
            other => other.to_owned(),
        };
        match (&self.family, &card.family) {
            (Some(own), Some(other)) if own != other => return Some(format!("made for {}", shown(other))),
            _ => {}
        }
        match (self.context, card.context) {
            (Some(own), Some(other)) if own != other => {
                Some(format!("made for a model with a text embedding of {other}, this one has {own}"))
            }
            _ => None,
        }
    }
}

/// Which cards may be proposed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The model they shall fit.
    pub target: Target,
    /// Only these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Only licences that contain one of these (lower case); empty for all.
    pub licences: Vec<String>,
    /// Only cards with all of these tags (lower case); empty for all.
    pub tags: Vec<String>,
}

impl Filter {
    /// Whether a card passes.
    pub fn admits(&self, card: &Card) -> bool {
        let licence = || card.licence.as_deref().unwrap_or_default().to_lowercase();
        let has = |tag: &String| card.tags.iter().chain(&card.triggers).any(|t| t.to_lowercase() == *tag);
        self.target.objection(card).is_none()
            && (self.kinds.is_empty() || self.kinds.contains(&card.kind))
            && (self.licences.is_empty() || self.licences.iter().any(|l| licence().contains(l.as_str())))
            && self.tags.iter().all(has)
    }
}

/// How the retriever searches; the two halves alone are for measuring what each is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both, their ranks fused.
    #[default]
    Hybrid,
    /// Words alone.
    Bm25,
    /// Meaning alone.
    Embedding,
}

/// Cards that can be searched.
pub struct Library {
    words: Arc<Words>,
    /// With their edits laid over what was found.
    entries: Vec<Entry>,
    bm25: Bm25,
    lean: Lean,
    /// On how many cards each label stands.
    labels: HashMap<u64, u32>,
    /// What the last filter admits: the same one is asked for with every key that is typed.
    admitted: Mutex<Option<(Filter, Arc<Admitted>)>>,
    /// Cards taken apart lately: the same ones come near with every key that is typed.
    phrases: Mutex<HashMap<u32, Arc<Phrases>>>,
}

impl Library {
    /// Indexes entries. Their cards are held with the edits laid over and without captions that few pictures share.
    pub fn new(words: Arc<Words>, mut entries: Vec<Entry>) -> Library {
        for entry in &mut entries {
            let edits = std::mem::take(&mut entry.edits);
            entry.found = edits.over(std::mem::take(&mut entry.found));
            // What is given up here the index is built in; given up at the end it would lie idle.
            entry.found.fit();
        }
        let (dim, count) = (words.dim(), entries.len());
        let (mut bm25, mut queries) = (bm25::Builder::default(), Vec::new());
        let mut labels: HashMap<u64, u32> = HashMap::new();
        for entry in &entries {
            let mut own: Vec<u64> = entry.found.labels().map(label).collect();
            own.sort_unstable();
            own.dedup();
            own.into_iter().for_each(|l| *labels.entry(l).or_default() += 1);
            let of = |text: &str| tokens(text).into_iter().map(|t| t.stem).filter(|s| !is_stop(s)).collect::<Vec<_>>();
            let stems: Vec<(String, f32)> = fields(&entry.name, &entry.found)
                .into_iter()
                .flat_map(|(text, weight)| of(text).into_iter().map(move |s| (s, weight)))
                .collect();
            bm25.add(stems.iter().map(|(s, w)| (s.as_str(), *w)));
            // Topics look like titles and triggers do.
            if count >= WORTH_REDUCING && queries.len() < 4000 * dim {
                queries.extend(words.embed(&entry.found.title).unwrap_or_else(|| vec![0.0; dim]));
            }
        }
        let reduced = if count < WORTH_REDUCING { dim } else { REDUCED };
        let row = |at: usize, into: &mut [f32]| {
            let Entry { name, found, .. } = &entries[at];
            meaning(&words, name, found, into);
        };
        let lean = Lean::build(count, &queries, dim, reduced, &row);
        for entry in &mut entries {
            entry.found.captions.truncate(Card::TELLING);
            entry.found.fit();
        }
        // Almost all labels are rare: those that are need no place.
        labels.retain(|_, n| *n as usize >= COMMON);
        labels.shrink_to_fit();
        let (admitted, phrases) = Default::default();
        Library { words, entries, bm25: bm25.finish(), lean, labels, admitted, phrases }
    }

    /// The word vectors.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// All entries, their cards with the edits laid over.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Notes the hash of an entry's tensors.
    pub fn set_key(&mut self, entry: u32, key: String) {
        if let Some(entry) = self.entries.get_mut(entry as usize) {
            entry.key = Some(key);
        }
    }

    /// The card of an entry, edits applied.
    pub fn card(&self, entry: u32) -> &Card {
        &self.entries[entry as usize].found
    }

    /// Number of cards.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The unit vector under which a card is stored, before quantisation.
    pub fn meaning(&self, name: &str, card: &Card) -> Vec<f32> {
        let mut vector = vec![0.0; self.words.dim()];
        meaning(&self.words, name, card, &mut vector);
        vector
    }

    /// The vectors' table.
    pub fn vectors(&self) -> &Lean {
        &self.lean
    }

    /// The table of words.
    pub fn postings(&self) -> &Bm25 {
        &self.bm25
    }

    /// How much a label says in this library, 0..1: one that stands on everything says little.
    pub fn rarity(&self, text: &str) -> f32 {
        let n = self.labels.get(&label(text)).copied().unwrap_or(0) as f32;
        (RARE * self.len() as f32 / n.max(1.0)).sqrt().clamp(0.35, 1.0).max(if (n as usize) < COMMON {
            1.0
        } else {
            0.0
        })
    }

    /// A card taken apart.
    pub fn phrases(&self, entry: u32) -> Arc<Phrases> {
        let held = |all: &HashMap<u32, Arc<Phrases>>| all.get(&entry).cloned();
        if let Some(phrases) = held(&self.phrases.lock().unwrap_or_else(PoisonError::into_inner)) {
            return phrases;
        }
        let made = Arc::new(Phrases::of(self, entry));
        let mut all = self.phrases.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_PHRASES {
            all.clear();
        }
        all.insert(entry, made.clone());
        made
    }

    /// What a filter admits.
    pub fn admitted(&self, filter: &Filter) -> Arc<Admitted> {
        let mut last = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, admitted)) if of == filter => admitted.clone(),
            _ => {
                let admitted = Arc::new(Admitted::of(self.len(), |entry| filter.admits(self.card(entry))));
                *last = Some((filter.clone(), admitted.clone()));
                admitted
            }
        }
    }

    /// The `k` cards nearest to a text, best first, with the fused score.
    pub fn retrieve(&self, text: &str, filter: &Filter, k: usize, mode: Mode) -> Vec<(u32, f32)> {
        self.search(text, k, mode, &self.admitted(filter))
    }

    /// As [`Library::retrieve`] among given cards.
    pub fn search(&self, text: &str, k: usize, mode: Mode, admitted: &Admitted) -> Vec<(u32, f32)> {
        let found = tokens(text);
        let stems: Vec<&str> = found.iter().map(|t| t.stem.as_str()).filter(|s| !is_stop(s)).collect();
        self.find(&stems, k, mode, admitted)
    }

    /// As [`Library::search`] for stems that carry meaning.
    pub fn find(&self, stems: &[&str], k: usize, mode: Mode, admitted: &Admitted) -> Vec<(u32, f32)> {
        let lexical = || self.bm25.search(stems, k, admitted);
        let semantic = || self.words.embed_stems(stems).map_or_else(Vec::new, |q| self.lean.search(&q, k, admitted));
        match mode {
            Mode::Bm25 => lexical(),
            Mode::Embedding => semantic(),
            Mode::Hybrid => fuse([lexical(), semantic()], k),
        }
    }
}

/// The ranks of several lists in one.
fn fuse(lists: impl IntoIterator<Item = Vec<(u32, f32)>>, k: usize) -> Vec<(u32, f32)> {
    let mut fused: HashMap<u32, f32> = HashMap::new();
    for list in lists {
        for (rank, (entry, _)) in list.into_iter().enumerate() {
            *fused.entry(entry).or_default() += 1.0 / (FUSION + 1.0 + rank as f32);
        }
    }
    let mut fused: Vec<(u32, f32)> = fused.into_iter().collect();
    best(&mut fused, k);
    fused
}

/// A label without regard to case.
fn label(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.trim().chars().flat_map(char::to_lowercase).for_each(|c| hasher.write_u32(c as u32));
    hasher.finish()
}

/// The unit vector of a card, written into zeros.
fn meaning(words: &Words, name: &str, card: &Card, into: &mut [f32]) {
    fields(name, card).into_iter().for_each(|(text, weight)| words.add_text(text, weight, into));
    normalize(into);
}

/// The texts of a card with their weights: Stylus embeds "Title; Description; Tags", all alike.
fn fields<'a>(name: &'a str, card: &'a Card) -> Vec<(&'a str, f32)> {
    let mut out = vec![(card.title.as_str(), 3.0), (card.description.as_str(), 1.0)];
    if card.title.is_empty() {
        out.push((name, 2.0));
    }
    out.extend(card.triggers.iter().take(8).map(|t| (t.as_str(), 3.0)));
    out.extend(card.tags.iter().take(16).map(|t| (t.as_str(), 1.5)));
    // Tag soup: many captions say little each.
    let soup = 1.0 / (1.0 + card.captions.len() as f32 / 4.0);
    out.extend(card.captions.iter().take(16).map(|c| (c.text.as_str(), 2.0 * c.share * soup)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{entry, shared_words};

    fn library() -> Library {
        let mut cards = vec![
            entry("wtrclr_v3", "Watercolour", &["watercolour"], Kind::Style),
            entry("bot", "Robot", &["robot"], Kind::Subject),
            entry("horn", "Unicorn", &["unicorn"], Kind::Subject),
        ];
        cards[2].found.family = Some("sdxl".into());
        cards[1].found.licence = Some("CC BY 4.0".into());
        Library::new(shared_words(), cards)
    }

    #[test]
    fn words_and_meaning_find_cards() {
        let lib = library();
        let all = Filter::default();
        for mode in [Mode::Hybrid, Mode::Bm25, Mode::Embedding] {
            assert_eq!(lib.retrieve("a watercolor", &all, 3, mode)[0].0, 0, "{mode:?}");
        }
        assert_eq!(lib.retrieve("android", &all, 1, Mode::Hybrid)[0].0, 1);
        assert!(lib.retrieve("android", &all, 1, Mode::Bm25).is_empty());
        assert!(lib.retrieve("of the", &all, 1, Mode::Hybrid).is_empty());
    }

    #[test]
    fn filters_hold() {
        let lib = library();
        let sd1 = Filter { target: Target { family: Some("sd1".into()), context: None }, ..Filter::default() };
        assert!(lib.retrieve("unicorn", &sd1, 9, Mode::Hybrid).iter().all(|(e, _)| *e != 2));
        assert_eq!(sd1.target.objection(lib.card(2)).as_deref(), Some("made for SDXL"));
        let styles = Filter { kinds: vec![Kind::Style], ..Filter::default() };
        assert_eq!(lib.retrieve("robot", &styles, 9, Mode::Hybrid).iter().map(|h| h.0).collect::<Vec<_>>(), [0]);
        let free = Filter { licences: vec!["cc by".into()], ..Filter::default() };
        assert_eq!(lib.retrieve("robot", &free, 9, Mode::Hybrid).iter().map(|h| h.0).collect::<Vec<_>>(), [1]);
        let tagged = Filter { tags: vec!["unicorn".into()], ..Filter::default() };
        assert_eq!(lib.retrieve("robot", &tagged, 9, Mode::Hybrid).iter().map(|h| h.0).collect::<Vec<_>>(), [2]);
    }
}
