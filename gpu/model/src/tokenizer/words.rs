//! Normalisation and the split into words.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// NFC, every run of white space one space, lower case character by character.
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_space = false;
    for c in text.nfc() {
        if c.is_whitespace() {
            if !in_space {
                out.push(' ');
            }
            in_space = true;
        } else {
            in_space = false;
            out.extend(c.to_lowercase());
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

fn kind(c: char) -> Kind {
    if c.is_whitespace() {
        return Kind::Space;
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Kind::Letter,
        GeneralCategoryGroup::Number => Kind::Number,
        _ => Kind::Other,
    }
}

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
const MARKS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`, white space left out. A special token written in capitals reaches this place
/// in lower case and is split like other text, but ends a run of signs.
pub fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            words.extend([&rest[..2], &rest[2..mark.len() - 2], &rest[mark.len() - 2..mark.len()]]);
            rest = &rest[mark.len()..];
            continue;
        }
        let length = match (CONTRACTIONS.iter().find(|c| rest.starts_with(**c)), kind(first)) {
            (Some(c), _) => c.len(),
            (None, Kind::Number | Kind::Space) => first.len_utf8(),
            (None, run) => rest.find(|c| kind(c) != run).unwrap_or(rest.len()),
        };
        if kind(first) != Kind::Space {
            words.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    words
}
