//! Ctrl+Up and Ctrl+Down in a prompt: the word under the cursor, the selection or the bracket around it weighs 0.1 more or less, as in A1111.

use std::ops::Range;

/// What one press changes.
pub const STEP: f64 = 0.1;

/// Characters that no word has (A1111's `keyedit_delimiters`, and white space).
fn ends_word(c: char) -> bool {
    c.is_whitespace() || ".,\\/!?%^*;:{}=`~()[]<>".contains(c)
}

/// The innermost bracket around `at`, as the places of `(` and `)`.
fn bracket(text: &[char], at: usize) -> Option<(usize, usize)> {
    let mut depth = 0;
    let open = text[..at].iter().rposition(|c| match c {
        ')' => {
            depth += 1;
            false
        }
        '(' if depth > 0 => {
            depth -= 1;
            false
        }
        c => *c == '(',
    })?;
    let mut depth = 0;
    let close = text[at..].iter().position(|c| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' if depth > 0 => {
            depth -= 1;
            false
        }
        c => *c == ')',
    })?;
    Some((open, at + close))
}

/// A bracket's text and weight: `(a:1.2)` and `(a)`.
fn weight_of(inside: &[char]) -> (usize, f64) {
    if let Some(colon) = inside.iter().rposition(|c| *c == ':') {
        let number: String = inside[colon + 1..].iter().collect();
        if let Ok(weight) = number.trim().parse::<f64>()
            && weight.is_finite()
        {
            return (colon, weight);
        }
    }
    (inside.len(), 1.1)
}

/// The text with the weight at `selection` (characters; empty for a cursor) changed by `by`, and what is selected then. None: there is no word.
pub fn reweigh(text: &str, selection: Range<usize>, by: f64) -> Option<(String, Range<usize>)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut from, mut to) = (selection.start.min(chars.len()), selection.end.min(chars.len()));
    if from > to {
        (from, to) = (to, from);
    }
    // White space at the ends of a selection is not meant.
    while from < to && chars[to - 1].is_whitespace() {
        to -= 1;
    }
    while from < to && chars[from].is_whitespace() {
        from += 1;
    }
    let around = match from == to {
        true => bracket(&chars, from),
        // A selection that is all of a bracket's text, as the last press left it.
        false => bracket(&chars, from).filter(|(open, close)| {
            let (length, _) = weight_of(&chars[open + 1..*close]);
            *open + 1 == from && open + 1 + length == to
        }),
    };
    let (open, close, inside, weight) = match around {
        Some((open, close)) => {
            let (length, weight) = weight_of(&chars[open + 1..close]);
            (open, close + 1, open + 1..open + 1 + length, weight)
        }
        None => {
            if from == to {
                from -= chars[..from].iter().rev().take_while(|c| !ends_word(**c)).count();
                to += chars[to..].iter().take_while(|c| !ends_word(**c)).count();
            }
            if from == to {
                return None;
            }
            (from, to, from..to, 1.0)
        }
    };
    let weight = ((weight + by) * 100.0).round() / 100.0;
    let word: String = chars[inside.clone()].iter().collect();
    let plain = weight == 1.0;
    let new = if plain { word } else { format!("({word}:{weight})") };
    let start = open + usize::from(!plain);
    let whole: String =
        chars[..open].iter().chain(new.chars().collect::<Vec<_>>().iter()).chain(&chars[close..]).collect();
    Some((whole, start..start + inside.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_gain_and_lose_weight() {
        let press = |text: &str, range: Range<usize>, by: f64| reweigh(text, range, by).expect("a word");
        assert_eq!(press("a red cat", 3..3, STEP), ("a (red:1.1) cat".into(), 3..6));
        assert_eq!(press("a (red:1.1) cat", 3..6, STEP), ("a (red:1.2) cat".into(), 3..6));
        assert_eq!(press("a (red:1.1) cat", 3..6, -STEP), ("a red cat".into(), 2..5));
        assert_eq!(press("a red cat", 2..9, -STEP), ("a (red cat:0.9)".into(), 3..10));
        assert_eq!(press("(a (b) c:1.3)", 1..1, STEP), ("(a (b) c:1.4)".into(), 1..8));
        assert_eq!(press("(a (b) c:1.3)", 5..5, -STEP), ("(a b c:1.3)".into(), 3..4));
        assert_eq!(press("großer Käse", 8..8, STEP), ("großer (Käse:1.1)".into(), 8..12));
    }

    #[test]
    fn nothing_to_weigh() {
        assert_eq!(reweigh("", 0..0, STEP), None);
        assert_eq!(reweigh("a ,  b", 3..3, STEP), None);
        for text in ["(", ")", "((", ":)", "(:", "():", "a"] {
            for at in 0..9 {
                drop(reweigh(text, at..at + 2, STEP));
                drop(reweigh(text, at..at, -STEP));
            }
        }
    }
}
