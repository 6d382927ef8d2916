//! What the tests share.

use crate::card::{Card, Entry, Kind};
use crate::words::Words;
use std::sync::{Arc, LazyLock};

/// The shipped vectors.
pub const WORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/select/words.safetensors");

/// The shipped vectors, read once.
pub fn shared_words() -> Arc<Words> {
    static IT: LazyLock<Arc<Words>> =
        LazyLock::new(|| Arc::new(Words::from_bytes(&std::fs::read(WORDS).expect("ships")).expect("reads")));
    IT.clone()
}

/// A card with the least it can have.
pub fn entry(name: &str, title: &str, triggers: &[&str], kind: Kind) -> Entry {
    let found = Card {
        title: title.into(),
        triggers: triggers.iter().map(|t| (*t).to_owned()).collect(),
        kind,
        weight: 1.0,
        range: [0.4, 1.2],
        ..Card::default()
    };
    Entry { name: name.into(), reference: format!("{name}.safetensors"), found, ..Entry::default() }
}
