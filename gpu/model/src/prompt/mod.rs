//! From what a person types to token ids.
//!
//! Plain prompts today. Weights (`(word:1.2)`), `BREAK`, `[from:to:when]` and prompts beyond one window become a file each here: they turn a
//! prompt into several windows and a weight per token, and [`Window`] is one of those.

use crate::tokenizer::Tokenizer;

/// One window of the text encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Token ids with start, end and padding.
    pub ids: Vec<u32>,
    /// Tokens of the prompt that are in the window.
    pub used: usize,
    /// Tokens that a prompt can have in a window.
    pub room: usize,
    /// Tokens that did not fit and were left out.
    pub dropped: usize,
}

impl Window {
    /// For a person: `12/75 tokens`, and how many were left out.
    pub fn summary(&self) -> String {
        match self.dropped {
            0 => format!("{}/{} tokens", self.used, self.room),
            n => format!("{}/{} tokens, the last {n} left out", self.used, self.room),
        }
    }
}

/// A prompt taken literally, cut to a window of `length` ids.
pub fn plain(tokenizer: &Tokenizer, prompt: &str, length: usize) -> Window {
    let encoded = tokenizer.encode(prompt, length);
    let room = length.saturating_sub(2);
    Window { used: encoded.tokens.min(room), room, dropped: encoded.dropped, ids: encoded.ids }
}
