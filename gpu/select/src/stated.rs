//! What a folder states of its adapters beside their own files: `catalogue.json` (what the training script wrote) and `cards.json` (edits
//! by name). The built-in adapters' folder has both, and any library may.

use crate::card::{Card, Edits, Entry, Kind};
use serde_json::Value;
use std::collections::HashMap;

/// Reads both; either may be missing, and one that cannot be read is passed over with a warning that names `place`.
pub fn read(catalogue: Option<&[u8]>, cards: Option<&[u8]>, place: &str) -> HashMap<String, Edits> {
    let mut out: HashMap<String, Edits> = HashMap::new();
    let json = |file: &str, bytes: Option<&[u8]>| -> Option<Value> {
        let read = serde_json::from_slice(bytes?);
        read.map_err(|e| log::warn!("{place}: {file} is passed over: {e}")).ok()
    };
    for item in json("catalogue.json", catalogue).as_ref().and_then(|v| v.as_array()).into_iter().flatten() {
        let text = |key: &str| item[key].as_str().map(str::to_owned);
        let Some(name) = text("name") else { continue };
        let triggers =
            item["triggers"].as_array().map(|t| t.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect());
        let weight = item["weight"].as_f64();
        let edits = Edits {
            title: text("title"),
            description: text("description"),
            triggers,
            kind: text("kind").and_then(|k| Kind::named(&k)),
            weight,
            range: weight.map(|w| [0.4 * w, 1.5 * w]),
            ..Edits::default()
        };
        out.insert(name, edits);
    }
    for (name, value) in json("cards.json", cards).as_ref().and_then(|v| v.as_object()).into_iter().flatten() {
        match serde_json::from_value::<Edits>(value.clone()) {
            Ok(edits) => out.entry(name.clone()).or_default().merge(edits),
            Err(e) => log::warn!("{place}: the card of {name} in cards.json is passed over: {e}"),
        }
    }
    out
}

/// Gives copies of shipped adapters the shipped cards: the same tensors, and nothing stated that speaks against it.
pub fn adopt(entries: &mut [Entry], shipped: &[Entry]) {
    let known: HashMap<&str, &Entry> = shipped.iter().filter_map(|e| Some((e.key.as_deref()?, e))).collect();
    for Entry { name, key, found: card, .. } in entries {
        let Some(shipped) = key.as_deref().and_then(|key| known.get(key)) else { continue };
        let silent = card.triggers.is_empty() && card.description.is_empty() && card.tags.is_empty();
        let same = card.triggers.iter().any(|t| shipped.found.triggers.contains(t));
        if same || silent && *name == shipped.name {
            let own = std::mem::take(card);
            let shipped = shipped.found.clone();
            *card = Card { captions: own.captions, seen: own.seen, thumbnail: own.thumbnail, ..shipped };
        }
    }
}
