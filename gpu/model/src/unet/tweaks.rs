//! Changes inside a recorded pass that guidance asks for, and passes over a part of a batch.

use std::sync::Arc;

use admix_tensor::kernels::Picture;
use admix_tensor::{Gpu, Recorder, Tensor};

use super::{Conditioning, UNet};
use crate::ModelError;

/// Which way the U-Net goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The encoder.
    Down,
    /// The middle.
    Mid,
    /// The decoder.
    Up,
}

/// Transformers of the U-Net; what is none means all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which way.
    pub side: Side,
    /// Block.
    pub level: Option<usize>,
    /// Transformer of the block.
    pub index: Option<usize>,
}

impl Place {
    /// Whether a transformer is among them.
    pub fn holds(&self, (side, level, index): (Side, usize, usize)) -> bool {
        self.side == side && self.level.is_none_or(|l| l == level) && self.index.is_none_or(|i| i == index)
    }
}

/// How self-attention is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attention {
    /// Every token sees itself alone: the values are the result (Ahn et al. 2024, arXiv 2403.17377).
    Identity,
    /// Queries blurred over the picture by a Gaussian of that many cells; none: their mean (Hong 2024, arXiv 2408.00760).
    Blurred(Option<f64>),
    /// Transformer blocks left out, projections kept (diffusers' LayerSkipConfig).
    Skipped,
}

/// Changes inside a pass; none by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tweaks {
    /// Self-attention, and where.
    pub attention: Option<(Attention, Vec<Place>)>,
    /// FreeU's b1, b2, s1, s2 (Si et al. 2023, arXiv 2309.11497) at the two deepest up blocks.
    pub freeu: Option<[f64; 4]>,
    /// Factors of the deepest and the shallowest skip (Ma et al. 2024, arXiv 2402.15170); even steps between.
    pub skips: Option<[f64; 2]>,
    /// Keep how much attention the middle block gives to each of its cells.
    pub tap: bool,
}

impl Tweaks {
    /// The change of attention at a transformer.
    pub(super) fn attention_at(&self, place: (Side, usize, usize)) -> Option<Attention> {
        let (how, places) = self.attention.as_ref()?;
        places.iter().any(|p| p.holds(place)).then_some(*how)
    }

    /// The factor of the `i`-th of `count` skips, deepest first.
    pub(super) fn skip_factor(&self, i: usize, count: usize) -> Option<f64> {
        let [bottom, top] = self.skips?;
        let share = if count > 1 { i as f64 / (count - 1) as f64 } else { 0.0 };
        Some(bottom + (top - bottom) * share)
    }
}

/// What the middle block looks at: softmax weights summed over queries, averaged over heads.
#[derive(Clone)]
pub struct Tap {
    /// [samples tokens, 1].
    pub mass: Tensor,
    /// Cells of the middle block.
    pub cells: Picture,
}

impl UNet {
    /// Refuses places that hold no transformer.
    ///
    /// # Errors
    /// Such a place.
    pub fn check_places(&self, places: &[Place]) -> Result<(), ModelError> {
        let level = |side: Side, i: usize, l: &super::Level| {
            (0..l.transformers.len()).map(move |j| (side, i, j)).collect::<Vec<_>>()
        };
        let down = self.down.iter().enumerate().flat_map(|(i, l)| level(Side::Down, i, l));
        let up = self.up.iter().enumerate().flat_map(|(i, l)| level(Side::Up, i, l));
        let all: Vec<_> = down.chain(level(Side::Mid, 0, &self.mid)).chain(up).collect();
        match places.iter().find(|p| !all.iter().any(|a| p.holds(*a))) {
            None => Ok(()),
            Some(p) => {
                let name = |(side, level, index): &(Side, usize, usize)| match side {
                    Side::Mid => "mid".to_owned(),
                    _ => format!("{side:?}.{level}.{index}").to_lowercase(),
                };
                let known = all.iter().map(name).collect::<Vec<_>>().join(", ");
                Err(ModelError::Size(format!("guidance: this U-Net has no self-attention at {p:?}; it has {known}")))
            }
        }
    }
}

impl Conditioning {
    /// Room for what `samples` of this batch's samples read, to be filled by [`Conditioning::feed`].
    ///
    /// # Errors
    /// The device refuses the memory.
    pub fn part(&self, gpu: &Arc<Gpu>, samples: usize) -> Result<Conditioning, ModelError> {
        let rows = if self.time_row.rows > 1 { samples } else { 1 };
        let time_row = Tensor::empty(gpu, "time row", rows, self.time_row.cols)?;
        let key = |k: &Tensor| Tensor::empty(gpu, "keys", samples * self.tokens, k.cols);
        let keys = self.keys.iter().map(key).collect::<Result<_, _>>()?;
        let (time_table, prelude) = (self.time_table.clone(), self.prelude.clone());
        Ok(Conditioning { time_table, time_row, keys, tokens: self.tokens, prelude })
    }

    /// Records the copy of what the samples from `first` on read into a part, the chosen step's time embedding too.
    pub fn feed(&self, rec: &mut Recorder, part: &Conditioning, first: usize) {
        let from = if self.time_row.rows > 1 { first } else { 0 };
        let row = (self.time_row.stride * 4) as u64;
        rec.copy(&self.time_row, from as u64 * row, &part.time_row, 0, part.time_row.bytes());
        for (source, target) in self.keys.iter().zip(&part.keys) {
            let at = (first * self.tokens * source.stride * 4) as u64;
            rec.copy(source, at, target, 0, target.bytes());
        }
    }
}
