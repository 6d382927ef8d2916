//! CLIP's tokenizer: text to ids as transformers' CLIPTokenizer gives them.
//!
//! Radford et al. 2021 (arXiv 2103.00020) with the byte-level pair encoding of GPT-2 (Sennrich et al. 2016, arXiv 1508.07909): NFC, white
//! space collapsed, lower case, split into words, each word's bytes joined pair by pair in the order of the merges.

mod bytes;
mod files;
mod quick;
mod words;

use std::sync::Arc;

use admix_files::checkpoint::TokenizerFiles;

use self::quick::Map;
use crate::ModelError;

/// A vocabulary and its rules.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// Shared by clones, as the merges are: CLIP's has 49,408 words.
    vocab: Arc<Map<String, u32>>,
    /// Pair of ids to (rank, id of the joined token).
    merges: Arc<Map<(u32, u32), (usize, u32)>>,
    /// Tokens that are looked for in the raw text, longest first.
    special: Vec<(String, u32)>,
    start: u32,
    end: u32,
    pad: u32,
    unknown: u32,
}

/// A prompt as ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Exactly as many as asked for: start, tokens, end, padding.
    pub ids: Vec<u32>,
    /// Tokens of the whole text, without start and end, dropped ones included.
    pub tokens: usize,
    /// Tokens at the text's end that did not fit.
    pub dropped: usize,
}

impl Tokenizer {
    /// The tokenizer of a diffusers folder: `vocab.json` and `merges.txt`, or `tokenizer.json`.
    ///
    /// # Errors
    /// A file is missing or damaged, or not of CLIP's kind.
    pub fn from_files(files: &TokenizerFiles) -> Result<Self, ModelError> {
        files::known(files)
    }

    /// CLIP's own vocabulary of 49,408 tokens, for checkpoints that carry none. Pads with the end token, as Stable Diffusion 1 does.
    pub fn clip() -> Self {
        files::clip()
    }

    /// The same tokenizer with another padding token (Stable Diffusion 2 pads with `!`); unchanged if the vocabulary has no such token.
    ///
    /// As in transformers the padding token becomes special: it is its own id wherever the text has it.
    #[must_use]
    pub fn with_pad(mut self, token: &str) -> Self {
        if let Some(&id) = self.vocab.get(token) {
            self.pad = id;
            self.add_special(token, id);
        }
        self
    }

    fn add_special(&mut self, token: &str, id: u32) {
        if !token.is_empty() && !self.special.iter().any(|(t, _)| t == token) {
            self.special.push((token.to_owned(), id));
            self.special.sort_by_key(|(t, _)| std::cmp::Reverse(t.len()));
        }
    }

    /// Number of tokens in the vocabulary.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// Whether the vocabulary is empty (a tokenizer that was read never is).
    pub fn is_empty(&self) -> bool {
        self.vocab.is_empty()
    }

    /// Largest id it can give: the text encoder's table must reach beyond it.
    pub fn max_id(&self) -> u32 {
        self.vocab.values().copied().max().unwrap_or(0)
    }

    /// The id of a token as the vocabulary spells it (`,</w>`).
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocab.get(token).copied()
    }

    /// Ids of the start, end and padding tokens.
    pub fn special_ids(&self) -> (u32, u32, u32) {
        (self.start, self.end, self.pad)
    }

    /// `length` ids (CLIP: 77): start, the text's tokens, end, padding; what does not fit is dropped and counted.
    pub fn encode(&self, text: &str, length: usize) -> Encoded {
        let tokens = self.tokenize(text);
        let room = length.saturating_sub(2);
        let kept = tokens.len().min(room);
        let mut ids = Vec::with_capacity(length);
        ids.push(self.start);
        ids.extend_from_slice(&tokens[..kept]);
        ids.push(self.end);
        ids.resize(length, self.pad);
        Encoded { ids, tokens: tokens.len(), dropped: tokens.len() - kept }
    }

    /// Ids of a text, without start, end and padding.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        let (mut rest, mut plain_from) = (0, 0);
        while rest < text.len() {
            let tail = &text[rest..];
            if let Some((token, id)) = self.special.iter().find(|(t, _)| tail.starts_with(t.as_str())) {
                self.tokenize_plain(&text[plain_from..rest], &mut out);
                out.push(*id);
                rest += token.len();
                plain_from = rest;
            } else {
                rest += tail.chars().next().map_or(1, char::len_utf8);
            }
        }
        self.tokenize_plain(&text[plain_from..], &mut out);
        out
    }

    fn tokenize_plain(&self, text: &str, out: &mut Vec<u32>) {
        let text = words::normalize(text);
        for word in words::split(&text) {
            self.join_pairs(word, out);
        }
    }

    /// Byte-pair encoding of one word.
    fn join_pairs(&self, word: &str, out: &mut Vec<u32>) {
        let last = word.len().saturating_sub(1);
        let symbol = |(i, b): (usize, u8)| {
            let mut s = String::from(bytes::printable(b));
            if i == last {
                s.push_str("</w>");
            }
            self.vocab.get(&s).copied().unwrap_or(self.unknown)
        };
        let mut ids: Vec<u32> = word.bytes().enumerate().map(symbol).collect();
        loop {
            // The pair of lowest rank, the leftmost of equals.
            let pairs = ids.windows(2).enumerate();
            let ranked = pairs.filter_map(|(i, w)| self.merges.get(&(w[0], w[1])).map(|&(rank, id)| (rank, i, id)));
            let Some((_, at, id)) = ranked.min() else { break };
            ids[at] = id;
            ids.remove(at + 1);
        }
        out.extend(ids);
    }
}
