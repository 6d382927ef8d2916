//! Ctrl+Up and Ctrl+Down in a prompt: more or less weight for the words under the cursor, written as A1111 writes it, `(words:1.1)`.

use std::ops::Range;

/// One press.
const STEP: f64 = 0.1;
/// What ends a word (A1111's `keyedit_delimiters`).
const ENDS: &str = " .,\\/!?%^*;:{}=`~()[]<>\r\n\t";

/// The text with the selected words, or the word at the cursor, weighted one step `up` or down, and the selection afterwards; positions count
/// characters. None where there is no word.
pub fn turn(text: &str, selected: Range<usize>, up: bool) -> Option<(String, Range<usize>)> {
    let chars: Vec<char> = text.chars().collect();
    let is_end = |c: &char| ENDS.contains(*c);
    let (mut from, mut to) = (selected.start.min(chars.len()), selected.end.min(chars.len()));
    if from == to {
        while from > 0 && !is_end(&chars[from - 1]) {
            from -= 1;
        }
        while to < chars.len() && !is_end(&chars[to]) {
            to += 1;
        }
        // A cursor in the number of a weight means the words before it.
        if let Some(group) = group_around(&chars, from) {
            (from, to) = (group.words.start, group.words.end);
        }
    }
    while from < to && chars[from].is_whitespace() {
        from += 1;
    }
    while from < to && chars[to - 1].is_whitespace() {
        to -= 1;
    }
    if from == to {
        return None;
    }
    let group = group_around(&chars, from).filter(|g| g.words.start <= from && to <= g.words.end);
    let (whole, words, weight) = match group {
        Some(g) => (g.whole, g.words, g.weight),
        None => (from..to, from..to, 1.0),
    };
    let weight = ((weight + if up { STEP } else { -STEP }) * 100.0).round() / 100.0;
    let weight = weight.max(0.0);
    let inner: String = chars[words].iter().collect();
    let (made, offset) = if weight == 1.0 { (inner.clone(), 0) } else { (format!("({inner}:{weight})"), 1) };
    let before: String = chars[..whole.start].iter().collect();
    let after: String = chars[whole.end..].iter().collect();
    let start = whole.start + offset;
    Some((format!("{before}{made}{after}"), start..start + inner.chars().count()))
}

struct Group {
    whole: Range<usize>,
    words: Range<usize>,
    weight: f64,
}

/// The innermost `(words:weight)` around a position.
fn group_around(chars: &[char], at: usize) -> Option<Group> {
    let mut depth = 0;
    let mut open = None;
    for i in (0..at.min(chars.len())).rev() {
        match chars[i] {
            ')' => depth += 1,
            '(' if depth == 0 => {
                open = Some(i);
                break;
            }
            '(' => depth -= 1,
            _ => {}
        }
    }
    let open = open?;
    let close = (open + 1..chars.len()).scan(0, |depth, i| {
        match chars[i] {
            '(' => *depth += 1,
            ')' => *depth -= 1,
            _ => {}
        }
        Some((i, *depth))
    });
    let close = close.into_iter().find(|(_, depth)| *depth < 0)?.0;
    let colon = (open + 1..close).rev().find(|i| chars[*i] == ':')?;
    let weight: String = chars[colon + 1..close].iter().collect();
    let weight = weight.trim().parse::<f64>().ok().filter(|w| w.is_finite())?;
    Some(Group { whole: open..close + 1, words: open + 1..colon, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, cursor: usize, up: bool) -> String {
        turn(text, cursor..cursor, up).map_or(String::from("none"), |(text, _)| text)
    }

    #[test]
    fn words_gain_and_lose_weight() {
        assert_eq!(at("a red apple", 4, true), "a (red:1.1) apple");
        assert_eq!(at("a (red:1.1) apple", 4, true), "a (red:1.2) apple");
        assert_eq!(at("a (red:1.1) apple", 8, true), "a (red:1.2) apple", "in the number");
        assert_eq!(at("a (red:1.1) apple", 4, false), "a red apple");
        assert_eq!(at("a red apple", 11, false), "a red (apple:0.9)");
        assert_eq!(at("(x:0)", 1, false), "(x:0)");
        assert_eq!(at("", 0, true), "none");
        assert_eq!(at("a , b", 2, true), "none");
        assert_eq!(at("grün, 猫", 7, true), "grün, (猫:1.1)");
        assert_eq!(at("(a b) c", 2, true), "((a:1.1) b) c", "round brackets without a number stay");
    }

    #[test]
    fn selections_move_along() {
        let (text, selected) = turn("a red apple, sun", 2..12, true).expect("words");
        assert_eq!((text.as_str(), selected.clone()), ("a (red apple,:1.1) sun", 3..13));
        let (text, selected) = turn(&text, selected, false).expect("words");
        assert_eq!((text.as_str(), selected), ("a red apple, sun", 2..12));
    }
}
