//! Small word vectors, and the meaning of a phrase as a point among them.
//!
//! `assets/select/words.safetensors` is made by `assets/select/train_words.py` from WordNet, the Unicode annotations and a list of
//! picture-making terms. A phrase is the weighted mean of its words' vectors (smooth inverse frequency: Arora, Liang and Ma 2017);
//! phrases that the vocabulary knows as a whole (`pixel_art`) count as one word, unknown words are put together from their
//! character n-grams (Zhao, Mudgal and Liang 2018).

use crate::error::{Error, Result};
use crate::spelling::Spellings;
use crate::text::{is_color, is_stop, tokens};
use admix_files::safetensors::Index;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Longest phrase in the vocabulary, in words.
const LONGEST: usize = 3;
/// Hypernyms that are known of each word.
const ANCESTORS: usize = 6;
/// No word.
const NONE: u16 = u16::MAX;

/// What a word mostly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not in the vocabulary, or neither of these.
    Unknown,
    /// A thing.
    Noun,
    /// A property.
    Adjective,
    /// An action.
    Verb,
    /// A manner.
    Adverb,
}

/// The vocabulary and its vectors.
pub struct Words {
    dim: usize,
    positions: HashMap<Box<str>, u32>,
    /// [words, dim], each row at a scale of its own.
    vectors: Vec<i8>,
    /// What makes each row a unit vector.
    scales: Vec<f32>,
    /// Smooth inverse frequency of each word, in 1/255.
    weights: Vec<u8>,
    /// [words, ANCESTORS], the hypernyms of each word's first sense, nearest first.
    parents: Vec<u16>,
    parts: Vec<u8>,
    /// Sorted fingerprints of `first_second` for nouns of two words, in the vocabulary or not.
    compounds: Vec<u32>,
    spellings: OnceLock<Spellings>,
    /// [buckets, dim], n-gram vectors.
    buckets: Vec<i8>,
}

impl Words {
    /// Reads `words.safetensors`.
    ///
    /// # Errors
    /// Files that are damaged or hold something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Words> {
        let file = "words.safetensors";
        let broken = |why: &str| Error::Words(format!("{file}: {why}; it comes with the program, install it again"));
        let index = Index::parse(bytes, bytes.len() as u64).map_err(|p| broken(&p.to_string()))?;
        let tensor = |name: &str| -> Result<(&[u8], &[usize])> {
            let info = index.tensors.get(name).ok_or_else(|| broken(&format!("`{name}` is missing")))?;
            let range = usize::try_from(info.range.start).ok().zip(usize::try_from(info.range.end).ok());
            let slice = range.and_then(|(a, b)| bytes.get(a..b)).ok_or_else(|| broken("it is cut short"))?;
            Ok((slice, &info.shape))
        };
        let (vectors, shape) = tensor("vectors")?;
        let &[count, dim] = shape else { return Err(broken("`vectors` is no matrix")) };
        let (buckets, shape) = tensor("buckets")?;
        let names = std::str::from_utf8(tensor("words")?.0).map_err(|_| broken("`words` is no text"))?;
        let (weights, parents, parts) = (tensor("weights")?.0, tensor("parents")?.0, tensor("parts")?.0);
        let compounds = tensor("compounds")?.0;
        let fits = shape.get(1) == Some(&dim) && dim > 0 && !buckets.is_empty() && names.split('\n').count() == count;
        if !fits
            || count >= usize::from(NONE)
            || weights.len() != count
            || parents.len() != 2 * ANCESTORS * count
            || parts.len() != count
        {
            return Err(broken("its tables do not belong together"));
        }
        let signed = |bytes: &[u8]| bytes.iter().map(|b| *b as i8).collect::<Vec<i8>>();
        let vectors = signed(vectors);
        let length = |row: &[i8]| row.iter().map(|v| f32::from(*v).powi(2)).sum::<f32>().sqrt();
        Ok(Words {
            dim,
            positions: names.split('\n').zip(0..).map(|(name, i)| (name.into(), i)).collect(),
            scales: vectors.chunks_exact(dim).map(|row| 1.0 / length(row).max(1.0)).collect(),
            vectors,
            weights: weights.to_vec(),
            parents: parents.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(),
            parts: parts.to_vec(),
            compounds: compounds.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
            spellings: OnceLock::new(),
            buckets: signed(buckets),
        })
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    fn position(&self, stem: &str) -> Option<usize> {
        self.positions.get(stem).map(|i| *i as usize)
    }

    /// The vocabulary, in no order; phrases with `_` between their words.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.positions.keys().map(AsRef::as_ref)
    }

    /// Whether the vocabulary knows the stem, or the stems joined by `_`.
    pub fn knows(&self, stem: &str) -> bool {
        self.positions.contains_key(stem)
    }

    /// Whether two words one after the other are a noun of their own: "pencil sharpener", and "night gown" for "nightgown".
    pub fn is_compound(&self, first: &str, second: &str) -> bool {
        self.compounds.binary_search(&fnv(&format!("{first}_{second}"))).is_ok()
    }

    /// The word of the vocabulary that was probably meant, for one that nobody knows; `is_named` tells words that are likely here.
    pub fn respell(&self, word: &str, is_named: &dyn Fn(&str) -> bool) -> Option<&str> {
        let spellings = self.spellings.get_or_init(|| Spellings::of(self.positions.keys().map(AsRef::as_ref)));
        spellings.nearest(word, &|w| (!is_named(w), (1000.0 * self.weight(w)) as u32))
    }

    /// How much a word says, 0..1: frequent words say little, unknown ones are names.
    pub fn weight(&self, stem: &str) -> f32 {
        self.position(stem).map_or(0.9, |i| f32::from(self.weights[i]) / 255.0)
    }

    /// What a word mostly is.
    pub fn part(&self, stem: &str) -> Part {
        match self.position(stem).map_or(0, |i| self.parts[i]) {
            1 => Part::Noun,
            2 => Part::Adjective,
            3 => Part::Verb,
            4 => Part::Adverb,
            _ => Part::Unknown,
        }
    }

    /// Whether a word names something: the taxonomy has it.
    pub fn is_noun(&self, stem: &str) -> bool {
        self.position(stem).is_some_and(|at| self.parents[at * ANCESTORS] != NONE)
    }

    /// Whether `above` stands above `below` in the taxonomy of first senses, and how many known words up; at most `most`.
    pub fn steps_up(&self, below: &str, above: &str, most: usize) -> Option<usize> {
        let (at, goal) = (self.position(below)?, self.position(above)?);
        let ancestors = self.parents.get(at * ANCESTORS..(at + 1) * ANCESTORS)?;
        ancestors.iter().take(most).position(|up| *up != NONE && usize::from(*up) == goal).map(|n| n + 1)
    }

    /// Whether two words together are something that the last of them alone is not ("hot dog"): neither near it in meaning nor a kind
    /// of it.
    pub fn is_thing_of_its_own(&self, joined: &str, head: &str) -> bool {
        self.knows(head) && self.cosine(joined, head) < 0.35 && self.steps_up(joined, head, ANCESTORS).is_none()
    }

    /// Cosine between two words of the vocabulary; 0 if one is unknown.
    pub fn cosine(&self, one: &str, other: &str) -> f32 {
        let (Some(a), Some(b)) = (self.position(one), self.position(other)) else { return 0.0 };
        let row = |i: usize| &self.vectors[i * self.dim..(i + 1) * self.dim];
        let sum: i32 = row(a).iter().zip(row(b)).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        sum as f32 * self.scales[a] * self.scales[b]
    }

    fn add_word(&self, stem: &str, weight: f32, into: &mut [f32]) {
        if let Some(i) = self.position(stem) {
            let row = &self.vectors[i * self.dim..(i + 1) * self.dim];
            let factor = weight * self.scales[i];
            into.iter_mut().zip(row).for_each(|(a, v)| *a += factor * f32::from(*v));
            return;
        }
        let mut own = vec![0.0f32; self.dim];
        let count = self.buckets.len() / self.dim;
        for gram in grams(stem) {
            let at = (fnv(&gram) as usize % count) * self.dim;
            own.iter_mut().zip(&self.buckets[at..at + self.dim]).for_each(|(a, v)| *a += f32::from(*v));
        }
        // A guess: less sure of itself than a word that was read.
        if normalize(&mut own) {
            into.iter_mut().zip(&own).for_each(|(a, v)| *a += 0.5 * weight * v);
        }
    }

    /// Adds the meaning of a text to `into`, at `weight` a word.
    pub fn add_text(&self, text: &str, weight: f32, into: &mut [f32]) {
        let found = tokens(text);
        self.add_stems(&found.iter().map(|t| t.stem.as_str()).collect::<Vec<_>>(), weight, into);
    }

    fn add_stems(&self, stems: &[&str], weight: f32, into: &mut [f32]) {
        let content: Vec<&str> = stems.iter().copied().filter(|s| !is_stop(s)).collect();
        let mut at = 0;
        while at < content.len() {
            let longest = (2..=LONGEST.min(content.len() - at)).rev().find_map(|n| {
                // "moon light" is moonlight, but a "blue print" may be any print that is blue.
                let apart = Some(content[at..at + n].join("_"));
                let together = (!is_color(content[at])).then(|| content[at..at + n].concat());
                let joined = apart.into_iter().chain(together).find(|joined| self.knows(joined))?;
                Some((n, joined))
            });
            let (n, word) = longest.unwrap_or_else(|| (1, content[at].to_owned()));
            self.add_word(&word, weight * self.weight(&word) * n as f32, into);
            at += n;
        }
    }

    /// The meaning of stems as a unit vector; none if they are all function words.
    pub fn embed_stems(&self, stems: &[&str]) -> Option<Vec<f32>> {
        let mut out = vec![0.0; self.dim];
        self.add_stems(stems, 1.0, &mut out);
        normalize(&mut out).then_some(out)
    }

    /// The meaning of a text as a unit vector; none for a text without content words.
    pub fn embed(&self, text: &str) -> Option<Vec<f32>> {
        let mut out = vec![0.0; self.dim];
        self.add_text(text, 1.0, &mut out);
        normalize(&mut out).then_some(out)
    }
}

/// Makes a unit vector; false for a vector of zeros.
pub fn normalize(v: &mut [f32]) -> bool {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length < 1e-6 {
        return false;
    }
    v.iter_mut().for_each(|x| *x /= length);
    true
}

/// The inner product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn grams(word: &str) -> Vec<String> {
    let w: Vec<char> = std::iter::once('<').chain(word.chars()).chain(std::iter::once('>')).collect();
    (3..=5).flat_map(|n| w.windows(n).map(|g| g.iter().collect::<String>()).collect::<Vec<_>>()).collect()
}

/// FNV-1a, 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_words;

    #[test]
    fn synonyms_are_near_and_strangers_far() {
        let w = shared_words();
        let near = |a: &str, b: &str| dot(&w.embed(a).unwrap(), &w.embed(b).unwrap());
        for (a, b, stranger) in [
            ("robot", "android", "apple"),
            ("watercolour", "aquarelle", "rocket"),
            ("pixel art", "8-bit sprite", "oil painting"),
            ("pencil drawing", "graphite sketch", "dragon"),
            ("moonlit", "at night", "banana"),
        ] {
            assert!(near(a, b) > 0.55, "{a} {b} {}", near(a, b));
            assert!(near(a, stranger) < 0.4, "{a} {stranger} {}", near(a, stranger));
        }
    }

    #[test]
    fn unknown_words_lean_on_their_parts() {
        let w = shared_words();
        assert!(!w.knows("robotlike"));
        let near = dot(&w.embed("robotlike").unwrap(), &w.embed("robot").unwrap());
        assert!(near > dot(&w.embed("robotlike").unwrap(), &w.embed("watermelon").unwrap()), "{near}");
        assert!(w.embed("of the").is_none());
        assert!(w.embed("").is_none());
    }

    #[test]
    fn hypernyms_lead_upwards() {
        let w = shared_words();
        assert!(w.steps_up("dog", "mammal", 6).is_some());
        assert!(w.steps_up("mammal", "dog", 6).is_none());
    }

    #[test]
    fn nouns_of_two_words_are_known() {
        let w = shared_words();
        for (a, b) in [("pencil", "sharpener"), ("night", "gown"), ("apple", "pie")] {
            assert!(w.is_compound(a, b), "{a} {b}");
        }
        assert!(!w.is_compound("neon", "flamingo") && !w.is_compound("watercolor", "owl"));
        assert_eq!(w.respell("unicron", &|_| false), Some("unicorn"));
        assert_eq!(w.embed("moon light"), w.embed("moonlight").map(|v| v.to_vec()));
    }

    #[test]
    fn damaged_tables_are_refused() {
        let bytes = std::fs::read(crate::testing::WORDS).unwrap();
        for cut in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(Words::from_bytes(&bytes[..cut]).is_err());
        }
    }
}
