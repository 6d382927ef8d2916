//! GPT-2's stand-ins for bytes: every byte is a printable character.

/// Bytes that stand for themselves: visible Latin-1.
fn is_itself(b: u8) -> bool {
    matches!(b, 33..=126 | 161..=172 | 174..=255)
}

/// The character of a byte; the others follow one another from U+0100.
pub fn printable(b: u8) -> char {
    if is_itself(b) {
        return char::from(b);
    }
    let before = (0..b).filter(|c| !is_itself(*c)).count() as u32;
    char::from_u32(256 + before).unwrap_or('\u{fffd}')
}

/// All 256 in the order of CLIP's vocabulary: first those that stand for themselves.
pub fn in_vocabulary_order() -> impl Iterator<Item = char> {
    let itself = (0..=255u8).filter(|b| is_itself(*b));
    let others = (0..=255u8).filter(|b| !is_itself(*b));
    itself.chain(others).map(printable)
}
