//! What a large library of adapters costs: its cards searched, a prompt served, and the memory they take.

use std::sync::Arc;

use admix_select::compose::{CardsOnly, Settings, compose};
use admix_select::{Card, Entry, Filter, Library, Mode, Words, folders};
use web_time::Instant;

use super::Figure;
use crate::EngineError;

const QUERIES: [&str; 5] =
    ["watercolour painting", "a robot", "samurai in plate armor", "gothic cathedral at night", "film noir detective"];
const PROMPT: &str = "a robot samurai in plate armor at night, watercolour, pixel art";

/// Milliseconds of a query and of a whole prompt, and megabytes, at 100,000 cards (10,000 where it shall be quick).
pub fn figures(quick: bool) -> Result<Vec<Figure>, EngineError> {
    let count = if quick { 10_000 } else { 100_000 };
    let words = folders::shipped_words().map_err(|e| EngineError::Input(e.to_string()))?;
    let before = resident();
    let library = Library::new(words.clone(), cards(&words, count));
    let grown = resident().zip(before).map(|(after, before)| after.saturating_sub(before));
    let filter = Filter::default();
    let query = |q: &&str| milliseconds(|| drop(library.retrieve(q, &filter, 150, Mode::Hybrid)));
    let mean = QUERIES.iter().map(query).sum::<f64>() / QUERIES.len() as f64;
    let whole = milliseconds(|| drop(compose(PROMPT, &library, &filter, &CardsOnly, &Settings::default())));
    let figure = |name: &str, value: f64, unit: &'static str, limit: f64, what: &str| Figure {
        limit: Some(limit),
        ratio: Some(limit / value.max(1e-3)),
        ..Figure::new(name, value, unit).of(format!("{count} cards, {what}; {limit} {unit} at 100,000 are promised"))
    };
    let mut out = vec![
        figure("suggest_query", mean, "ms", 10.0, "the 150 nearest by words and meaning"),
        figure("suggest_prompt", whole, "ms", 50.0, "three topics and a subject, taken apart and served"),
    ];
    out.extend(
        grown.map(|bytes| {
            figure("suggest_memory", bytes as f64 / 1e6, "MB", 200.0, "with what the building left behind")
        }),
    );
    Ok(out)
}

/// The best of several: what the work takes, not what else the machine does.
fn milliseconds(mut work: impl FnMut()) -> f64 {
    let mut once = |_| {
        let start = Instant::now();
        work();
        1e3 * start.elapsed().as_secs_f64()
    };
    (0..9).map(&mut once).fold(f64::INFINITY, f64::min)
}

/// Cards of words that the vocabulary knows, as many to a card as people's files have; the same ones every time.
fn cards(words: &Arc<Words>, count: usize) -> Vec<Entry> {
    let mut names: Vec<&str> = words.names().filter(|name| !name.contains('_')).collect();
    names.sort_unstable();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut pick = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        names[(state >> 33) as usize % names.len().max(1)].to_owned()
    };
    let mut card = |at: usize| {
        let found = Card {
            title: format!("{} {}", pick(), pick()),
            description: if at.is_multiple_of(3) {
                format!("{} and {} of {}", pick(), pick(), pick())
            } else {
                String::new()
            },
            triggers: vec![pick()],
            tags: (0..6).map(|_| pick()).collect(),
            weight: 0.8,
            range: [0.4, 1.0],
            ..Card::default()
        };
        Entry {
            name: format!("adapter_{at}"),
            reference: format!("adapter_{at}.safetensors"),
            found,
            ..Entry::default()
        }
    };
    (0..count).map(&mut card).collect()
}

/// Memory of this process, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

#[cfg(test)]
mod tests {
    #[test]
    fn cards_are_the_same_every_time() {
        let words = admix_select::folders::shipped_words().expect("ships");
        let (one, other) = (super::cards(&words, 50), super::cards(&words, 50));
        assert_eq!(one, other);
        assert!(one.iter().all(|e| e.found.tags.len() == 6 && !e.found.title.trim().is_empty()));
    }
}
