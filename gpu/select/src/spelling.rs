//! Slips of the pen: the known word one letter away (Damerau 1964: a letter too many, too few, another one, two that changed places).

use std::collections::HashMap;

/// Shorter words have too many neighbours.
const SHORTEST: usize = 5;
/// From this length on two slips are forgiven.
const LONG: usize = 10;

/// Words by first letter and length, both of which a slip rarely changes by much.
pub struct Spellings(HashMap<(u8, usize), Vec<Box<str>>>);

impl Spellings {
    /// Plain words; phrases and other alphabets are passed over.
    pub fn of<'a>(words: impl Iterator<Item = &'a str>) -> Spellings {
        let mut out: HashMap<(u8, usize), Vec<Box<str>>> = HashMap::new();
        for word in words.filter(|w| w.len() + 2 >= SHORTEST && w.bytes().all(|b| b.is_ascii_lowercase())) {
            out.entry((word.as_bytes()[0], word.len())).or_default().push(word.into());
        }
        Spellings(out)
    }

    /// The nearest word; among equally near ones that of the same length, then the one that `rank` puts first.
    pub fn nearest<R: Ord>(&self, word: &str, rank: &dyn Fn(&str) -> R) -> Option<&str> {
        if word.len() < SHORTEST || !word.bytes().all(|b| b.is_ascii_lowercase()) {
            return None;
        }
        let most = if word.len() < LONG { 1 } else { 2 };
        let lengths = word.len() - most..=word.len() + most;
        let near = lengths.flat_map(|len| self.0.get(&(word.as_bytes()[0], len)).into_iter().flatten());
        let slips = |w: &'_ str| slips(word.as_bytes(), w.as_bytes(), most);
        near.filter_map(|w| Some((slips(w)?, rank(w), w.len().abs_diff(word.len()), w)))
            .min()
            .map(|(_, _, _, w)| w.as_ref())
    }
}

/// Slips between two words, if there are at most `most` (optimal string alignment).
fn slips(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = last[j] + usize::from(x != y);
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        if row.iter().all(|n| *n > most) {
            return None;
        }
        (before, last) = (last, row);
    }
    last.last().copied().filter(|n| *n <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, n) in [
            ("unicron", "unicorn", Some(1)),
            ("robbot", "robot", Some(1)),
            ("pixle", "pixel", Some(1)),
            ("scetch", "sketch", Some(1)),
            ("blueprnt", "blueprint", Some(1)),
            ("robot", "robot", Some(0)),
            ("robot", "rocket", None),
        ] {
            assert_eq!(slips(a.as_bytes(), b.as_bytes(), 2).filter(|n| *n < 2), n, "{a} {b}");
        }
        assert_eq!(slips(b"watrcolur", b"watercolor", 2), Some(2));
    }

    #[test]
    fn likely_words_go_first() {
        let words = Spellings::of(["scotch", "sketch", "pile", "pixel", "nein", "line_art"].into_iter());
        assert_eq!(words.nearest("scetch", &|w| w != "sketch"), Some("sketch"));
        assert_eq!(words.nearest("pixle", &|_| 0), Some("pixel"));
        assert_eq!(words.nearest("neon", &|_| 0), None, "too short to guess");
        assert_eq!(words.nearest("wxyzv", &|_| 0), None);
        assert_eq!(words.nearest("水彩水彩水", &|_| 0), None);
    }
}
