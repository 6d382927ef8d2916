//! What the composer says: topics with their adapters and weights, and near misses with their reasons.

use crate::card::Card;
use crate::topics::Place;

/// Stylus's factor on recommended weights (`stylus/utils/prompts.py`).
pub const BASE_WEIGHT: f64 = 0.8;
/// An adapter chosen for a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Position in the library.
    pub entry: u32,
    /// How well it fits, 0..1.
    pub score: f32,
    /// Weight to use it at.
    pub weight: f64,
    /// The words of its card that fit.
    pub because: String,
}

/// Some words of the prompt, and what serves them.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// The words.
    pub text: String,
    /// Their place, in characters of the prompt.
    pub span: [usize; 2],
    /// Their prompt weight.
    pub weight: f32,
    /// What kind of words they are.
    pub place: Place,
    /// Best first.
    pub choices: Vec<Choice>,
}

/// An adapter that came near and was not chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Position in the library.
    pub entry: u32,
    /// The words it came near to.
    pub topic: String,
    /// Its score before the reason.
    pub score: f32,
    /// Why not, for people.
    pub reason: String,
}

/// What the composer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestion {
    /// All topics in the prompt's order, the unserved ones too.
    pub topics: Vec<Topic>,
    /// Near misses, nearest first.
    pub rejected: Vec<Rejected>,
}

impl Suggestion {
    /// The choices of all topics, best first.
    pub fn ranked(&self) -> Vec<(&Topic, &Choice)> {
        let mut all: Vec<_> = self.topics.iter().flat_map(|t| t.choices.iter().map(move |c| (t, c))).collect();
        all.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        all
    }
}

/// Stylus's weight, 0.8 / n of the recommended one for a topic that n adapters share, kept within what the card allows.
pub fn weight(card: &Card, sharing: usize) -> f64 {
    let n = sharing.max(1) as f64;
    let plain = card.weight * BASE_WEIGHT / n;
    let [low, high] = card.range;
    if low < high { (plain * 1000.0).round().clamp(low / n * 1000.0, high * 1000.0) / 1000.0 } else { plain }
}
