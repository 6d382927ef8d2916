//! Weights in a prompt: which words count more or less than others.
//!
//! Two notations. AUTOMATIC1111's stable-diffusion-webui (`prompt_parser.py`): `(a)` times 1.1, `[a]` divided by 1.1, `(a:1.3)` times 1.3, nested
//! factors multiply, `\(` is a bracket, `BREAK` ends a window. ComfyUI (`sd1_clip.py`): `(a)` times 1.1, `(a:1.3)` is 1.3 whatever
//! stands around it, square brackets are text.

/// A run of text of one weight, or the end of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text, and the factor on its states (1: as it is).
    Text(String, f64),
    /// What follows starts a new window.
    Break,
}

/// What one bracket does without a number.
const STEP: f64 = 1.1;

/// Is there no word character (letter, digit, underscore) beside this place, as a regular expression's `\b` asks?
fn is_edge(before: Option<char>, after: Option<char>) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    word(before) != word(after)
}

/// The next whole word `word` at or after `from`, as its start.
pub(super) fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(word) {
        let (start, end) = (at + found, at + found + word.len());
        let (first, last) = (word.chars().next(), word.chars().last());
        if is_edge(text[..start].chars().last(), first) && is_edge(last, text[end..].chars().next()) {
            return Some(start);
        }
        at = end;
    }
    None
}

/// Text between `BREAK`s; the white space around them belongs to them.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    let mut rest = text;
    while let Some(at) = find_word(rest, "BREAK", 0) {
        parts.push(Part::Text(rest[..at].trim_end().to_owned(), 1.0));
        parts.push(Part::Break);
        rest = rest[at + "BREAK".len()..].trim_start();
    }
    parts.push(Part::Text(rest.to_owned(), 1.0));
}

fn multiply(parts: &mut [Part], factor: f64) {
    for part in parts {
        if let Part::Text(_, weight) = part {
            *weight *= factor;
        }
    }
}

/// `:1.3)` at the start of `text`: the number and the length of it all.
fn closing_number(text: &str) -> Option<(f64, usize)> {
    let inner = text.strip_prefix(':')?;
    let end = inner.find(')')?;
    let number = &inner[..end];
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let only = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value = number.parse::<f64>().ok().filter(|v| only && v.is_finite())?;
    Some((value, 1 + end + 1))
}

/// A prompt in A1111's notation. Brackets that nobody closes act to the end, closing ones that nobody opened are text; neighbours of one weight
/// are one part. Unlike there, a `BREAK` within brackets is a `BREAK` too, not the word.
pub fn a1111(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut used = c.len_utf8();
        match c {
            '\\' => {
                // The backslash goes; a bracket or backslash behind it is taken literally.
                let next = rest[1..].chars().next().filter(|c| "()[]\\".contains(*c));
                parts.push(Part::Text(next.map(String::from).unwrap_or_default(), 1.0));
                used += next.map_or(0, char::len_utf8);
            }
            '(' => round.push(parts.len()),
            '[' => square.push(parts.len()),
            ':' if !round.is_empty() && closing_number(rest).is_some() => {
                if let (Some((factor, length)), Some(from)) = (closing_number(rest), round.pop()) {
                    multiply(&mut parts[from..], factor);
                    used = length;
                }
            }
            ')' if !round.is_empty() => multiply(&mut parts[round.pop().unwrap_or(0)..], STEP),
            ']' if !square.is_empty() => multiply(&mut parts[square.pop().unwrap_or(0)..], 1.0 / STEP),
            ')' | ']' | ':' => parts.push(Part::Text(c.to_string(), 1.0)),
            _ => {
                used = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                push_text(&mut parts, &rest[..used]);
            }
        }
        rest = &rest[used..];
    }
    round.into_iter().for_each(|from| multiply(&mut parts[from..], STEP));
    square.into_iter().for_each(|from| multiply(&mut parts[from..], 1.0 / STEP));
    merge(parts)
}

/// Joins neighbours of equal weight.
fn merge(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    for part in parts {
        match (out.last_mut(), part) {
            (Some(Part::Text(text, weight)), Part::Text(more, same)) if *weight == same => text.push_str(&more),
            (_, part) => out.push(part),
        }
    }
    if out.is_empty() { vec![Part::Text(String::new(), 1.0)] } else { out }
}

/// Brackets nested deeper than this are text: nobody types them, and it bounds the recursion.
const DEEPEST: usize = 64;

/// A prompt in ComfyUI's notation.
pub fn comfy(text: &str) -> Vec<Part> {
    // Escaped brackets must not nest: they stand aside as characters that no prompt holds.
    let hidden = text.replace("\\)", "\0\u{1}").replace("\\(", "\0\u{2}");
    let mut out = Vec::new();
    comfy_into(&hidden, 1.0, 0, &mut out);
    for part in &mut out {
        if let Part::Text(text, _) = part {
            *text = text.replace("\0\u{1}", ")").replace("\0\u{2}", "(");
        }
    }
    out
}

fn comfy_into(text: &str, current: f64, depth: usize, out: &mut Vec<Part>) {
    for item in top_level(text) {
        let inner = item.strip_prefix('(').and_then(|i| i.strip_suffix(')')).filter(|_| depth < DEEPEST);
        let Some(inner) = inner else {
            out.push(Part::Text(item.to_owned(), current));
            continue;
        };
        let stated = inner.rfind(':').filter(|at| *at > 0);
        let number =
            stated.and_then(|at| Some((at, inner[at + 1..].trim().parse::<f64>().ok().filter(|v| v.is_finite())?)));
        match number {
            Some((at, weight)) => comfy_into(&inner[..at], weight, depth + 1, out),
            None => comfy_into(inner, current * STEP, depth + 1, out),
        }
    }
}

/// Text and bracketed groups of the outermost level, in order.
fn top_level(text: &str) -> Vec<&str> {
    let (mut out, mut from, mut level) = (Vec::new(), 0, 0i64);
    for (at, c) in text.char_indices() {
        match c {
            '(' => {
                if level == 0 && at > from {
                    out.push(&text[from..at]);
                    from = at;
                }
                level += 1;
            }
            ')' => {
                level -= 1;
                if level == 0 {
                    out.push(&text[from..=at]);
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    if from < text.len() {
        out.push(&text[from..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(parts: &[Part]) -> Vec<(&str, f64)> {
        let text = |p| match p {
            &Part::Text(ref t, w) => (t.as_str(), (w * 1e4_f64).round() / 1e4),
            Part::Break => ("BREAK", -1.0),
        };
        parts.iter().map(text).collect()
    }

    /// The examples in A1111's own documentation of the function.
    #[test]
    fn weights_as_a1111_documents_them() {
        for (prompt, expected) in [
            ("normal text", vec![("normal text", 1.0)]),
            ("an (important) word", vec![("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
            ("(unbalanced", vec![("unbalanced", 1.1)]),
            ("\\(literal\\]", vec![("(literal]", 1.0)]),
            ("(unnecessary)(parens)", vec![("unnecessaryparens", 1.1)]),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                vec![
                    ("a ", 1.0),
                    ("house", 1.573),
                    (" ", 1.1),
                    ("on", 1.0),
                    (" a ", 1.1),
                    ("hill", 0.55),
                    (", sun, ", 1.1),
                    ("sky", 1.4641),
                    (".", 1.1),
                ],
            ),
            ("", vec![("", 1.0)]),
            ("16:9, a: b) c]", vec![("16:9, a: b) c]", 1.0)]),
            ("(a:-0.5)(b:+2.)", vec![("a", -0.5), ("b", 2.0)]),
            ("(a:1.2.3)", vec![("a:1.2.3", 1.1)]),
            ("a BREAK b, BREAKER", vec![("a", 1.0), ("BREAK", -1.0), ("b, BREAKER", 1.0)]),
            ("(a BREAK b:2)", vec![("a", 2.0), ("BREAK", -1.0), ("b", 2.0)]),
        ] {
            assert_eq!(texts(&a1111(prompt)), expected, "{prompt}");
        }
    }

    #[test]
    fn weights_as_comfyui_reads_them() {
        for (prompt, expected) in [
            ("a (b) c", vec![("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
            ("((b))", vec![("b", 1.21)]),
            // A stated weight replaces what stands around it.
            ("(a (b:1.3) c:2)", vec![("a ", 2.0), ("b", 1.3), (" c", 2.0)]),
            ("[a] \\(b\\)", vec![("[a] (b)", 1.0)]),
            ("(a:b)", vec![("a:b", 1.1)]),
            ("(:1.2)", vec![(":1.2", 1.1)]),
            ("(open", vec![("(open", 1.0)]),
        ] {
            assert_eq!(texts(&comfy(prompt)), expected, "{prompt}");
        }
    }

    #[test]
    fn no_prompt_is_too_strange() {
        for text in [
            "\\",
            "\\\\",
            "(((",
            ")))",
            ":)",
            "(:)",
            "(a:)",
            "(a:.)",
            "[",
            "]",
            "(é:1.2)ü",
            "BREAK",
            "BREAKBREAK",
            "\0\u{1}",
            "(a:nan)",
            "(a:1e999)",
        ] {
            for part in a1111(text).into_iter().chain(comfy(text)) {
                assert!(!matches!(part, Part::Text(_, w) if !w.is_finite()), "{text}");
            }
        }
        let deep = "(".repeat(100_000) + "x" + &")".repeat(100_000);
        assert!(!comfy(&deep).is_empty() && !a1111(&deep).is_empty());
    }
}
