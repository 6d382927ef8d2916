//! Several prompts at once: `a cat AND a dog :0.7` (Liu et al. 2022, Composable Diffusion, arXiv 2206.01714, as A1111 writes it).
//!
//! Each part is a conditional branch of its own; together they give uncond + sum of weight (cond - uncond) in place of cond.

use super::weights::find_word;

/// The parts and their weights. Without an `AND` the prompt is one part of weight 1, whatever it ends with (A1111 takes `a ratio of 16:9`
/// for weight 9; that is an accident this program leaves out).
pub fn split(prompt: &str) -> Vec<(String, f64)> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(at) = find_word(prompt, "AND", from) {
        parts.push(&prompt[from..at]);
        from = at + 3;
    }
    if parts.is_empty() {
        return vec![(prompt.to_owned(), 1.0)];
    }
    parts.push(&prompt[from..]);
    parts.into_iter().map(weighted).collect()
}

/// `text : 0.7` apart. The number stands at the end, alone.
fn weighted(part: &str) -> (String, f64) {
    let trimmed = part.trim_end();
    if let Some((text, number)) = trimmed.rsplit_once(':') {
        let number = number.trim_start();
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.') && !digits.contains("..");
        if let Some(weight) = number.parse::<f64>().ok().filter(|w| plain && w.is_finite()) {
            return (text.trim_end().to_owned(), weight);
        }
    }
    (trimmed.to_owned(), 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_weights() {
        let found = |p: &str| split(p);
        assert_eq!(found("a cat"), [("a cat".to_owned(), 1.0)]);
        assert_eq!(found("ratio 16:9"), [("ratio 16:9".to_owned(), 1.0)]);
        assert_eq!(
            found("a cat :1.2 AND a dog AND (x:2):-0.5"),
            [("a cat".to_owned(), 1.2), (" a dog".to_owned(), 1.0), (" (x:2)".to_owned(), -0.5)]
        );
        assert_eq!(found("SAND AND LAND").len(), 2);
        assert_eq!(found("a AND [b:c:0.5]")[1], (" [b:c:0.5]".to_owned(), 1.0));
        assert_eq!(found("AND"), [(String::new(), 1.0), (String::new(), 1.0)]);
    }
}
