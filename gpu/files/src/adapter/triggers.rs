//! The words that call an adapter up, from what trainers write into the metadata.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

/// More captions than these are a data set, not triggers.
const MOST: usize = 20;

/// The author's own words first, then kohya's `ss_tag_frequency` (data set -> caption -> count), the most frequent first.
pub(super) fn triggers(metadata: &IndexMap<String, String>) -> Vec<String> {
    let mut out: IndexSet<String> = IndexSet::new();
    for key in ["modelspec.trigger_phrase", "trigger_phrase", "trigger_words", "triggers", "trigger", "instance_prompt"]
    {
        let Some(text) = metadata.get(key) else { continue };
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(list) => out.extend(list),
            Err(_) => out.extend(text.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty())),
        }
    }
    let mut counts: IndexMap<String, u64> = IndexMap::new();
    if let Some(Value::Object(sets)) = metadata.get("ss_tag_frequency").and_then(|t| serde_json::from_str(t).ok()) {
        for tags in sets.values().filter_map(Value::as_object) {
            for (tag, count) in tags {
                *counts.entry(tag.trim().to_owned()).or_default() += count.as_u64().unwrap_or(0);
            }
        }
    }
    // A stable sort: equal counts stay in the file's order.
    counts.sort_by(|_, a, _, b| b.cmp(a));
    out.extend(counts.into_keys().filter(|t| !t.is_empty()));
    out.into_iter().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_words_then_frequent_ones() {
        let m =
            |pairs: &[(&str, &str)]| triggers(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let tags = r#"{"10_a": {"ink": 2, "paper": 9}, "5_b": {"ink": 8, " wash ": 1}}"#;
        assert_eq!(m(&[("ss_tag_frequency", tags)]), ["ink", "paper", "wash"]);
        assert_eq!(
            m(&[("ss_tag_frequency", tags), ("modelspec.trigger_phrase", "paper, neon")]),
            ["paper", "neon", "ink", "wash"]
        );
        assert_eq!(m(&[("triggers", r#"["a, b", "c"]"#)]), ["a, b", "c"]);
        assert!(m(&[("ss_tag_frequency", "nonsense")]).is_empty());
        assert!(m(&[("ss_tag_frequency", r#"{"a": {"x": "y"}, "b": 3}"#)]).len() <= 1);
    }
}
