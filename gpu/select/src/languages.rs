//! German and Japanese words read as English ones: cards and prompts of these languages meet English ones, and one another.
//!
//! The list (`assets/select/languages.txt`) comes from Unicode's annotations of emoji, which name the same things in every language, and from our own
//! words for ways of making pictures. It holds no word that English has, too. Grammar is not translated: what matters is which words stand there,
//! and of German which small words lead to them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// Drops a word.
const NOTHING: &str = "-";
/// Endings of German nouns and adjectives, longest first.
const ENDINGS: [&str; 6] = ["en", "er", "es", "e", "n", "s"];
/// Longest Japanese word of the list, in letters.
const LONGEST: usize = 12;

struct List {
    meanings: HashMap<&'static str, &'static str>,
    /// German words that English has, too.
    doubtful: HashMap<&'static str, &'static str>,
}

static LIST: LazyLock<List> = LazyLock::new(|| {
    let text = include_str!("../../../assets/select/languages.txt");
    let (mut meanings, mut doubtful) = (HashMap::new(), HashMap::new());
    for (word, meaning) in text.lines().filter_map(|line| line.split_once('\t')) {
        match word.strip_prefix('?') {
            Some(word) => doubtful.insert(word, meaning),
            None => meanings.insert(word, meaning),
        };
    }
    List { meanings, doubtful }
});

/// Whether a letter is of a script that writes words without blanks between them.
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// The English words for a German word (lower case, without accents); empty for one that says nothing by itself. None for any other word.
pub fn english(word: &str) -> Option<&'static str> {
    let exact = LIST.meanings.get(word).copied();
    let stems =
        || ENDINGS.iter().filter_map(|ending| word.strip_suffix(ending)).filter(|stem| stem.chars().count() >= 4);
    let meaning = exact.or_else(|| stems().find_map(|stem| LIST.meanings.get(stem).copied()))?;
    Some(if meaning == NOTHING { "" } else { meaning })
}

/// The English word for a German one that English has, too: for texts that hold other German words.
pub fn doubtful(word: &str) -> Option<&'static str> {
    LIST.doubtful.get(word).copied()
}

/// Cuts a run of unspaced letters into known words, longest first, and what lies between them: (place, English words or none). A run that is
/// mostly unknown, such as Chinese, stays whole: the few words that happen to be known would speak for all of it.
pub fn cut(run: &[char]) -> Vec<(Range<usize>, Option<&'static str>)> {
    let parts = parts(run);
    let known: usize = parts.iter().filter(|(_, meaning)| meaning.is_some()).map(|(place, _)| place.len()).sum();
    if 3 * known < 2 * run.len() { vec![(0..run.len(), None)] } else { parts }
}

fn parts(run: &[char]) -> Vec<(Range<usize>, Option<&'static str>)> {
    let mut out: Vec<(Range<usize>, Option<&'static str>)> = Vec::new();
    let mut at = 0;
    while at < run.len() {
        let known = (1..=LONGEST.min(run.len() - at)).rev().find_map(|len| {
            let word: String = run[at..at + len].iter().collect();
            Some((len, *LIST.meanings.get(word.as_str())?))
        });
        match (known, out.last_mut()) {
            (Some((len, meaning)), _) => {
                out.push((at..at + len, Some(if meaning == NOTHING { "" } else { meaning })));
                at += len;
            }
            (None, Some((before, None))) => {
                before.end += 1;
                at += 1;
            }
            (None, _) => {
                out.push((at..at + 1, None));
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_languages_are_known() {
        for (word, meaning) in
            [("einhorn", "unicorn"), ("aquarell", "watercolor painting"), ("robotern", "robot"), ("eine", "a")]
        {
            assert_eq!(english(word), Some(meaning), "{word}");
        }
        for word in ["die", "hand", "gift", "stern", "unicorn", "xyzzy", ""] {
            assert_eq!(english(word), None, "{word}");
        }
        assert_eq!(doubtful("die"), Some("the"));
        let read = |text: &str| -> Vec<Option<&str>> {
            cut(&text.chars().collect::<Vec<char>>()).into_iter().map(|(_, meaning)| meaning).collect()
        };
        assert_eq!(read("森の中のユニコーンガ"), [Some("forest"), Some("and"), Some("unicorn"), None]);
        assert_eq!(read("水彩画风格国风"), [None], "Chinese");
    }
}
