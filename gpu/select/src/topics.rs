//! A prompt taken apart: noun phrases, adjectives and style clauses, in the prompt's own words, with their places and weights.
//!
//! Stylus asks a language model for topics that use only the prompt's words, cover all of them and do not overlap. Here a chunker
//! finds runs of content words between function words, separators and verbs, and notes where each stands: that is what tells a
//! style ("in watercolour", ", pixel art") from a thing ("a pencil").

use crate::refine::is_style_word;
use crate::text::{Token, is_stop, tokens};
use crate::words::{Part, Words};
use std::ops::Range;

/// A run of content words.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Positions in [`Prompt::tokens`].
    pub tokens: Range<usize>,
    /// Which clause it stands in.
    pub clause: usize,
    /// The word before it that relates it to what came before: `in`, `at`, `with`, ...
    pub preposition: Option<String>,
    /// Whether it has an article, a number or a possessive.
    pub determined: bool,
    /// Nothing else stands in its clause.
    pub alone: bool,
    /// `of` follows: the next chunk is what this one shows or holds.
    pub of: bool,
    /// A verb of depiction or the words "style of" lead to it.
    pub styled: bool,
    /// It is an action.
    pub action: bool,
}

/// Where a span stands: what kind of adapter may serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// How the picture is made: "in watercolour", ", pixel art", "a sketch of".
    Style,
    /// Before the word it describes: "a moonlit castle".
    Modifier,
    /// Around the things: "at night", "under the stars".
    Setting,
    /// A thing in the picture.
    Thing,
    /// What is done.
    Action,
}

/// A prompt, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// The text as it was given.
    pub text: String,
    /// Its words. Spans count characters of `text`.
    pub tokens: Vec<Token>,
    /// Prompt weight of each word; 1 where nothing is said.
    pub weights: Vec<f32>,
    /// Content words in order.
    pub chunks: Vec<Chunk>,
}

const DETERMINERS: &[&str] = &[
    "a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "some",
    "one", "two", "three", "four", "five", "many", "several", "every", "each", "another", "single", "no",
];
const PREPOSITIONS: &[&str] = &[
    "about", "above", "after", "against", "along", "among", "around", "as", "at", "before", "behind", "below",
    "beneath", "beside", "between", "by", "during", "for", "from", "in", "inside", "into", "like", "near", "of", "on",
    "onto", "over", "through", "under", "via", "with", "without",
];
/// Participles that say how a picture was made.
const DEPICTED: &[&str] = &[
    "captured",
    "colored",
    "coloured",
    "depicted",
    "designed",
    "done",
    "drafted",
    "drawn",
    "illustrated",
    "made",
    "outlined",
    "painted",
    "portrayed",
    "printed",
    "rendered",
    "sketched",
    "styled",
    "stylised",
    "stylized",
];
/// Words for the picture as such: what stands before "of" after them is how it is made.
pub const PICTURE: &[&str] = &[
    "aesthetic",
    "art",
    "artwork",
    "design",
    "drawing",
    "effect",
    "graphic",
    "illustration",
    "image",
    "look",
    "painting",
    "photo",
    "photograph",
    "pic",
    "picture",
    "piece",
    "print",
    "render",
    "rendering",
    "scene",
    "shot",
    "style",
    "theme",
    "version",
    "view",
    "vibe",
];

/// Those that also name a technique.
pub const MEDIA: &[&str] =
    &["art", "artwork", "drawing", "illustration", "painting", "photo", "photograph", "print", "render", "rendering"];

impl Prompt {
    /// Takes a prompt apart. A1111's syntax is understood: `(word:1.3)`, `(word)`, `[word]`, `\(`, and `<lora:...>` is passed over.
    pub fn parse(text: &str, words: &Words) -> Prompt {
        Prompt::read(text, words, &|_| false)
    }

    /// As [`Prompt::parse`]; words that neither the vocabulary nor `is_named` knows are read as the nearest one they know.
    pub fn read(text: &str, words: &Words, is_named: &dyn Fn(&str) -> bool) -> Prompt {
        let (clean, weights) = without_syntax(text);
        let mut tokens: Vec<Token> = tokens(&clean.iter().collect::<String>());
        for token in tokens.iter_mut().filter(|t| !is_stop(&t.stem) && !words.knows(&t.stem) && !is_named(&t.stem)) {
            if let Some(meant) = words.respell(&token.stem, is_named) {
                (token.word, token.stem) = (meant.to_owned(), meant.to_owned());
            }
        }
        let weights = tokens.iter().map(|t| weights.get(t.span.start).copied().unwrap_or(1.0)).collect();
        let mut prompt = Prompt { text: text.to_owned(), tokens, weights, chunks: Vec::new() };
        prompt.chunk(&clean, words);
        prompt
    }

    fn chunk(&mut self, clean: &[char], words: &Words) {
        let mut builder = Builder::default();
        for (i, token) in self.tokens.iter().enumerate() {
            let from = if i == 0 { 0 } else { self.tokens[i - 1].span.end };
            let between = clean.get(from..token.span.start).unwrap_or_default();
            let parted =
                between.iter().any(|c| matches!(c, ',' | ';' | '.' | ':' | '!' | '?' | '|' | '/' | '\n' | '\u{2014}'))
                    || between.windows(3).any(|w| w == [' ', '-', ' ']);
            if i > 0 && parted {
                builder.end_clause();
            }
            builder.word(i, &self.tokens, words);
        }
        builder.end_clause();
        self.chunks = builder.chunks;
    }

    /// The stems of a span that carry meaning.
    pub fn stems(&self, span: &Range<usize>) -> Vec<&str> {
        self.tokens[span.clone()].iter().map(|t| t.stem.as_str()).filter(|s| !is_stop(s)).collect()
    }

    /// The words of a span as the prompt has them.
    pub fn words_of(&self, span: &Range<usize>) -> String {
        let [start, end] = self.characters(span);
        self.text.chars().skip(start).take(end - start).collect()
    }

    /// Where a span of words lies, in characters of the prompt.
    pub fn characters(&self, span: &Range<usize>) -> [usize; 2] {
        let words = &self.tokens[span.clone()];
        match (words.first(), words.last()) {
            (Some(first), Some(last)) => [first.span.start, last.span.end],
            _ => [0, 0],
        }
    }

    /// The largest prompt weight in a span.
    pub fn weight(&self, span: &Range<usize>) -> f32 {
        self.weights[span.clone()].iter().copied().fold(0.0, f32::max)
    }

    /// Where a span within a chunk stands.
    pub fn place(&self, chunk: &Chunk, span: &Range<usize>) -> Place {
        if chunk.action {
            return Place::Action;
        }
        // "in the dark of the night": the night is where the dark is.
        let before = self.chunks.iter().rev().find(|c| c.tokens.end < chunk.tokens.start && c.of);
        let preposition = match (chunk.preposition.as_deref(), before) {
            (Some("of"), Some(before)) if before.tokens.end + 3 > chunk.tokens.start => before.preposition.as_deref(),
            (own, _) => own,
        };
        let rest = &self.tokens[span.end.min(chunk.tokens.end)..chunk.tokens.end];
        let heads = rest.iter().all(|t| PICTURE.contains(&t.stem.as_str()));
        if !heads {
            return if chunk.styled { Place::Style } else { Place::Modifier };
        }
        let picture = self.tokens[chunk.tokens.clone()].iter().any(|t| PICTURE.contains(&t.stem.as_str()));
        let article = self.tokens[..chunk.tokens.start].last().map(|t| t.word.as_str());
        let one = matches!(article, Some("a" | "an" | "one" | "his" | "her" | "my" | "their"));
        if chunk.styled || picture || chunk.of && preposition.is_none() {
            return Place::Style;
        }
        if chunk.alone && (!chunk.determined || chunk.clause > 0) && preposition.is_none() {
            return Place::Style;
        }
        match preposition {
            Some("in" | "as" | "like" | "via") if !one || preposition == Some("as") => Place::Style,
            Some("in" | "like" | "at" | "by" | "under" | "beneath" | "during" | "through" | "after") => Place::Setting,
            Some("with" | "from") if !one => Place::Setting,
            _ => Place::Thing,
        }
    }
}

#[derive(Default)]
struct Builder {
    chunks: Vec<Chunk>,
    open: Option<Chunk>,
    clause: usize,
    /// First chunk of the clause.
    first: usize,
    preposition: Option<String>,
    determined: bool,
    styled: bool,
    /// The preposition before "and": "in ink and watercolour" means both.
    carried: Option<String>,
    /// The words "style of" or "in the manner of" went before.
    manner: bool,
}

impl Builder {
    fn close(&mut self) {
        self.chunks.extend(self.open.take());
    }

    fn end_clause(&mut self) {
        self.close();
        let here = &mut self.chunks[self.first..];
        let bare = here.iter().all(|c| !c.determined && c.preposition.is_none() && !c.action);
        if bare || here.len() == 1 {
            here.iter_mut().for_each(|c| c.alone = true);
        }
        self.first = self.chunks.len();
        self.clause += 1;
        (self.preposition, self.determined, self.styled, self.manner) = (None, false, false, false);
        self.carried = None;
    }

    fn word(&mut self, i: usize, all: &[Token], words: &Words) {
        let (word, stem) = (all[i].word.as_str(), all[i].stem.as_str());
        let next = all.get(i + 1).map(|t| t.word.as_str());
        if word == "style" && next == Some("of") || word == "manner" && next == Some("of") {
            self.close();
            self.manner = true;
            return;
        }
        if word == "of" {
            self.close();
            match self.chunks.last_mut().filter(|c| c.tokens.end == i) {
                Some(before) => before.of = true,
                None => self.styled |= self.manner,
            }
            self.styled |= std::mem::take(&mut self.manner);
            (self.preposition, self.determined) = (Some("of".into()), false);
            return;
        }
        if DEPICTED.contains(&word)
            && (i == 0 || self.open.is_some() || self.determined || next.is_some_and(|n| PREPOSITIONS.contains(&n)))
            && next.is_some()
        {
            // "a painted house" is a property, "a house painted in oils" is not.
            let property = self.open.is_none() && self.determined && !next.is_some_and(|n| PREPOSITIONS.contains(&n));
            if !property {
                self.close();
                (self.styled, self.determined, self.preposition) = (true, false, None);
                return;
            }
        }
        if DETERMINERS.contains(&word) && !(word == "single" && self.open.is_some()) {
            self.close();
            self.determined = true;
            return;
        }
        let colour = |t: &Token| words.part(&t.stem) == Part::Adjective;
        if word == "and"
            && self.open.as_ref().is_some_and(|c| c.tokens.end == i && colour(&all[i - 1]))
            && all.get(i + 1).is_some_and(colour)
        {
            // "black and white" is one description.
            self.open.iter_mut().for_each(|c| c.tokens.end = i + 1);
            return;
        }
        if PREPOSITIONS.contains(&word) || is_stop(word) || is_stop(stem) {
            self.close();
            if PREPOSITIONS.contains(&word) {
                self.preposition = Some(word.to_owned());
            } else if matches!(word, "and" | "or") {
                self.carried = self.chunks.last().filter(|c| !c.action).and_then(|c| c.preposition.clone());
                (self.preposition, self.styled) = (None, false);
            } else if matches!(word, "but" | "is" | "are" | "that" | "which" | "who" | "to") {
                (self.preposition, self.styled) = (None, false);
            }
            self.determined = false;
            return;
        }
        let doing = word.len() > 4 && word.ends_with("ing") && !is_style_word(word);
        let verb = matches!(words.part(stem), Part::Verb | Part::Unknown | Part::Noun) && doing;
        if verb && self.open.is_some() && !matches!(next, Some(n) if is_style_word(n)) {
            // "a cat riding a robot": the action is a topic of its own.
            self.close();
            let action = Chunk {
                tokens: i..i + 1,
                clause: self.clause,
                preposition: None,
                determined: false,
                alone: false,
                of: false,
                styled: false,
                action: true,
            };
            self.chunks.push(action);
            (self.preposition, self.determined, self.styled) = (None, false, false);
            return;
        }
        match &mut self.open {
            Some(chunk) if chunk.tokens.end == i => chunk.tokens.end = i + 1,
            _ => {
                self.close();
                self.open = Some(Chunk {
                    tokens: i..i + 1,
                    clause: self.clause,
                    preposition: self.preposition.take().or_else(|| self.carried.take().filter(|_| !self.determined)),
                    determined: std::mem::take(&mut self.determined),
                    alone: false,
                    of: false,
                    styled: std::mem::take(&mut self.styled),
                    action: false,
                });
            }
        }
    }
}

/// The characters without weight syntax (blanks in its place, so that places stay), and each character's weight.
fn without_syntax(text: &str) -> (Vec<char>, Vec<f32>) {
    let chars: Vec<char> = text.chars().collect();
    let mut clean = chars.clone();
    let mut weights = vec![1.0f32; chars.len()];
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            '\\' => {
                clean[i] = ' ';
                i += 1;
                if let Some(c) = clean.get_mut(i).filter(|c| matches!(c, '(' | ')' | '[' | ']')) {
                    *c = ' ';
                }
            }
            '<' => {
                let end = chars[i..].iter().position(|c| *c == '>').map(|n| i + n);
                if let Some(end) = end {
                    clean[i..=end].fill(' ');
                    i = end;
                }
            }
            c @ ('(' | '[') => {
                clean[i] = ' ';
                open.push((i, c));
            }
            c @ (')' | ']') => {
                clean[i] = ' ';
                let opening = if c == ')' { '(' } else { '[' };
                if let Some((start, _)) = open.pop_if(|(_, o)| *o == opening) {
                    let inner: String = chars[start + 1..i].iter().collect();
                    let stated = inner.rsplit_once(':').and_then(|(before, figure)| {
                        let value = figure.trim().parse::<f32>().ok().filter(|v| v.is_finite() && c == ')')?;
                        Some((before.chars().count(), value))
                    });
                    let factor = match stated {
                        Some((at, value)) => {
                            clean[start + 1 + at..i].fill(' ');
                            value
                        }
                        None if c == ')' => 1.1,
                        None => 1.0 / 1.1,
                    };
                    weights[start..=i].iter_mut().for_each(|w| *w *= factor);
                }
            }
            _ => {}
        }
        i += 1;
    }
    (clean, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_words;

    fn taken_apart(text: &str) -> Vec<(String, Place)> {
        let p = Prompt::parse(text, &shared_words());
        p.chunks.iter().map(|c| (p.words_of(&c.tokens), p.place(c, &c.tokens))).collect()
    }

    #[test]
    fn places_tell_styles_from_things() {
        use Place::{Action, Setting, Style, Thing};
        for (prompt, expected) in [
            ("a red apple in watercolour", vec![("red apple", Thing), ("watercolour", Style)]),
            ("cat face, pixel art", vec![("cat face", Style), ("pixel art", Style)]),
            ("a sketch of a castle", vec![("sketch", Style), ("castle", Thing)]),
            ("a pencil on a table", vec![("pencil", Thing), ("table", Thing)]),
            ("a castle at night", vec![("castle", Thing), ("night", Setting)]),
            ("a dog drawn as a blueprint", vec![("dog", Thing), ("blueprint", Style)]),
            ("a cat in the style of twemoji", vec![("cat", Thing), ("twemoji", Style)]),
            ("a cat riding a robot", vec![("cat", Thing), ("riding", Action), ("robot", Thing)]),
        ] {
            let expected: Vec<(String, Place)> = expected.into_iter().map(|(w, p)| (w.to_owned(), p)).collect();
            assert_eq!(taken_apart(prompt), expected, "{prompt}");
        }
        let p = Prompt::parse("a moonlit castle", &shared_words());
        assert_eq!(p.place(&p.chunks[0], &(1..2)), Place::Modifier);
    }

    #[test]
    fn weights_and_places_are_kept() {
        let p = Prompt::parse("é (neon:1.3) [cat], ((dog)) <lora:x:0.8> \\(b\\)", &shared_words());
        let words: Vec<(String, f32)> =
            p.tokens.iter().zip(&p.weights).map(|(t, w)| (t.word.clone(), (w * 100.0).round() / 100.0)).collect();
        let expected = [("e", 1.0), ("neon", 1.3), ("cat", 0.91), ("dog", 1.21), ("b", 1.0)];
        assert_eq!(words, expected.map(|(w, f)| (w.to_owned(), f)));
        assert_eq!(p.characters(&(1..2)), [3, 7]);
        assert_eq!(p.words_of(&(1..2)), "neon");
    }

    #[test]
    fn anything_can_be_taken_apart() {
        for text in [
            "",
            ",,,",
            "(((",
            "of",
            ":::)",
            "((a:nan)",
            "<lora",
            "\\",
            "in the style of",
            "🤖 ロボット",
            "drawn",
            "a of of the",
        ] {
            let p = Prompt::parse(text, &shared_words());
            for c in &p.chunks {
                p.place(c, &c.tokens);
                assert!(c.tokens.end <= p.tokens.len());
            }
        }
    }
}
