//! The retriever: the cards of a library, found by their words and by their meaning.

use crate::bm25::{Bm25, best};
use crate::card::{Card, Entry, Kind};
use crate::lean::Lean;
use crate::text::{is_stop, tokens};
use crate::words::{Words, normalize};
use std::collections::HashMap;
use std::sync::Arc;

/// Libraries smaller than this are searched in full dimensions: there is nothing to gain.
const WORTH_REDUCING: usize = 4096;
/// Dimensions of the first pass.
const REDUCED: usize = 64;
/// Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION: f32 = 60.0;

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
    entries: Vec<Entry>,
    cards: Vec<Card>,
    bm25: Bm25,
    lean: Lean,
}

impl Library {
    /// Indexes entries: about 10 microseconds of work a card.
    pub fn new(words: Arc<Words>, entries: Vec<Entry>) -> Library {
        let cards: Vec<Card> = entries.iter().map(Entry::card).collect();
        let dim = words.dim();
        let mut bm25 = Bm25::default();
        let (mut vectors, mut queries) = (Vec::with_capacity(cards.len() * dim), Vec::new());
        for (entry, card) in entries.iter().zip(&cards) {
            let of = |text: &str| tokens(text).into_iter().map(|t| t.stem).filter(|s| !is_stop(s)).collect::<Vec<_>>();
            let stems: Vec<(String, f32)> = fields(&entry.name, card)
                .into_iter()
                .flat_map(|(text, weight)| of(text).into_iter().map(move |s| (s, weight)))
                .collect();
            vectors.extend(meaning(&words, &entry.name, card));
            bm25.add(stems.iter().map(|(s, w)| (s.as_str(), *w)));
            // Topics look like titles and triggers do.
            if cards.len() >= WORTH_REDUCING && queries.len() < 4000 * dim {
                queries.extend(words.embed(&card.title).unwrap_or_else(|| vec![0.0; dim]));
            }
        }
        let reduced = if cards.len() < WORTH_REDUCING { dim } else { REDUCED };
        let lean = Lean::build(&vectors, &queries, dim, reduced);
        Library { words, entries, cards, bm25, lean }
    }

    /// The word vectors.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The card of an entry, edits applied.
    pub fn card(&self, entry: u32) -> &Card {
        &self.cards[entry as usize]
    }

    /// Number of cards.
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// The unit vector under which a card is stored, before quantisation.
    pub fn meaning(&self, name: &str, card: &Card) -> Vec<f32> {
        meaning(&self.words, name, card)
    }

    /// The vectors' table.
    pub fn vectors(&self) -> &Lean {
        &self.lean
    }

    /// The `k` cards nearest to a text, best first, with the fused score.
    pub fn retrieve(&self, text: &str, filter: &Filter, k: usize, mode: Mode) -> Vec<(u32, f32)> {
        let allow = |entry: u32| filter.admits(self.card(entry));
        self.search(text, k, mode, &allow)
    }

    /// As [`Library::retrieve`] with any condition.
    pub fn search(&self, text: &str, k: usize, mode: Mode, allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let found = tokens(text);
        let stems: Vec<&str> = found.iter().map(|t| t.stem.as_str()).filter(|s| !is_stop(s)).collect();
        let lexical = || self.bm25.search(&stems, k, allow);
        let semantic = || self.words.embed_stems(&stems).map_or_else(Vec::new, |q| self.lean.search(&q, k, allow));
        match mode {
            Mode::Bm25 => lexical(),
            Mode::Embedding => semantic(),
            Mode::Hybrid => {
                let mut fused: HashMap<u32, f32> = HashMap::new();
                for list in [lexical(), semantic()] {
                    for (rank, (entry, _)) in list.into_iter().enumerate() {
                        *fused.entry(entry).or_default() += 1.0 / (FUSION + 1.0 + rank as f32);
                    }
                }
                let mut fused: Vec<(u32, f32)> = fused.into_iter().collect();
                best(&mut fused, k);
                fused
            }
        }
    }
}

fn meaning(words: &Words, name: &str, card: &Card) -> Vec<f32> {
    let mut vector = vec![0.0; words.dim()];
    fields(name, card).into_iter().for_each(|(text, weight)| words.add_text(text, weight, &mut vector));
    normalize(&mut vector);
    vector
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
