//! Values along an axis: from the text people type, or spread over a range.

use super::setting::{Span, Value};

/// Most values along one axis.
pub const MOST: usize = 64;

/// `count` values over the whole span, ends included; all names of a list.
pub fn spread(span: &Span, count: usize) -> Vec<Value> {
    match span {
        Span::Numbers { rail: (low, high), is_whole } => {
            let last = count.max(2) - 1;
            let at = |i: usize| low + (high - low) * i as f64 / last as f64;
            // Round numbers read better than exact ones; the ends stay.
            let grain = if *is_whole { 1.0 } else { grain((high - low) / last as f64) };
            let mut out: Vec<f64> = (0..=last).map(|i| ((at(i) / grain).round() * grain).clamp(*low, *high)).collect();
            out.dedup();
            out.into_iter().map(|v| Value::Number((v * 1e6).round() / 1e6)).collect()
        }
        Span::Seeds(from) => (0..count.max(1) as u64).map(|i| Value::Seed(from.wrapping_add(i))).collect(),
        Span::Names(names) => names.iter().take(MOST).map(|(value, _)| Value::Word(value.clone())).collect(),
        Span::Text => Vec::new(),
    }
}

/// A power of ten well below a step.
fn grain(step: f64) -> f64 {
    10f64.powf(step.abs().max(1e-6).log10().floor() - 1.0)
}

/// The text that [`parse`] reads back.
pub fn text(values: &[Value]) -> String {
    let words = values.iter().map(|v| match v {
        Value::Word(w) if w.contains([',', '"']) => format!("\"{}\"", w.replace('"', "\"\"")),
        Value::Word(w) => w.clone(),
        number => number.text(),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Values from text, as A1111's X/Y/Z plot reads them: `1, 2, 5`, `1-5`, `1-9 (+2)`, `0-1 [5]`; words between commas, or in double quotes where
/// they hold one. Errors name the part that cannot be read.
pub fn parse(text: &str, span: &Span) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for part in split(text) {
        match span {
            Span::Text => out.push(Value::Word(part)),
            Span::Names(names) => {
                let wanted = part.to_lowercase();
                let hit =
                    names.iter().find(|(value, name)| value.to_lowercase() == wanted || name.to_lowercase() == wanted);
                let hit = hit.ok_or_else(|| format!("\"{part}\" is not one of {} choices here", names.len()))?;
                out.push(Value::Word(hit.0.clone()));
            }
            Span::Seeds(_) => {
                let seeds = seeds(&part).ok_or_else(|| {
                    format!(
                        "\"{part}\" is no seed and no range of seeds (examples: 1, 1-5, 1-9 (+2); at most {})",
                        u64::MAX
                    )
                })?;
                out.extend(seeds.into_iter().map(Value::Seed));
            }
            Span::Numbers { is_whole, .. } => {
                let numbers = range(&part).ok_or_else(|| {
                    format!("\"{part}\" is no number and no range (examples: 1, 2.5, 1-5, 1-9 (+2), 0-1 [5])")
                })?;
                out.extend(numbers.into_iter().map(|v| Value::Number(if *is_whole { v.round() } else { v })));
            }
        }
        if out.len() > MOST {
            return Err(format!("more than {MOST} values on one axis"));
        }
    }
    if out.is_empty() { Err("no values".into()) } else { Ok(out) }
}

/// Parts between commas; a part in double quotes may hold commas, and "" for a quote.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts.into_iter().map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect()
}

/// One seed, or a range of them: every bit counts, so what is no rule of [`range`] is read as whole numbers.
fn seeds(part: &str) -> Option<Vec<u64>> {
    let whole = |text: &str| text.trim().parse::<u64>().ok();
    if let Some(seed) = whole(part) {
        return Some(vec![seed]);
    }
    if let Some((low, high)) = part.split_once('-').and_then(|(low, high)| Some((whole(low)?, whole(high)?))) {
        let count = low.abs_diff(high);
        let seed = |i| if high < low { low - i } else { low + i };
        return (count < MOST as u64).then(|| (0..=count).map(seed).collect());
    }
    // Beyond 2^53 a float is no longer one whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    range(part)?.into_iter().map(|v| (0.0..=EXACT).contains(&v).then(|| v.round() as u64)).collect()
}

/// One number, or a range with a step or a count.
fn range(part: &str) -> Option<Vec<f64>> {
    let finite = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    if let Some(value) = finite(part) {
        return Some(vec![value]);
    }
    let (ends, rule) = match part.find(['(', '[']) {
        Some(at) => part.split_at(at),
        None => (part, ""),
    };
    // The first minus after the first character divides: what stands before it may be negative.
    let ends = ends.trim();
    let divide = ends.char_indices().skip(1).find(|(i, c)| *c == '-' && !ends[..*i].trim_end().ends_with('e'))?.0;
    let (low, high) = (finite(&ends[..divide])?, finite(&ends[divide + 1..])?);
    let rule = rule.trim();
    if let Some(count) = rule.strip_prefix('[') {
        let count = count.strip_suffix(']')?.trim().parse::<usize>().ok().filter(|n| (1..=MOST).contains(n))?;
        let last = count.max(2) - 1;
        return Some((0..count).map(|i| low + (high - low) * i as f64 / last as f64).collect());
    }
    let step = match rule.strip_prefix('(') {
        Some(step) => finite(step.strip_suffix(')')?)?.abs(),
        None if rule.is_empty() => 1.0,
        None => return None,
    };
    let count = ((high - low).abs() / step + 1e-9).floor();
    if step == 0.0 || !count.is_finite() || count > MOST as f64 {
        return None;
    }
    let sign = if high < low { -1.0 } else { 1.0 };
    Some((0..=count as usize).map(|i| low + sign * step * i as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<f64> {
        let span = Span::Numbers { rail: (0.0, 1.0), is_whole: false };
        let value = |v: Value| if let Value::Number(v) = v { v } else { f64::NAN };
        parse(text, &span).map(|v| v.into_iter().map(value).collect()).unwrap_or_default()
    }

    #[test]
    fn ranges_read_as_in_a1111() {
        assert_eq!(numbers("1, 2.5,5"), [1.0, 2.5, 5.0]);
        assert_eq!(numbers("1-4"), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(numbers("10-5 (-3)"), [10.0, 7.0]);
        assert_eq!(numbers("-1-1 [3], 7"), [-1.0, 0.0, 1.0, 7.0]);
        assert_eq!(numbers("1e-1-5e-1 (+0.2)"), [0.1, 0.30000000000000004, 0.5]);
        for bad in ["", "a", "1-", "1-2 (0)", "0-1 [0]", "0-1e9", "1--", "nan", "0-1 (x", "0-9 (0.01)"] {
            assert!(numbers(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn words_and_names() {
        let names = Span::Names(vec![("euler".into(), "Euler".into()), ("ddim".into(), "DDIM".into())]);
        assert_eq!(parse("DDIM, euler", &names), Ok(vec![Value::Word("ddim".into()), Value::Word("euler".into())]));
        assert!(parse("eular", &names).is_err());
        let words = parse("red, \"blue, dark\", \"a \"\"b\"\"\"", &Span::Text).expect("reads");
        assert_eq!(words.iter().map(Value::text).collect::<Vec<_>>(), ["red", "blue, dark", "a \"b\""]);
        assert_eq!(parse(&text(&words), &Span::Text), Ok(words));
    }

    #[test]
    fn seeds_are_whole_and_follow_each_other() {
        let of = |text: &str| {
            let values = parse(text, &Span::Seeds(0)).unwrap_or_default();
            values.iter().map(Value::text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("7, 18446744073709551615"), "7 18446744073709551615");
        assert_eq!(of("9007199254740993-9007199254740995"), "9007199254740993 9007199254740994 9007199254740995");
        assert_eq!((of("3-1").as_str(), of("1-9 (+4)").as_str()), ("3 2 1", "1 5 9"));
        for bad in ["-1", "1.5e30", "a", "0-99999", "18446744073709551616"] {
            assert_eq!(of(bad), "", "{bad}");
        }
        let near_the_end = spread(&Span::Seeds(u64::MAX - 1), 4);
        assert_eq!(near_the_end, [u64::MAX - 1, u64::MAX, 0, 1].map(Value::Seed));
    }

    #[test]
    fn spreads_have_round_numbers() {
        let of = |low, high, is_whole, n| {
            let values = spread(&Span::Numbers { rail: (low, high), is_whole }, n);
            values.iter().map(Value::text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(1.0, 13.0, false, 7), "1 3 5 7 9 11 13");
        assert_eq!(of(0.0, 1.0, false, 5), "0 0.25 0.5 0.75 1");
        assert_eq!(of(1.0, 3.0, true, 7), "1 2 3");
        assert_eq!(of(0.0, 1.0, false, 7), "0 0.17 0.33 0.5 0.67 0.83 1");
    }
}
