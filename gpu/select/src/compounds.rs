//! Nouns before nouns: whether a word that could be a style says how the picture looks ("a neon castle"), or what kind of thing something is
//! ("neon yellow", "watercolour paint", "a neon tetra fish", "a night nurse").

use crate::refine::is_style_word;
use crate::text::{Token, is_color};
use crate::topics::{PICTURE, Prompt};
use crate::words::{Part, Words};
use std::ops::Range;

/// Before a colour these say which.
const SHADES: &[&str] = &["bright", "dark", "deep", "fluorescent", "light", "neon", "pale", "pastel"];
/// A word nearer than this to the one it stands before makes one thing with it.
const RELATED: f32 = 0.45;
/// Two nouns farther apart than this do not belong together more than the first of three does with the second.
const TOGETHER: f32 = 0.12;
/// Whom a time of day before a noun gives a shift, not a scene.
const PEOPLE: &[&str] = &["person", "institution", "organization"];

/// The noun phrase that a span stands in, from the span's end on, without words about pictures as such at its end.
fn behind<'a>(prompt: &'a Prompt, span: &Range<usize>) -> &'a [Token] {
    let chunk = prompt.chunks.iter().find(|c| c.tokens.contains(&span.start));
    let rest = chunk.map_or(&[][..], |c| &prompt.tokens[span.end.min(c.tokens.end)..c.tokens.end]);
    let end = rest.iter().rposition(|t| !PICTURE.contains(&t.stem.as_str())).map_or(0, |last| last + 1);
    &rest[..end]
}

fn is_shade(a: &Token, b: &Token) -> bool {
    SHADES.contains(&a.stem.as_str()) && is_color(&b.stem)
}

/// Whether a word that could be a style says something else before what follows.
pub fn names_no_style(prompt: &Prompt, span: &Range<usize>, words: &Words) -> bool {
    let own = &prompt.tokens[span.clone()];
    if own.windows(2).any(|pair| is_shade(&pair[0], &pair[1])) {
        return true;
    }
    let (Some(last), Some(next)) = (own.last(), prompt.tokens.get(span.end)) else { return false };
    let thing = words.part(&last.stem) == Part::Noun
        && words.cosine(&last.stem, &next.stem) > RELATED
        && !is_style_word(&next.stem)
        && !PICTURE.contains(&next.stem.as_str());
    thing || is_shade(last, next)
}

/// Whether a span, or the first word of it, names what kind the word behind it is, and not what is behind that.
///
/// Of three nouns in a row the first belongs to the second unless the second and the third belong together: the adjacency model of noun
/// compounds (Marcus 1980; Lauer 1995, who counts two of three to be of the first kind). "A neon tetra fish" is a fish called neon tetra, "a neon
/// city skyline" a skyline of a city in neon.
pub fn is_inner(prompt: &Prompt, span: &Range<usize>, words: &Words) -> bool {
    let (own, rest) = (&prompt.tokens[span.clone()], behind(prompt, span));
    let (([first], [second, third, ..]) | ([first, second], [third, ..])) = (own, rest) else { return false };
    if own.len() == 2 && words.knows(&format!("{}_{}", first.stem, second.stem)) {
        return false;
    }
    let noun = |t: &&Token| matches!(words.part(&t.stem), Part::Noun | Part::Unknown) && !is_color(&t.stem);
    if ![first, second, third].iter().all(noun) || [second, third].iter().any(|t| is_style_word(&t.stem)) {
        return false;
    }
    let (a, b) = (second.stem.as_str(), third.stem.as_str());
    let together = words.is_compound(a, b) || words.knows(&format!("{a}_{b}")) || words.cosine(a, b) > TOGETHER;
    // Of a last word that nobody knows nothing can be told.
    !together && words.knows(b)
}

/// Whether a time or a place stands before somebody who works there: "a night nurse", "a night school".
pub fn is_shift(prompt: &Prompt, span: &Range<usize>, words: &Words) -> bool {
    let Some(head) = behind(prompt, span).last() else { return false };
    PEOPLE.iter().any(|above| head.stem == *above || words.steps_up(&head.stem, above, 6).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_words;

    #[test]
    fn kinds_of_things_are_told_from_looks() {
        let words = shared_words();
        let first = |text: &str| {
            let prompt = Prompt::parse(text, &words);
            let at = prompt.chunks[0].tokens.start;
            let span = at..at + 1;
            let no_style = names_no_style(&prompt, &span, &words) || is_inner(&prompt, &span, &words);
            (no_style, is_shift(&prompt, &span, &words))
        };
        for (text, no_style) in [
            ("neon yellow jacket", true),
            ("watercolour paint", true),
            ("neon tetra fish", true),
            ("pixel density chart", true),
            ("neon flamingo", false),
            ("neon city skyline", false),
            ("pixel police car", false),
            ("watercolour castle picture", false),
        ] {
            assert_eq!(first(text).0, no_style, "{text}");
        }
        for (text, shift) in [("night nurse", true), ("night school", true), ("night garden", false)] {
            assert_eq!(first(text).1, shift, "{text}");
        }
    }
}
