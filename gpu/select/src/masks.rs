//! Which of the chosen adapters a candidate picture uses.
//!
//! The paper (section 3.3) masks each topic one-hot, all or none and crosses the topics; the published code
//! (`stylus/utils/masking.py`) takes the power set of each topic's adapters instead, and samples.

use crate::compose::Suggestion;

/// Which masks a topic has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masks {
    /// One of them, all of them, none of them.
    #[default]
    Paper,
    /// Every subset.
    PowerSet,
}

impl Masks {
    /// The masks of a topic with `n` adapters, as bits.
    fn of(self, n: usize) -> Vec<u32> {
        let all = (1u32 << n.min(16)) - 1;
        match self {
            Masks::PowerSet => (0..=all).rev().collect(),
            Masks::Paper if n <= 1 => (0..=all).rev().collect(),
            Masks::Paper => std::iter::once(all).chain((0..n).map(|i| 1 << i)).chain([0]).collect(),
        }
    }
}

/// A candidate: which adapters are on, per topic of the suggestion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate(pub Vec<u32>);

impl Candidate {
    /// Everything that a suggestion proposes.
    pub fn everything(suggestion: &Suggestion) -> Candidate {
        Candidate(suggestion.topics.iter().map(|t| (1u32 << t.choices.len().min(16)) - 1).collect())
    }

    /// (topic, choice) of everything that is on, with the number that share the topic after masking.
    pub fn on(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.0.iter().enumerate().flat_map(|(topic, mask)| {
            (0..32).filter(move |i| mask >> i & 1 == 1).map(move |choice| (topic, choice, mask.count_ones() as usize))
        })
    }
}

/// At most `most` different candidates: everything first, nothing last, between them drawn by `seed` where there are more.
pub fn candidates(suggestion: &Suggestion, masks: Masks, most: usize, seed: u64) -> Vec<Candidate> {
    let per_topic: Vec<Vec<u32>> = suggestion.topics.iter().map(|t| masks.of(t.choices.len())).collect();
    let total = per_topic.iter().try_fold(1u64, |n, m| n.checked_mul(m.len() as u64)).unwrap_or(u64::MAX);
    let at = |mut index: u64| {
        // The last topic turns fastest.
        let mut mask: Vec<u32> = per_topic
            .iter()
            .rev()
            .map(|m| {
                let of = m.len() as u64;
                let here = m[(index % of) as usize];
                index /= of;
                here
            })
            .collect();
        mask.reverse();
        Candidate(mask)
    };
    let most = most.max(1) as u64;
    if total <= most {
        return (0..total).map(at).collect();
    }
    let mut picked = vec![0, total - 1];
    let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
    while (picked.len() as u64) < most {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let index = (z ^ (z >> 31)) % total;
        if !picked.contains(&index) {
            picked.push(index);
        }
    }
    picked.sort_unstable();
    picked.truncate(most as usize);
    picked.into_iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{Choice, Topic};
    use crate::topics::Place;
    use std::collections::HashSet;

    fn suggestion(counts: &[usize]) -> Suggestion {
        let choice = |entry| Choice { entry, score: 1.0, weight: 0.8, because: String::new() };
        let topic = |n: &usize| Topic {
            text: String::new(),
            span: [0, 0],
            weight: 1.0,
            place: Place::Thing,
            choices: (0..*n as u32).map(choice).collect(),
        };
        Suggestion { topics: counts.iter().map(topic).collect(), rejected: Vec::new() }
    }

    #[test]
    fn the_papers_masks_and_the_codes() {
        // {A: 1, B: 3, C: 2}: 2 x 5 x 4 by the paper, 2 x 8 x 4 by the code.
        let s = suggestion(&[1, 3, 2]);
        assert_eq!(candidates(&s, Masks::Paper, 1000, 0).len(), 40);
        assert_eq!(candidates(&s, Masks::PowerSet, 1000, 0).len(), 64);
        assert_eq!(
            candidates(&suggestion(&[0, 1]), Masks::Paper, 9, 0),
            [Candidate(vec![0, 1]), Candidate(vec![0, 0])]
        );
    }

    #[test]
    fn samples_are_different_and_repeat() {
        let s = suggestion(&[3, 3, 3]);
        let drawn = candidates(&s, Masks::PowerSet, 9, 4);
        assert_eq!(drawn.len(), 9);
        assert_eq!(drawn[0].0, [7, 7, 7]);
        assert_eq!(drawn[8].0, [0, 0, 0]);
        assert_eq!(drawn.iter().map(|c| c.0.clone()).collect::<HashSet<_>>().len(), 9);
        assert_eq!(drawn, candidates(&s, Masks::PowerSet, 9, 4));
        assert_eq!(Candidate(vec![5, 0, 1]).on().collect::<Vec<_>>(), [(0, 0, 2), (0, 2, 2), (2, 0, 1)]);
        assert_eq!(candidates(&s, Masks::PowerSet, 1, 4).len(), 1);
    }
}
