//! BM25 (Robertson and Zaragoza 2009) over the words of cards, with fields folded in by weight (BM25F, simple form).
//!
//! What a word adds to a document's score depends on nothing in the query, so it is computed once and stored in the posting. A search
//! walks the lists from the one that can add most to the one that can add least and stops admitting documents once the k-th best is
//! beyond what the rest can add (MaxScore: Turtle and Flood 1995, term at a time); from there on only what is ahead is looked up in the
//! long lists. The result is the exhaustive one.

use crate::admitted::Admitted;
use std::collections::HashMap;

const K1: f32 = 1.2;
const B: f32 = 0.5;

/// Takes documents in; [`Builder::finish`] makes the index.
#[derive(Default)]
pub struct Builder {
    terms: HashMap<Box<str>, u32>,
    /// (term, document, weighted frequency), by document.
    found: Vec<(u32, u32, f32)>,
    lengths: Vec<f32>,
}

impl Builder {
    /// Adds the next document: stems with the weight of the field they stand in.
    pub fn add<'a>(&mut self, stems: impl IntoIterator<Item = (&'a str, f32)>) {
        let document = self.lengths.len() as u32;
        let from = self.found.len();
        let mut length = 0.0;
        for (stem, weight) in stems {
            length += weight;
            let next = self.terms.len() as u32;
            let term = match self.terms.get(stem) {
                Some(term) => *term,
                None => *self.terms.entry(stem.into()).or_insert(next),
            };
            match self.found[from..].iter_mut().find(|(t, _, _)| *t == term) {
                Some((_, _, frequency)) => *frequency += weight,
                None => self.found.push((term, document, weight)),
            }
        }
        self.lengths.push(length);
    }

    /// The index of what was added.
    pub fn finish(self) -> Bm25 {
        let Builder { terms, found, lengths } = self;
        let count = lengths.len();
        let mean = (lengths.iter().map(|l| f64::from(*l)).sum::<f64>() / count.max(1) as f64).max(1e-6) as f32;
        let mut starts = vec![0u32; terms.len() + 1];
        found.iter().for_each(|(term, _, _)| starts[*term as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut index = Bm25 {
            terms,
            documents: vec![0; found.len()],
            impacts: vec![0.0; found.len()],
            ceilings: vec![0.0; starts.len().saturating_sub(1)],
            starts,
            count,
        };
        let mut next = index.starts.clone();
        for (term, document, frequency) in found {
            let term = term as usize;
            let norm = K1 * (1.0 - B + B * lengths[document as usize] / mean);
            let impact = index.idf_of(term) * frequency * (K1 + 1.0) / (frequency + norm);
            let at = next[term] as usize;
            next[term] += 1;
            (index.documents[at], index.impacts[at]) = (document, impact);
            index.ceilings[term] = index.ceilings[term].max(impact);
        }
        index
    }
}

/// An inverted index.
#[derive(Default)]
pub struct Bm25 {
    terms: HashMap<Box<str>, u32>,
    /// Where each term's postings begin; one more than there are terms.
    starts: Vec<u32>,
    /// Ascending within a term.
    documents: Vec<u32>,
    /// What the term adds to the document's score.
    impacts: Vec<f32>,
    /// The largest of a term's impacts.
    ceilings: Vec<f32>,
    count: usize,
}

/// A term of a query.
struct List<'a> {
    documents: &'a [u32],
    impacts: &'a [f32],
    ceiling: f32,
    /// How often the query has it.
    times: f32,
}

impl Bm25 {
    /// Number of documents.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a document has the stem.
    pub fn knows(&self, stem: &str) -> bool {
        self.terms.contains_key(stem)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let words: usize = self.terms.keys().map(|t| t.len() + size_of::<(Box<str>, u32)>() + 1).sum();
        words + 8 * self.documents.len() + 8 * self.starts.len()
    }

    fn idf_of(&self, term: usize) -> f32 {
        let n = (self.starts[term + 1] - self.starts[term]) as f32;
        ((self.count as f32 - n + 0.5) / (n + 0.5) + 1.0).ln()
    }

    /// The lists of a query's stems, those that can add most first.
    fn lists(&self, stems: &[&str]) -> Vec<List<'_>> {
        let mut times: Vec<(u32, f32)> = Vec::new();
        for term in stems.iter().filter_map(|s| self.terms.get(*s)) {
            match times.iter_mut().find(|(t, _)| t == term) {
                Some((_, n)) => *n += 1.0,
                None => times.push((*term, 1.0)),
            }
        }
        let list = |(term, times): (u32, f32)| {
            let term = term as usize;
            let range = self.starts[term] as usize..self.starts[term + 1] as usize;
            List {
                documents: &self.documents[range.clone()],
                impacts: &self.impacts[range],
                ceiling: times * self.ceilings[term],
                times,
            }
        };
        let mut lists: Vec<List<'_>> = times.into_iter().map(list).collect();
        lists.sort_by(|a, b| b.ceiling.total_cmp(&a.ceiling).then(a.documents.len().cmp(&b.documents.len())));
        lists
    }

    /// The `k` best documents that are admitted, best first.
    pub fn search(&self, stems: &[&str], k: usize, admitted: &Admitted) -> Vec<(u32, f32)> {
        let lists = self.lists(stems);
        if k == 0 || lists.is_empty() {
            return Vec::new();
        }
        let mut rest: f32 = lists.iter().map(|l| l.ceiling).sum();
        let mut scores = vec![0.0f32; self.count];
        let mut touched: Vec<u32> = Vec::new();
        for (at, list) in lists.iter().enumerate() {
            if touched.len() >= k && rest <= floor(&scores, &touched, k) {
                let found = touched.into_iter().map(|d| (d, scores[d as usize])).collect();
                return finish(found, &lists[at..], rest, k);
            }
            for (document, impact) in list.documents.iter().zip(list.impacts) {
                let score = &mut scores[*document as usize];
                if *score == 0.0 {
                    if !admitted.contains(*document) {
                        continue;
                    }
                    touched.push(*document);
                }
                *score += list.times * impact;
            }
            rest -= list.ceiling;
        }
        let mut found: Vec<(u32, f32)> = touched.into_iter().map(|d| (d, scores[d as usize])).collect();
        best(&mut found, k);
        found
    }
}

/// The k-th best score so far.
fn floor(scores: &[f32], touched: &[u32], k: usize) -> f32 {
    let mut so_far: Vec<f32> = touched.iter().map(|d| scores[*d as usize]).collect();
    *so_far.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// Looks the remaining lists up for what can still be among the best.
fn finish(mut found: Vec<(u32, f32)>, lists: &[List<'_>], mut rest: f32, k: usize) -> Vec<(u32, f32)> {
    for list in lists {
        let mut so_far: Vec<f32> = found.iter().map(|f| f.1).collect();
        let floor = *so_far.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
        // A little room: sums in another order may differ in their last bits.
        found.retain(|(_, score)| score + rest >= floor - 1e-4);
        for (document, score) in &mut found {
            if let Ok(at) = list.documents.binary_search(document) {
                *score += list.times * list.impacts[at];
            }
        }
        rest -= list.ceiling;
    }
    best(&mut found, k);
    found
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

    fn index(texts: &[&str]) -> Bm25 {
        let mut builder = Builder::default();
        texts.iter().for_each(|text| builder.add(text.split(' ').map(|w| (w, 1.0))));
        builder.finish()
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let index = index(&["ink wash", "ink ink paper", "glass"]);
        let found = index.search(&["ink"], 9, &Admitted::all(3));
        // n = 2 of N = 3: idf = ln(1 + 1.5 / 2.5); mean length 2; f = 2, length 3 and f = 1, length 2.
        let idf = (1.0f32 + 1.5 / 2.5).ln();
        let expected = [(1, idf * 2.0 * 2.2 / (2.0 + 1.2 * 1.25)), (0, idf * 2.2 / (1.0 + 1.2))];
        assert_eq!(found.len(), 2);
        for ((d, s), (de, se)) in found.iter().zip(expected) {
            assert_eq!(*d, de);
            assert!((s - se).abs() < 1e-5, "{s} {se}");
        }
        assert!(index.search(&["stone"], 9, &Admitted::all(3)).is_empty());
        assert_eq!(index.search(&["ink", "glass"], 1, &Admitted::of(3, |d| d != 2))[0].0, 1);
    }

    #[test]
    fn pruning_changes_nothing() {
        // Words by falling frequency: word w stands in every w-th document, some of them twice.
        let texts: Vec<String> = (1..4000usize)
            .map(|d| (1..60).filter(|w| d % w == 0).map(|w| format!("w{w} ").repeat(1 + d % 7 / 5)).collect())
            .collect();
        let index = index(&texts.iter().map(|t| t.trim()).collect::<Vec<_>>());
        let admitted = Admitted::of(index.len(), |d| d % 5 != 3);
        for (query, k) in [
            (vec!["w2", "w3", "w59"], 10),
            (vec!["w1", "w2", "w47", "w47"], 5),
            (vec!["w1"], 3),
            (vec!["w31", "w1", "w2", "w3", "w4"], 25),
        ] {
            let mut all = vec![0.0f32; index.len()];
            for stem in &query {
                for (d, s) in index.search(&[stem], usize::MAX, &admitted) {
                    all[d as usize] += s;
                }
            }
            let mut all: Vec<(u32, f32)> = (0..).zip(all).filter(|(_, s)| *s > 0.0).collect();
            best(&mut all, k);
            let found = index.search(&query, k, &admitted);
            assert_eq!(found.len(), k);
            for ((_, a), (_, b)) in all.iter().zip(&found) {
                assert!((a - b).abs() < 1e-4, "{query:?}: {all:?} {found:?}");
            }
        }
    }

    #[test]
    fn ties_go_by_number() {
        let mut found = vec![(3, 1.0), (1, 1.0), (2, 2.0), (0, 1.0)];
        best(&mut found, 3);
        assert_eq!(found, [(2, 2.0), (0, 1.0), (1, 1.0)]);
    }
}
