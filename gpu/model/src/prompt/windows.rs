//! Weighted text to windows of the text encoder, by three rules.
//!
//! A1111 (`sd_hijack_clip.py`): windows of 75 tokens one after another; if the last comma of a full window is at most 20 tokens back, what follows it moves
//! to the next window. ComfyUI (`sd1_clip.py`): words stay whole where they have fewer than 8 tokens. LongAlign (Liu et al. 2024, arXiv
//! 2410.11817): every sentence has a window of its own.

use super::weights::Part;
use super::{Inversion, Placed, Window};
use crate::tokenizer::Tokenizer;

/// Words of at least this many tokens may be torn apart (ComfyUI's `max_word_length`).
const LONG_WORD: usize = 8;

/// Most windows a prompt may have: beyond this a prompt is cut (and counted as cut), so that no text can ask for any amount of memory.
pub const MOST_WINDOWS: usize = 64;

/// One token to be: an id of the vocabulary, or one vector of an inversion.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Id(u32),
    Vector { inversion: usize, vector: usize },
}

/// Fills windows one after another.
pub(super) struct Filler<'a> {
    tokenizer: &'a Tokenizer,
    length: usize,
    room: usize,
    units: Vec<(Unit, f32)>,
    done: Vec<Window>,
}

impl<'a> Filler<'a> {
    pub fn new(tokenizer: &'a Tokenizer, length: usize) -> Filler<'a> {
        Filler { tokenizer, length, room: length.saturating_sub(2).max(1), units: Vec::new(), done: Vec::new() }
    }

    /// Ends the window in work, empty or not.
    fn close(&mut self) {
        let units = std::mem::take(&mut self.units);
        let (start, end, pad) = self.tokenizer.special_ids();
        let room = self.length.saturating_sub(2);
        let mut window = Window { used: units.len().min(room), room, ..Window::default() };
        window.ids.push(start);
        window.weights.push(1.0);
        for (unit, weight) in units.into_iter().take(room) {
            match unit {
                Unit::Id(id) => window.ids.push(id),
                Unit::Vector { inversion, vector } => {
                    window.placed.push(Placed { at: window.ids.len(), inversion, vector });
                    // A1111 writes 0 where a vector will stand.
                    window.ids.push(0);
                }
            }
            window.weights.push(weight);
        }
        window.ids.push(end);
        window.ids.resize(self.length, pad);
        window.weights.resize(self.length, 1.0);
        self.done.push(window);
    }

    /// The windows; a prompt without text has one empty window. Too many are cut, the last kept one says so.
    pub fn finish(mut self) -> Vec<Window> {
        if !self.units.is_empty() || self.done.is_empty() {
            self.close();
        }
        if self.done.len() > MOST_WINDOWS {
            let lost: usize = self.done[MOST_WINDOWS..].iter().map(|w| w.used).sum();
            self.done.truncate(MOST_WINDOWS);
            if let Some(last) = self.done.last_mut() {
                last.dropped = lost;
            }
        }
        self.done
    }

    /// A1111's rules; `backtrack` 0 turns the search for a comma off.
    pub fn a1111(&mut self, parts: &[Part], inversions: &[Inversion], backtrack: usize) {
        let comma = self.tokenizer.id(",</w>");
        let words = Words::new(self.tokenizer, inversions);
        let mut last_comma: Option<usize> = None;
        for part in parts {
            let Part::Text(text, weight) = part else {
                self.close();
                last_comma = None;
                continue;
            };
            let weight = *weight as f32;
            let tokens = self.tokenizer.tokenize(text);
            let mut at = 0;
            while let Some(&token) = tokens.get(at) {
                let full = self.units.len() >= self.room;
                if Some(token) == comma {
                    last_comma = Some(self.units.len());
                } else if full
                    && backtrack > 0
                    && let Some(comma) = last_comma.filter(|c| self.units.len() - c <= backtrack)
                {
                    let moved = self.units.split_off((comma + 1).min(self.units.len()));
                    self.close();
                    last_comma = None;
                    self.units = moved;
                }
                if self.units.len() >= self.room {
                    self.close();
                    last_comma = None;
                }
                let Some((inversion, used)) = words.at(&tokens[at..]) else {
                    self.units.push((Unit::Id(token), weight));
                    at += 1;
                    continue;
                };
                let count = inversions[inversion].vectors;
                if self.units.len() + count > self.room && !self.units.is_empty() {
                    self.close();
                    last_comma = None;
                }
                for vector in 0..count {
                    if self.units.len() >= self.room {
                        self.close();
                    }
                    self.units.push((Unit::Vector { inversion, vector }, weight));
                }
                at += used;
            }
        }
    }

    /// ComfyUI's rules; inversions are called up as `embedding:name`.
    pub fn comfy(&mut self, parts: &[Part], inversions: &[Inversion]) {
        for part in parts {
            let Part::Text(text, weight) = part else { continue };
            let weight = *weight as f32;
            for word in text.replace('\n', " ").split(' ').filter(|w| !w.is_empty()) {
                let mut word = word;
                if let Some(name) = word.strip_prefix("embedding:") {
                    let exact = |n: &str| inversions.iter().position(|i| i.is_called(n));
                    let bare = name.trim_end_matches(',');
                    if let Some(inversion) = exact(name).or_else(|| exact(bare)) {
                        let units = (0..inversions[inversion].vectors).map(|vector| Unit::Vector { inversion, vector });
                        self.word(units.collect(), weight);
                        word = if exact(name).is_some() { "" } else { &name[bare.len()..] };
                    }
                }
                if !word.is_empty() {
                    let exact = self.tokenizer.id(&format!("{word}</w>")).map(|id| vec![id]);
                    let ids = exact.unwrap_or_else(|| self.tokenizer.tokenize(word));
                    self.word(ids.into_iter().map(Unit::Id).collect(), weight);
                }
            }
        }
    }

    /// One word of ComfyUI's: whole into a window, unless it is long.
    fn word(&mut self, units: Vec<Unit>, weight: f32) {
        let long = units.len() >= LONG_WORD;
        let mut rest = &units[..];
        while !rest.is_empty() {
            let free = self.room.saturating_sub(self.units.len());
            if rest.len() <= free {
                self.units.extend(rest.iter().map(|u| (*u, weight)));
                return;
            }
            // A short word that is wider than a whole window would never fit: torn too.
            if long || self.units.is_empty() {
                self.units.extend(rest[..free].iter().map(|u| (*u, weight)));
                rest = &rest[free..];
            }
            self.close();
        }
    }

    /// Every sentence in windows of its own.
    pub fn sentences(&mut self, parts: &[Part], inversions: &[Inversion], backtrack: usize) {
        let mut sentence: Vec<Part> = Vec::new();
        let flush = |filler: &mut Self, sentence: &mut Vec<Part>| {
            let blank = |p: &Part| matches!(p, Part::Text(t, _) if t.trim().is_empty());
            if !sentence.iter().all(blank) {
                filler.a1111(sentence, inversions, backtrack);
                if !filler.units.is_empty() {
                    filler.close();
                }
            }
            sentence.clear();
        };
        for part in parts {
            match part {
                Part::Break => flush(self, &mut sentence),
                Part::Text(text, weight) => {
                    let mut pieces = text.split_inclusive(['.', '!', '?', ';']).peekable();
                    while let Some(piece) = pieces.next() {
                        sentence.push(Part::Text(piece.to_owned(), *weight));
                        if piece.ends_with(['.', '!', '?', ';']) || pieces.peek().is_some() {
                            flush(self, &mut sentence);
                        }
                    }
                }
            }
        }
        flush(self, &mut sentence);
    }
}

/// The names of inversions as tokens, the longest first: A1111 finds them wherever those tokens stand.
struct Words(Vec<(Vec<u32>, usize)>);

impl Words {
    fn new(tokenizer: &Tokenizer, inversions: &[Inversion]) -> Words {
        let names = inversions.iter().enumerate().flat_map(|(i, inv)| inv.names.iter().map(move |n| (n, i)));
        let mut list: Vec<_> = names.map(|(n, i)| (tokenizer.tokenize(n), i)).filter(|(t, _)| !t.is_empty()).collect();
        list.sort_by_key(|(tokens, _)| std::cmp::Reverse(tokens.len()));
        Words(list)
    }

    fn at(&self, tokens: &[u32]) -> Option<(usize, usize)> {
        self.0.iter().find(|(name, _)| tokens.starts_with(name)).map(|(name, i)| (*i, name.len()))
    }
}
