//! BM25 (Robertson and Zaragoza 2009) over the words of cards, with fields folded in by weight (BM25F, simple form).

use std::collections::HashMap;

const K1: f32 = 1.2;
const B: f32 = 0.5;

/// An inverted index.
#[derive(Default)]
pub struct Bm25 {
    terms: HashMap<Box<str>, u32>,
    /// (document, weighted frequency) per term.
    postings: Vec<Vec<(u32, f32)>>,
    lengths: Vec<f32>,
    total: f64,
}

impl Bm25 {
    /// Adds the next document: stems with the weight of the field they stand in.
    pub fn add<'a>(&mut self, stems: impl IntoIterator<Item = (&'a str, f32)>) {
        let document = self.lengths.len() as u32;
        let mut length = 0.0;
        for (stem, weight) in stems {
            length += weight;
            let next = self.postings.len() as u32;
            let term = match self.terms.get(stem) {
                Some(term) => *term,
                None => {
                    self.terms.insert(stem.into(), next);
                    self.postings.push(Vec::new());
                    next
                }
            };
            let list = &mut self.postings[term as usize];
            match list.last_mut() {
                Some((d, f)) if *d == document => *f += weight,
                _ => list.push((document, weight)),
            }
        }
        self.lengths.push(length);
        self.total += f64::from(length);
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How telling a stem is in this library.
    pub fn idf(&self, stem: &str) -> f32 {
        let n = self.terms.get(stem).map_or(0, |t| self.postings[*t as usize].len()) as f32;
        ((self.len() as f32 - n + 0.5) / (n + 0.5) + 1.0).ln()
    }

    /// The `k` best documents that `allow` admits, best first.
    pub fn search(&self, stems: &[&str], k: usize, allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let mean = (self.total / self.len().max(1) as f64).max(1e-6) as f32;
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for stem in stems {
            let Some(term) = self.terms.get(*stem) else { continue };
            let idf = self.idf(stem);
            for (document, f) in &self.postings[*term as usize] {
                let norm = K1 * (1.0 - B + B * self.lengths[*document as usize] / mean);
                *scores.entry(*document).or_default() += idf * f * (K1 + 1.0) / (f + norm);
            }
        }
        let mut found: Vec<(u32, f32)> = scores.into_iter().filter(|(d, _)| allow(*d)).collect();
        best(&mut found, k);
        found
    }
}

/// Keeps the `k` largest, largest first, equal ones in the order of their numbers.
pub fn best(found: &mut Vec<(u32, f32)>, k: usize) {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if found.len() > k && k > 0 {
        found.select_nth_unstable_by(k - 1, order);
    }
    found.truncate(k);
    found.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        let mut index = Bm25::default();
        for text in ["ink wash", "ink ink paper", "glass"] {
            index.add(text.split(' ').map(|w| (w, 1.0)));
        }
        let found = index.search(&["ink"], 9, &|_| true);
        // n = 2 of N = 3: idf = ln(1 + 1.5 / 2.5); mean length 2; f = 2, length 3 and f = 1, length 2.
        let idf = (1.0f32 + 1.5 / 2.5).ln();
        let expected = [(1, idf * 2.0 * 2.2 / (2.0 + 1.2 * 1.25)), (0, idf * 2.2 / (1.0 + 1.2))];
        assert_eq!(found.len(), 2);
        for ((d, s), (de, se)) in found.iter().zip(expected) {
            assert!(*d == de && (s - se).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(index.search(&["ink"], 9, &|d| d == 0).len(), 1);
        assert!(index.search(&["none"], 9, &|_| true).is_empty());
        assert!(Bm25::default().search(&["x"], 1, &|_| true).is_empty());
    }
}
