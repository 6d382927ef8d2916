//! Prompts that change while the picture is made, in A1111's notation (`prompt_parser.py`, version 1.6 and later): `[from:to:when]`,
//! `[to:when]`, `[from::when]` and `[a|b|c]`, which takes turns.
//!
//! `when` with a point is a share of the steps, without one a step. Brackets that are none of these stay as they are: weights come later.

/// Brackets nested deeper than this are text: it bounds the recursion.
const DEEPEST: usize = 64;

/// A prompt's text from the step after the one before's last to `last`, counted from 1 as A1111 does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Last step.
    pub last: usize,
    /// The text, free of schedules.
    pub text: String,
}

#[derive(Debug)]
enum Node {
    Text(String),
    /// Before, after, last step of `before`.
    Switch(Vec<Node>, Vec<Node>, i64),
    Turns(Vec<Vec<Node>>),
}

/// What a run of steps is a part of: in a second pass (hires) step numbers and shares count on from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Steps of this pass.
    pub steps: usize,
    /// Steps of the pass before this one, 0 in the first.
    pub before: usize,
}

/// The periods of a prompt; always at least one, the last ends with the last step. A text that is not well formed (a `|` outside brackets) is
/// taken literally as a whole, as there.
pub fn periods(text: &str, span: Span) -> Vec<Period> {
    let steps = span.steps.max(1);
    let literal = || vec![Period { last: steps, text: text.to_owned() }];
    let Some(nodes) = parse(text, span) else { return literal() };
    let mut ends = vec![steps];
    collect(&nodes, steps, &mut ends);
    ends.sort_unstable();
    ends.dedup();
    let at = |last: usize| {
        let mut out = String::new();
        write(&nodes, last, &mut out);
        Period { last, text: out }
    };
    ends.into_iter().map(at).collect()
}

/// The text in force at `step`, counted from 0. As in A1111 a period that ends at step n lasts while the counter from 0 is not beyond n.
pub fn at(periods: &[Period], step: usize) -> &str {
    let found = periods.iter().find(|p| step <= p.last).or(periods.last());
    found.map_or("", |p| p.text.as_str())
}

fn collect(nodes: &[Node], steps: usize, ends: &mut Vec<usize>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Switch(before, after, when) => {
                if *when >= 1 {
                    ends.push(*when as usize);
                }
                collect(before, steps, ends);
                collect(after, steps, ends);
            }
            Node::Turns(list) => {
                ends.extend(1..=steps);
                list.iter().for_each(|n| collect(n, steps, ends));
            }
        }
    }
}

fn write(nodes: &[Node], step: usize, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Switch(before, after, when) => write(if step as i64 <= *when { before } else { after }, step, out),
            Node::Turns(list) => write(&list[(step.max(1) - 1) % list.len()], step, out),
        }
    }
}

/// None: a text that is not well formed.
fn parse(text: &str, span: Span) -> Option<Vec<Node>> {
    let mut parser = Parser { text, at: 0, span };
    let mut nodes = Vec::new();
    while let Some(c) = parser.peek() {
        parser.run(&mut nodes, 0);
        match parser.peek() {
            // A bracket or colon that belongs to nothing is text.
            Some(c @ ('[' | ']' | '(' | ')' | ':')) => {
                nodes.push(Node::Text(c.into()));
                parser.at += 1;
            }
            Some(_) => return None,
            None => {}
        }
        debug_assert!(parser.peek() != Some(c) || parser.at > 0);
    }
    Some(nodes)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    span: Span,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Plain text and whole brackets, up to what is neither.
    fn run(&mut self, nodes: &mut Vec<Node>, depth: usize) {
        loop {
            let plain = self.plain();
            if !plain.is_empty() {
                nodes.push(Node::Text(plain.to_owned()));
            }
            let start = self.at;
            let group = match self.peek() {
                Some('[') if depth < DEEPEST => self.group(']', depth + 1),
                Some('(') if depth < DEEPEST => self.group(')', depth + 1),
                _ => None,
            };
            match group {
                Some(group) => nodes.extend(group),
                None => {
                    self.at = start;
                    return;
                }
            }
        }
    }

    /// Text without brackets, colons and bars; a backslash takes the next character along.
    fn plain(&mut self) -> &'a str {
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                '[' | ']' | '(' | ')' | ':' | '|' => break,
                '\\' => match self.text[self.at + 1..].chars().next() {
                    Some(next) => self.at += 1 + next.len_utf8(),
                    None => break,
                },
                _ => self.at += c.len_utf8(),
            }
        }
        &self.text[start..self.at]
    }

    /// A bracket with all that is in it.
    fn group(&mut self, close: char, depth: usize) -> Option<Vec<Node>> {
        let open = self.peek()?;
        self.at += 1;
        let (mut items, mut marks, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let from = self.at;
            let mut nodes = Vec::new();
            self.run(&mut nodes, depth);
            raw.push(&self.text[from..self.at]);
            items.push(nodes);
            match self.peek() {
                Some(c @ (':' | '|')) => marks.push(c),
                Some(c) if c == close => {
                    self.at += 1;
                    break;
                }
                _ => return None,
            }
            self.at += 1;
        }
        let all = |mark: char| !marks.is_empty() && marks.iter().all(|m| *m == mark);
        if open == '[' && all('|') {
            return Some(vec![Node::Turns(items)]);
        }
        if open == '[' && all(':') && items.len() <= 3 {
            let when = self.when(raw.last()?)?;
            items.pop();
            let after = items.pop().unwrap_or_default();
            return Some(vec![Node::Switch(items.pop().unwrap_or_default(), after, when)]);
        }
        if marks.is_empty() || (open == '(' && marks == [':']) {
            let mut out = vec![Node::Text(open.into())];
            for (i, nodes) in items.into_iter().enumerate() {
                if i > 0 {
                    out.push(Node::Text(":".into()));
                }
                out.extend(nodes);
            }
            out.push(Node::Text(close.into()));
            return Some(out);
        }
        None
    }

    /// The last step of what comes before the change.
    fn when(&self, text: &str) -> Option<i64> {
        let text = text.trim();
        let number = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
        let value = text.parse::<f64>().ok().filter(|v| number && v.is_finite())?;
        let (steps, second) = (self.span.steps as f64, self.span.before > 0);
        let last = if text.contains('.') {
            (value - if second { 1.0 } else { 0.0 }) * steps
        } else {
            value - self.span.before as f64
        };
        Some(last.trunc().clamp(-1e9, steps) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, steps: usize, before: usize) -> Vec<(usize, String)> {
        periods(text, Span { steps, before }).into_iter().map(|p| (p.last, p.text)).collect()
    }

    /// The examples in A1111's own documentation of the function, with 10 steps.
    #[test]
    fn schedules_as_a1111_documents_them() {
        let cases: &[(&str, &[(usize, &str)])] = &[
            ("test", &[(10, "test")]),
            ("a [b:3]", &[(3, "a "), (10, "a b")]),
            ("a [b: 3]", &[(3, "a "), (10, "a b")]),
            ("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]),
            ("[(a:2):3]", &[(3, ""), (10, "(a:2)")]),
            ("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]),
            ("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]),
            ("a [unbalanced", &[(10, "a [unbalanced")]),
            ("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]),
            ("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]),
            ("[a::0.5]", &[(5, "a"), (10, "")]),
            ("[a:b:20]", &[(10, "a")]),
            ("[a:b:0]", &[(10, "b")]),
            // Not well formed: literal as a whole.
            ("a | [b:c:3]", &[(10, "a | [b:c:3]")]),
            ("[a:b:c]", &[(10, "[a:b:c]")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(n, t)| (*n, (*t).to_owned())).collect();
            assert_eq!(found(text, 10, 0), expected, "{text}");
        }
        let turns = found("[a|(b:1.1)]", 10, 0);
        assert_eq!((turns.len(), turns[0].1.as_str(), turns[1].1.as_str()), (10, "a", "(b:1.1)"));
        let turns: Vec<String> = found("[fe|||]male", 10, 0).into_iter().map(|p| p.1).collect();
        assert_eq!(turns[..5], ["female", "male", "male", "male", "female"]);
    }

    #[test]
    fn a_second_pass_counts_on() {
        assert_eq!(found("a [b:.5] c", 10, 10), [(10, "a b c".into())]);
        assert_eq!(found("a [b:1.5] c", 10, 10), [(5, "a  c".into()), (10, "a b c".into())]);
        assert_eq!(found("[a:b:13]", 10, 10), [(3, "a".into()), (10, "b".into())]);
    }

    #[test]
    fn steps_are_found() {
        let list = periods("[a:b:3]", Span { steps: 10, before: 0 });
        let texts: String = (0..10).map(|i| at(&list, i)).collect();
        assert_eq!(texts, "aaaabbbbbb");
    }

    #[test]
    fn no_text_is_too_strange() {
        for text in [
            "",
            "[",
            "]",
            "|",
            "[|]",
            "[:]",
            "[::]",
            "[:1]",
            "\\",
            "a\\",
            "[a:b:-1]",
            "[a:b:1e9]",
            "[é|ü:2]",
            "[a:b:..]",
            "[a:b:1e400]",
        ] {
            assert!(!found(text, 3, 0).is_empty(), "{text}");
        }
        for unit in ["[", "(", "[a:", "[a|"] {
            assert!(!found(&unit.repeat(20_000), 3, 0).is_empty());
        }
        assert!(!found(&("[".repeat(500) + &":1]".repeat(500)), 3, 0).is_empty());
    }
}
