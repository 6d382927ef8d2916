//! Which search finds the right adapter for words that are known to need one: before any topic, place or reject step. CLIP's text
//! features come from `tests/select/clip_features.py`, which reads what `STYLUS_TEXTS` makes this test write.

use super::{Labelled, sd1, target};
use admix_files::safetensors::Index;
use admix_select::words::dot;
use admix_select::{Entry, Filter, Library, Mode};
use std::path::Path;

/// As Stylus embeds a card.
fn text(entry: &Entry) -> String {
    let card = &entry.found;
    let title = if card.title.is_empty() { &entry.name } else { &card.title };
    let tags: Vec<&str> = card.triggers.iter().chain(&card.tags).map(String::as_str).collect();
    format!("{title}; {}; {}", card.description, tags.join(", "))
}

/// The words that an adapter should serve.
fn asked(sets: &[(&str, Vec<Labelled>)]) -> Vec<(String, String)> {
    let words = |l: &Labelled, [from, to]: [usize; 2]| l.prompt.chars().skip(from).take(to - from).collect();
    let of = |l: &Labelled| l.wanted.iter().map(|(place, a)| (words(l, *place), a.clone())).collect::<Vec<_>>();
    sets.iter().flat_map(|(_, prompts)| prompts.iter().flat_map(of)).collect()
}

/// Features of texts by any model, [n, dim] each.
struct Given {
    dim: usize,
    cards: Vec<f32>,
    titles: Vec<f32>,
    asked: Vec<f32>,
}

fn given(path: &Path) -> Given {
    let bytes = std::fs::read(path).expect("clip_features.py wrote it");
    let index = Index::parse(&bytes, bytes.len() as u64).expect("a safetensors file");
    let floats = |name: &str| -> Vec<f32> {
        let range = &index.tensors[name].range;
        let bytes = &bytes[range.start as usize..range.end as usize];
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let dim = index.tensors["cards"].shape[1];
    Given { dim, cards: floats("cards"), titles: floats("titles"), asked: floats("asked") }
}

/// The rows of the table: how often the right adapter is first, among the first three, among the first 150.
pub fn table(library: &Library, sets: &[(&str, Vec<Labelled>)]) -> String {
    let asked = asked(sets);
    if let Some(path) = std::env::var_os("STYLUS_TEXTS") {
        let cards: Vec<String> = library.entries().iter().map(text).collect();
        let words: Vec<&String> = asked.iter().map(|a| &a.0).collect();
        let titles: Vec<&str> = cards.iter().filter_map(|c| c.split(';').next()).collect();
        let json = serde_json::json!({ "cards": cards, "titles": titles, "asked": words });
        std::fs::write(path, json.to_string()).expect("can be written");
    }
    let filter = Filter { target: target(), ..Filter::default() };
    let name = |entry: u32| library.entries()[entry as usize].name.as_str();
    let mut rows = vec!["| Search | First | Within three | Within 150 |".to_owned(), "|---|---|---|---|".to_owned()];
    let mut row = |label: &str, ranked: &dyn Fn(usize) -> Vec<u32>| {
        let mut counts = [0usize; 3];
        for (at, (_, wanted)) in asked.iter().enumerate() {
            let place = ranked(at).into_iter().position(|e| name(e) == wanted);
            for (count, most) in counts.iter_mut().zip([1, 3, 150]) {
                *count += usize::from(place.is_some_and(|p| p < most));
            }
        }
        let share = |n: usize| format!("{:.1}%", 100.0 * n as f64 / asked.len() as f64);
        rows.push(format!("| {label} | {} | {} | {} |", share(counts[0]), share(counts[1]), share(counts[2])));
    };
    for (label, mode) in [("both, ranks fused", Mode::Hybrid), ("BM25", Mode::Bm25), ("word vectors", Mode::Embedding)]
    {
        row(label, &|at| library.retrieve(&asked[at].0, &filter, 150, mode).into_iter().map(|h| h.0).collect());
    }
    if let Some(path) = std::env::var_os("STYLUS_CLIP") {
        let features = given(Path::new(&path));
        let admitted: Vec<u32> = library.admitted(&filter).iter().collect();
        let part = |all: &[f32], at: usize| all[at * features.dim..(at + 1) * features.dim].to_vec();
        for (label, of) in [("whole cards", &features.cards), ("titles", &features.titles)] {
            let cards: Vec<(u32, Vec<f32>)> = admitted.iter().map(|e| (*e, part(of, *e as usize))).collect();
            row(&format!("CLIP text features of the built-in model, {label}"), &|at| {
                let query = part(&features.asked, at);
                let mut scored: Vec<(u32, f32)> = cards.iter().map(|(e, card)| (*e, dot(card, &query))).collect();
                admix_select::bm25::best(&mut scored, 150);
                scored.into_iter().map(|s| s.0).collect()
            });
        }
    }
    assert!(sd1(library), "the shipped adapters are of the class that is asked for");
    rows.join("\n")
}
