//! From what a person types to what the text encoder reads.
//!
//! A prompt goes through four notations, outermost first: adapters (`tags`), several prompts at once (`compose`), changes while the picture
//! is made (`schedule`), weights (`weights`). What is left is tokens in windows of the text encoder (`windows`), whose states are weighted and joined
//! (`emphasis`).

mod compose;
mod emphasis;
mod schedule;
mod tags;
mod weights;
mod windows;

pub use schedule::Span;
pub use tags::Tag;
pub use weights::Part;
pub use windows::MOST_WINDOWS;

use std::collections::BTreeSet;

use crate::tokenizer::Tokenizer;

/// Whose notation a prompt is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// AUTOMATIC1111's: `(a:1.2)`, `[a]`, `[a:b:0.5]`, `[a|b]`, `AND`, `BREAK`, `<lora:name:1>`.
    #[default]
    A1111,
    /// ComfyUI's: `(a:1.2)`, `embedding:name`; square brackets are text.
    Comfy,
    /// Everything is text.
    Plain,
}

/// How weights act on states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emphasis {
    /// Multiply, then bring the window's mean back (A1111's default).
    #[default]
    Original,
    /// Multiply.
    NoNorm,
    /// Move away from, or towards, the states of the empty prompt (ComfyUI).
    Comfy,
    /// Weights are read and do nothing.
    Ignore,
}

/// What becomes of a prompt beyond one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Long {
    /// More windows, one after another.
    #[default]
    Windows,
    /// A window for every sentence, joined as LongAlign does.
    Sentences,
    /// Cut after the first window.
    Cut,
}

/// The choices together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Notation.
    pub syntax: Syntax,
    /// What weights do.
    pub emphasis: Emphasis,
    /// Long prompts.
    pub long: Long,
    /// How far back a comma may be for a full window to end there (A1111; 0: never).
    pub backtrack: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { syntax: Syntax::A1111, emphasis: Emphasis::Original, long: Long::Windows, backtrack: 20 }
    }
}

/// A textual inversion as a prompt sees it: words that call it up, and how many tokens it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inversion {
    /// Words that call it up.
    pub names: Vec<String>,
    /// Vectors.
    pub vectors: usize,
}

impl Inversion {
    fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }
}

/// Where a vector stands in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Position, 0 is the start token's.
    pub at: usize,
    /// Which inversion.
    pub inversion: usize,
    /// Which of its vectors.
    pub vector: usize,
}

/// One window of the text encoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Token ids with start, end and padding.
    pub ids: Vec<u32>,
    /// Factor on each token's state.
    pub weights: Vec<f32>,
    /// Vectors that stand in place of tokens.
    pub placed: Vec<Placed>,
    /// Tokens of the prompt that are in the window.
    pub used: usize,
    /// Tokens that a prompt can have in a window.
    pub room: usize,
    /// Tokens that did not fit and were left out.
    pub dropped: usize,
}

impl Window {
    /// Whether any weight is not 1.
    pub fn is_weighted(&self) -> bool {
        self.weights.iter().any(|w| *w != 1.0)
    }

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
    let weights = vec![1.0; encoded.ids.len()];
    Window {
        used: encoded.tokens.min(room),
        room,
        dropped: encoded.dropped,
        ids: encoded.ids,
        weights,
        placed: Vec::new(),
    }
}

/// One of several prompts that act together.
#[derive(Clone, Debug, PartialEq)]
struct Branch {
    weight: f64,
    periods: Vec<schedule::Period>,
}

/// A prompt over the steps of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    branches: Vec<Branch>,
}

impl Prompt {
    /// Reads a prompt. With `composes` `AND` separates branches; a negative prompt has one branch only.
    pub fn read(text: &str, syntax: Syntax, span: Span, composes: bool) -> Prompt {
        if syntax != Syntax::A1111 {
            let periods = vec![schedule::Period { last: span.steps, text: text.to_owned() }];
            return Prompt { branches: vec![Branch { weight: 1.0, periods }] };
        }
        let parts = if composes { compose::split(text) } else { vec![(text.to_owned(), 1.0)] };
        let branch = |(text, weight): (String, f64)| Branch { weight, periods: schedule::periods(&text, span) };
        Prompt { branches: parts.into_iter().map(branch).collect() }
    }

    /// Weights of the branches.
    pub fn weights(&self) -> Vec<f64> {
        self.branches.iter().map(|b| b.weight).collect()
    }

    /// The texts in force at a step, counted from 0; one per branch.
    pub fn at(&self, step: usize) -> Vec<&str> {
        self.branches.iter().map(|b| schedule::at(&b.periods, step)).collect()
    }
}

/// Adapters a prompt names: the prompt without them, the tags, and tags that are not understood. Only A1111's notation and ComfyUI's users' have any.
pub fn take_tags(prompt: &str, syntax: Syntax) -> (String, Vec<Tag>, Vec<String>) {
    if syntax == Syntax::Plain { (prompt.to_owned(), Vec::new(), Vec::new()) } else { tags::take(prompt) }
}

/// Tokens of a prompt as a person typed it, and how many its windows have room for: of several texts (schedules, `AND`) the one with most.
pub fn count(tokenizer: &Tokenizer, text: &str, length: usize, rules: Rules) -> (usize, usize) {
    let (text, ..) = take_tags(text, rules.syntax);
    let span = Span { steps: 20, before: 0 };
    let prompt = Prompt::read(&text, rules.syntax, span, true);
    let texts = (0..span.steps).flat_map(|step| prompt.at(step)).collect::<BTreeSet<_>>();
    let counts = texts.into_iter().map(|t| Encoding::new(tokenizer, t, length, rules, &[]).count());
    counts.max().unwrap_or((0, length.saturating_sub(2)))
}

/// Characters of a prompt that are read: all of them, or as many as its windows have room for, whole words.
pub fn kept(tokenizer: &Tokenizer, text: &str, length: usize, rules: Rules) -> usize {
    let fits = |text: &str| {
        let (tokens, room) = count(tokenizer, text, length, rules);
        tokens <= room
    };
    if fits(text) {
        return text.chars().count();
    }
    // Bytes at which words end. What fits is a beginning of them: a longer text has no fewer tokens.
    let ends: Vec<usize> = text.match_indices(char::is_whitespace).map(|(at, _)| at).collect();
    let last = ends.partition_point(|end| fits(&text[..*end]));
    last.checked_sub(1).map_or(0, |last| text[..ends[last]].chars().count())
}

/// Which inversions (by their places in the list) a prompt calls up at any of its steps.
pub fn called(
    tokenizer: &Tokenizer,
    text: &str,
    length: usize,
    rules: Rules,
    inversions: &[Inversion],
    span: Span,
) -> BTreeSet<usize> {
    let prompt = Prompt::read(text, rules.syntax, span, true);
    let texts: BTreeSet<&str> = (0..span.steps.max(1)).flat_map(|step| prompt.at(step)).collect();
    let windows = texts.into_iter().flat_map(|t| Encoding::new(tokenizer, t, length, rules, inversions).windows);
    windows.flat_map(|w| w.placed).map(|placed| placed.inversion).collect()
}

/// What the text encoder has to read for one text, and what to make of its states.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// The windows, in order; at least one.
    pub windows: Vec<Window>,
    rules: Rules,
}

impl Encoding {
    /// Windows of a text (of one period of one branch) for a text encoder of `length` positions.
    pub fn new(tokenizer: &Tokenizer, text: &str, length: usize, rules: Rules, inversions: &[Inversion]) -> Encoding {
        let parts = match rules.syntax {
            Syntax::A1111 => weights::a1111(text),
            Syntax::Comfy => weights::comfy(text),
            Syntax::Plain => vec![Part::Text(text.to_owned(), 1.0)],
        };
        let mut filler = windows::Filler::new(tokenizer, length);
        match (rules.long, rules.syntax) {
            (Long::Sentences, _) => filler.sentences(&parts, inversions, rules.backtrack),
            (_, Syntax::Comfy) => filler.comfy(&parts, inversions),
            // A window that will be cut is filled to its end.
            (Long::Cut, _) => filler.a1111(&parts, inversions, 0),
            (Long::Windows, _) => filler.a1111(&parts, inversions, rules.backtrack),
        }
        let mut windows = filler.finish();
        if rules.long == Long::Cut && windows.len() > 1 {
            windows[0].dropped = windows[1..].iter().map(|w| w.used + w.dropped).sum();
            windows.truncate(1);
        }
        Encoding { windows, rules }
    }

    /// Tokens of the text and how many its windows have room for: A1111's counter.
    pub fn count(&self) -> (usize, usize) {
        let full: usize = self.windows.iter().rev().skip(1).map(|w| w.room).sum();
        let tokens = full + self.windows.last().map_or(0, |w| w.used) + self.dropped();
        (tokens, self.windows.iter().map(|w| w.room).sum())
    }

    /// Tokens that were left out.
    pub fn dropped(&self) -> usize {
        self.windows.iter().map(|w| w.dropped).sum()
    }

    /// Whether [`Encoding::finish`] wants the states of the empty prompt.
    pub fn needs_empty(&self) -> bool {
        let weighted = self.rules.emphasis == Emphasis::Comfy && self.windows.iter().any(Window::is_weighted);
        weighted || self.rules.long == Long::Sentences
    }

    /// States of all windows ([length, width] each) to the sequence the U-Net reads: [a multiple of length, width].
    pub fn finish(&self, mut states: Vec<Vec<f32>>, width: usize, empty: Option<&[f32]>) -> Vec<f32> {
        for (window, states) in self.windows.iter().zip(&mut states) {
            emphasis::apply(self.rules.emphasis, window, states, width, empty);
        }
        emphasis::join(self.rules.long, &self.windows, states, width, empty)
    }
}
