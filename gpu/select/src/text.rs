//! Words of prompts and cards: one spelling, one stem, and where in the text they stand.

use crate::languages::{self, is_unspaced};
use std::ops::Range;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Lower case, without accents.
    pub word: String,
    /// Its stem, the form that is compared.
    pub stem: String,
    /// Place in the text, in characters.
    pub span: Range<usize>,
}

/// One spelling, and Harman's S-stemmer (1991) for plurals. `assets/select/train_words.py` does the same.
pub fn stem(word: &str) -> String {
    let w = word.replace("colour", "color").replace("grey", "gray");
    if !w.is_ascii() || w.len() <= 3 {
        return w;
    }
    let before = |n: usize| w.as_bytes()[w.len() - n];
    if w.ends_with("ies") && !b"ea".contains(&before(4)) {
        format!("{}y", &w[..w.len() - 3])
    } else if w.ends_with("es") && !b"aeo".contains(&before(3)) || w.ends_with('s') && !b"us".contains(&before(2)) {
        w[..w.len() - 1].to_owned()
    } else {
        w
    }
}

/// Letters without the accents that Latin spellings carry.
fn plain(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' => 'a',
        'è' | 'é' | 'ê' | 'ë' | 'ē' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ī' => 'i',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ō' => 'o',
        'ù' | 'ú' | 'û' | 'ü' | 'ū' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

/// The words of a text in order. Apostrophes before short endings vanish, every other sign separates. German and Japanese words are given
/// as English ones, in the place where they stand.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut out = Reader::default();
    let (mut word, mut start, mut end) = (String::new(), 0, 0);
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        if is_unspaced(*c) {
            out.word(&mut word, start..end);
            let run = chars[at..].iter().take_while(|c| is_unspaced(**c)).count();
            out.unspaced(&chars[at..at + run], at);
            at += run;
            continue;
        }
        if c.is_alphanumeric() {
            if word.is_empty() {
                start = at;
            }
            word.extend(c.to_lowercase().map(plain));
            end = at + 1;
        } else {
            // "neighbour's" is one word, "o'lantern" two.
            let after = chars[at + 1..].iter().take_while(|c| c.is_alphanumeric()).count();
            if !(matches!(c, '\'' | '\u{2019}') && !word.is_empty() && after < 3) {
                out.word(&mut word, start..end);
            }
        }
        at += 1;
    }
    out.word(&mut word, start..end);
    out.finish()
}

/// Puts tokens together.
#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    is_german: bool,
}

impl Reader {
    fn put(&mut self, words: &str, span: Range<usize>) {
        let one = |word: &str| Token { word: word.to_owned(), stem: stem(word), span: span.clone() };
        self.tokens.extend(words.split(' ').filter(|word| !word.is_empty()).map(one));
    }

    /// Takes a word with blanks around it.
    fn word(&mut self, word: &mut String, span: Range<usize>) {
        if word.is_empty() {
            return;
        }
        let word = std::mem::take(word);
        match languages::english(&word) {
            Some(meaning) => {
                self.is_german = true;
                self.put(meaning, span);
            }
            None => self.put(&word, span),
        }
    }

    /// Takes a run of letters that are written without blanks.
    fn unspaced(&mut self, run: &[char], from: usize) {
        for (place, meaning) in languages::cut(run) {
            let span = from + place.start..from + place.end;
            match meaning {
                Some(meaning) => self.put(meaning, span),
                None => self.put(&run[place].iter().collect::<String>(), span),
            }
        }
    }

    fn finish(mut self) -> Vec<Token> {
        if self.is_german {
            for token in &mut self.tokens {
                if let Some(meaning) = languages::doubtful(&token.word) {
                    (token.word, token.stem) = (meaning.to_owned(), stem(meaning));
                }
            }
        }
        self.tokens
    }
}

/// Plain colours.
pub fn is_color(stem: &str) -> bool {
    COLORS.binary_search(&stem).is_ok()
}

const COLORS: &[&str] = &[
    "beige",
    "black",
    "blue",
    "brown",
    "cyan",
    "gold",
    "golden",
    "gray",
    "green",
    "magenta",
    "orange",
    "pink",
    "purple",
    "red",
    "silver",
    "teal",
    "turquoise",
    "violet",
    "white",
    "yellow",
];

/// Function words, which carry no topic.
pub fn is_stop(word: &str) -> bool {
    STOP.binary_search(&word).is_ok()
}

const STOP: &[&str] = &[
    "a",
    "about",
    "all",
    "among",
    "an",
    "and",
    "another",
    "any",
    "are",
    "as",
    "at",
    "be",
    "been",
    "being",
    "between",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "down",
    "during",
    "each",
    "eg",
    "especially",
    "etc",
    "every",
    "for",
    "from",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "him",
    "his",
    "how",
    "i",
    "ie",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "may",
    "me",
    "might",
    "more",
    "most",
    "must",
    "my",
    "no",
    "nor",
    "not",
    "of",
    "off",
    "often",
    "on",
    "one",
    "onto",
    "or",
    "our",
    "out",
    "over",
    "shall",
    "she",
    "should",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "these",
    "they",
    "this",
    "those",
    "through",
    "to",
    "two",
    "under",
    "up",
    "upon",
    "us",
    "use",
    "used",
    "using",
    "usually",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "will",
    "with",
    "within",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stem_for_spellings_and_numbers() {
        for (word, stemmed) in [
            ("watercolours", "watercolor"),
            ("grey", "gray"),
            ("ponies", "pony"),
            ("horses", "horse"),
            ("glass", "glass"),
            ("cactus", "cactus"),
            ("art", "art"),
        ] {
            assert_eq!(stem(word), stemmed);
        }
    }

    #[test]
    fn spans_count_characters() {
        let found = tokens("Uno Café, jack-o'lantern’s");
        let words: Vec<(&str, Range<usize>)> = found.iter().map(|t| (t.stem.as_str(), t.span.clone())).collect();
        assert_eq!(words, [("uno", 0..3), ("cafe", 4..8), ("jack", 10..14), ("o", 15..16), ("lantern", 17..26)]);
    }

    #[test]
    fn other_languages_are_read_in_their_place() {
        let found = tokens("Die Katze als Aquarell, 森の中のユニコーン xyz");
        let words: Vec<(&str, Range<usize>)> = found.iter().map(|t| (t.stem.as_str(), t.span.clone())).collect();
        let expected = [
            ("the", 0..3),
            ("cat", 4..9),
            ("as", 10..13),
            ("watercolor", 14..22),
            ("painting", 14..22),
            ("forest", 24..25),
            ("and", 25..28),
            ("unicorn", 28..33),
            ("xyz", 34..37),
        ];
        assert_eq!(words, expected);
        assert_eq!(tokens("die cut")[0].stem, "die", "English alone stays English");
    }

    #[test]
    fn function_words_are_sorted_for_the_search() {
        assert!(STOP.is_sorted() && COLORS.is_sorted());
        assert!(is_stop("the") && !is_stop("robot"));
    }
}
