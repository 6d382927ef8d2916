//! A recipe as a link: `#recipe=` and then its JSON, deflated (RFC 1951) and in base64url (RFC 4648, section 5, without padding).
//!
//! What stands behind `#` in an address never leaves the browser, so sharing a link tells no server anything. Files are named by their
//! last part and their sha256: where they lie on somebody's disk is nobody else's business, and would be of no use to them.

use std::io::{Read as _, Write as _};

use admix_engine::mix::Recipe;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// What a link's fragment begins with.
const MARK: &str = "#recipe=";
/// Longest text a link may unpack to; a recipe of a hundred adapters has some 20 kB.
const MOST_BYTES: u64 = 1 << 20;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The end of a link that brings this recipe back, `#` included.
pub fn fragment(recipe: &Recipe) -> String {
    let mut recipe = recipe.clone();
    for reference in recipe.references_mut() {
        let name = &reference.reference;
        if !name.starts_with("builtin") && !name.starts_with("drop:") {
            let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(name);
            reference.reference = last.to_string();
        }
    }
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let _ = packed.write_all(recipe.to_json(false).as_bytes());
    format!("{MARK}{}", encode(&packed.finish().unwrap_or_default()))
}

/// Whether a text looks like a recipe or a link to one, so that pasting it means something.
pub fn is_recipe(text: &str) -> bool {
    let text = text.trim();
    text.contains(MARK) || (text.starts_with('{') && text.contains("\"admix\""))
}

/// The recipe of a text: its JSON, a link, or the end of a link. Errors: one line that says what is wrong.
pub fn read(text: &str) -> Result<Recipe, String> {
    let Some((_, rest)) = text.split_once(MARK) else {
        return Recipe::from_json(text).map_err(|e| e.to_string());
    };
    let damaged = || "the link is damaged or not complete; copy it once more".to_string();
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    let packed = decode(&rest[..end]).ok_or_else(damaged)?;
    let mut json = String::new();
    DeflateDecoder::new(&packed[..]).take(MOST_BYTES).read_to_string(&mut json).map_err(|_| damaged())?;
    if json.len() as u64 == MOST_BYTES {
        return Err("the link unpacks to more than a recipe ever has; it is not one of ours".into());
    }
    Recipe::from_json(&json).map_err(|e| e.to_string())
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    for c in text.bytes() {
        word = word << 6 | DIGITS.iter().position(|d| *d == c)? as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let text = r#"{"admix":1,"base":{"ref":"builtin:mini"},
            "merge":[{"method":"weighted_sum","models":[{"ref":"/home/me/models/other.safetensors","weight":0.3}]}],
            "adapters":[{"ref":"drop:ink é.safetensors","weight":0.8},{"ref":"C:\\loras\\b.safetensors"}],
            "sample":{"prompt":"a cat & a dog, \"both\" + 100%","seed":7}}"#;
        Recipe::from_json(text).expect("a recipe")
    }

    #[test]
    fn a_recipe_comes_back_from_a_link_without_paths() {
        let link = format!("https://example.org/admix/?x=1{}", fragment(&recipe()));
        assert!(is_recipe(&link) && link.len() < 500, "{link}");
        let mut wanted = recipe();
        wanted.merge[0].models[0].source.reference = "other.safetensors".into();
        wanted.adapters[1].source.reference = "b.safetensors".into();
        for text in [link.clone(), fragment(&recipe()), format!("look: {link} !"), wanted.to_json(true)] {
            assert!(is_recipe(&text));
            assert_eq!(read(&text), Ok(wanted.clone()), "{text}");
        }
    }

    #[test]
    fn damage_is_named_and_unpacking_is_bounded() {
        let whole = fragment(&recipe());
        for cut in 0..whole.len() {
            // Any error will do, a panic will not; a deflate stream that lost its end is no recipe.
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        for text in ["", "{", "#recipe=!", "#recipe=AAAA", "plain words"] {
            assert!(read(text).is_err(), "{text}");
        }
        let mut bomb = DeflateEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 64 << 20]).expect("memory");
        let bomb = format!("{MARK}{}", encode(&bomb.finish().expect("memory")));
        assert!(read(&bomb).is_err_and(|e| e.contains("not one of ours")));
    }

    #[test]
    fn every_length_is_coded() {
        for n in 0..40u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
