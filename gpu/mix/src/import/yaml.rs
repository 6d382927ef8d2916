//! The part of YAML that merge recipes are written in: maps and lists by indentation, lists and maps in brackets, plain and quoted scalars,
//! comments. What goes beyond it (anchors, tags, several documents, block texts) is refused with its line.

use serde_json::{Map, Number, Value};

use crate::MixError;

type Result<T> = std::result::Result<T, MixError>;

/// A line without its comment.
struct Line {
    number: usize,
    indent: usize,
    text: String,
}

fn fault<T>(line: usize, reason: &str) -> Result<T> {
    Err(MixError::recipe(format!("YAML, line {line}"), reason))
}

/// Reads a document into JSON's terms.
pub(super) fn read(text: &str) -> Result<Value> {
    let mut lines = Vec::new();
    for (i, raw) in text.lines().enumerate() {
        let body = without_comment(raw);
        let trimmed = body.trim();
        if trimmed.is_empty() || (trimmed == "---" && lines.is_empty()) {
            continue;
        }
        let spaces = body.len() - body.trim_start_matches(' ').len();
        if body[spaces..].starts_with('\t') {
            return fault(i + 1, "indented with a tab; YAML takes spaces");
        }
        if trimmed == "---" || trimmed == "..." {
            return fault(i + 1, "a second document; one recipe is one document");
        }
        lines.push(Line { number: i + 1, indent: spaces, text: trimmed.to_string() });
    }
    let mut at = 0;
    let Some(first) = lines.first() else { return fault(1, "empty") };
    let value = block(&lines, &mut at, first.indent, 0)?;
    match lines.get(at) {
        None => Ok(value),
        Some(line) => fault(line.number, "indented less than what it would belong to"),
    }
}

/// A line up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || (c == '\'' && !before.is_alphanumeric()) => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return &line[..at],
            None => {}
        }
        before = c;
    }
    line
}

/// Where the key of `key: value` ends, outside quotes and brackets.
fn key_end(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if at == 0 => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ':') if depth == 0 && text[at + 1..].chars().next().is_none_or(|c| c == ' ') => return Some(at),
            _ => {}
        }
    }
    None
}

const DEEPEST: usize = 32;

/// The lines from `at` on that are indented by `indent`.
fn block(lines: &[Line], at: &mut usize, indent: usize, depth: usize) -> Result<Value> {
    let first = &lines[*at];
    if depth > DEEPEST {
        return fault(first.number, "nested too deeply");
    }
    if first.text == "-" || first.text.starts_with("- ") {
        return list(lines, at, indent, depth);
    }
    if key_end(&first.text).is_none() {
        *at += 1;
        return scalar(&first.text, first.number);
    }
    let mut map = Map::new();
    while let Some(line) = lines.get(*at).filter(|l| l.indent == indent) {
        let Some(end) = key_end(&line.text) else { return fault(line.number, "expected `key: value`") };
        let Value::String(key) = text_of(&line.text[..end], line.number)? else {
            return fault(line.number, "a key must be a text");
        };
        let rest = line.text[end + 1..].trim().to_string();
        if map.contains_key(&key) {
            return fault(line.number, &format!("{key} appears twice"));
        }
        *at += 1;
        let value = if rest.is_empty() { inner(lines, at, indent, depth)? } else { scalar(&rest, line.number)? };
        map.insert(key, value);
    }
    if let Some(line) = lines.get(*at).filter(|l| l.indent > indent) {
        return fault(line.number, "indented more than what it would belong to");
    }
    Ok(Value::Object(map))
}

/// What belongs to a key without a value on its line. Lists may stand at the key's own indentation.
fn inner(lines: &[Line], at: &mut usize, indent: usize, depth: usize) -> Result<Value> {
    match lines.get(*at) {
        Some(next) if next.indent > indent => block(lines, at, next.indent, depth + 1),
        Some(next) if next.indent == indent && next.text.starts_with('-') && !next.text.starts_with("--") => {
            list(lines, at, indent, depth + 1)
        }
        _ => Ok(Value::Null),
    }
}

fn list(lines: &[Line], at: &mut usize, indent: usize, depth: usize) -> Result<Value> {
    let mut items = Vec::new();
    while let Some(line) = lines.get(*at).filter(|l| l.indent == indent && (l.text == "-" || l.text.starts_with("- ")))
    {
        let rest = line.text[1..].trim_start();
        if rest.is_empty() {
            *at += 1;
            items.push(match lines.get(*at) {
                Some(next) if next.indent > indent => block(lines, at, next.indent, depth + 1)?,
                _ => Value::Null,
            });
            continue;
        }
        // An item that begins on the dash's line: its other lines stand below its first word.
        let own = indent + (line.text.len() - rest.len());
        let mut part = vec![Line { number: line.number, indent: own, text: rest.to_string() }];
        *at += 1;
        while let Some(next) = lines.get(*at).filter(|l| l.indent > indent) {
            part.push(Line { number: next.number, indent: next.indent, text: next.text.clone() });
            *at += 1;
        }
        let mut inside = 0;
        items.push(block(&part, &mut inside, own, depth + 1)?);
        if let Some(line) = part.get(inside) {
            return fault(line.number, "not indented like the item it would belong to");
        }
    }
    Ok(Value::Array(items))
}

/// A scalar, or a list or map in brackets.
fn scalar(text: &str, line: usize) -> Result<Value> {
    match text.chars().next() {
        Some('[' | '{') => {
            let mut rest = text;
            let value = flow(&mut rest, line, 0)?;
            if rest.trim().is_empty() { Ok(value) } else { fault(line, "something stands after the closing bracket") }
        }
        Some('|' | '>') => fault(line, "texts over several lines are not read"),
        Some('&' | '*' | '!') => fault(line, "anchors and tags are not read"),
        _ => text_of(text, line),
    }
}

/// A list or map in brackets, or a scalar inside one.
fn flow(rest: &mut &str, line: usize, depth: usize) -> Result<Value> {
    if depth > DEEPEST {
        return fault(line, "nested too deeply");
    }
    *rest = rest.trim_start();
    let Some(open) = rest.chars().next() else { return fault(line, "a bracket is not closed on its line") };
    if open != '[' && open != '{' {
        let quoted = open == '"' || open == '\'';
        let end = match quoted {
            true => rest[1..].find(open).map(|at| at + 2),
            false => rest.find([',', ']', '}', ':']),
        };
        let Some(end) = end else { return fault(line, "a bracket or quote is not closed on its line") };
        let (own, left) = rest.split_at(end);
        *rest = left;
        return text_of(own.trim(), line);
    }
    let close = if open == '[' { ']' } else { '}' };
    *rest = &rest[1..];
    let (mut items, mut map) = (Vec::new(), Map::new());
    loop {
        *rest = rest.trim_start();
        if let Some(left) = rest.strip_prefix(close) {
            *rest = left;
            return Ok(if open == '[' { Value::Array(items) } else { Value::Object(map) });
        }
        let value = flow(rest, line, depth + 1)?;
        *rest = rest.trim_start();
        if open == '{' {
            let (Value::String(key), Some(left)) = (value, rest.strip_prefix(':')) else {
                return fault(line, "expected `key: value`");
            };
            *rest = left;
            let value = flow(rest, line, depth + 1)?;
            map.insert(key, value);
            *rest = rest.trim_start();
        } else {
            items.push(value);
        }
        if let Some(left) = rest.strip_prefix(',') {
            *rest = left;
        } else if !rest.starts_with(close) {
            return fault(line, "expected a comma or a closing bracket");
        }
    }
}

/// A plain or quoted scalar.
fn text_of(text: &str, line: usize) -> Result<Value> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('"') {
        let Some(inner) = inner.strip_suffix('"') else { return fault(line, "a quote is not closed") };
        return serde_json::from_str(&format!("\"{inner}\"")).or_else(|_| fault(line, "not a quoted text"));
    }
    if let Some(inner) = text.strip_prefix('\'') {
        let Some(inner) = inner.strip_suffix('\'') else { return fault(line, "a quote is not closed") };
        return Ok(Value::String(inner.replace("''", "'")));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(whole) => Value::from(whole),
            Err(_) => {
                let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
                let number = text.parse::<f64>().ok().filter(|_| numeric).and_then(Number::from_f64);
                number.map_or_else(|| Value::String(text.into()), Value::Number)
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn recipes_read_as_a_yaml_library_reads_them() {
        let text = "# a recipe\nmodels:\n  - model: a/b.safetensors  # the first\n    parameters:\n      weight: 0.5\n      density: [0.1, 1]\n  - model: 'it''s'\n  -\n    model: \"c # d\"\nmerge_method: ties\nparameters: {lambda: 1e-1, normalize: true, names: [x, \"y, z\"]}\nlist:\n- 1\n- - 2\n  - ~\nempty:\nlast: http://x.y:80/z#w\n";
        let expected = json!({
            "models": [
                {"model": "a/b.safetensors", "parameters": {"weight": 0.5, "density": [0.1, 1]}},
                {"model": "it's"}, {"model": "c # d"}
            ],
            "merge_method": "ties", "parameters": {"lambda": 0.1, "normalize": true, "names": ["x", "y, z"]},
            "list": [1, [2, null]], "empty": null, "last": "http://x.y:80/z#w"
        });
        assert_eq!(read(text).expect("reads"), expected);
    }

    #[test]
    fn what_is_not_read_is_named_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("a: 1\na: 2", 2),
            ("a:\n\tb: 1", 2),
            ("a: &x 1", 1),
            ("a: |\n  text", 1),
            ("a: [1, 2", 1),
            ("a: {b 1}", 1),
            ("a: 1\n  b: 2", 2),
            ("a: 1\n---\nb: 2", 2),
            ("a: \"x", 1),
            ("a: [1] 2", 1),
            ("- a\nb: 1", 2),
            ("a:\n    b: 1\n  c: 2", 3),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(&format!("line {line}:")), "{text:?}: {error}");
        }
        let deep = "[".repeat(1000);
        assert!(read(&format!("a: {deep}")).is_err());
    }
}
