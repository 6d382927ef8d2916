//! How an adapter uses its rank: the energies of the singular values of its products up @ down, found from the factors alone.
//!
//! The singular values of U D are the roots of the eigenvalues of (U'U)^(1/2) D D' (U'U)^(1/2), a matrix of the rank's size.

use serde::Serialize;

use crate::linalg::{Matrix, symmetric_eigen};
use crate::low_rank::LowRank;

/// The spectrum of an adapter over all its low-rank changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectrum {
    /// Largest rank of its factors.
    pub rank: usize,
    /// Modules looked at.
    pub modules: usize,
    /// Part of the whole energy in each singular value, the largest of every module first; they add up to 1.
    pub energies: Vec<f64>,
    /// How many directions hold 90 % of the energy.
    pub rank90: usize,
    /// How many hold 99 %.
    pub rank99: usize,
    /// Effective rank: the exponential of the entropy of the energies, averaged over modules by energy (Roy and Vetterli 2007).
    pub effective: f64,
    /// Length of all `down` (A) factors.
    pub a: f64,
    /// Length of all `up` (B) factors.
    pub b: f64,
}

impl Spectrum {
    /// Over the changes of an adapter; none where it has no low-rank change that is not zero.
    pub fn of<'a>(parts: impl Iterator<Item = &'a LowRank>) -> Option<Spectrum> {
        let mut found = Spectrum {
            rank: 0,
            modules: 0,
            energies: Vec::new(),
            rank90: 0,
            rank99: 0,
            effective: 0.0,
            a: 0.0,
            b: 0.0,
        };
        let square = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        for part in parts {
            let squares = squares(part);
            let energy: f64 = squares.iter().sum();
            found.rank = found.rank.max(part.rank);
            found.modules += 1;
            found.a += square(&part.down);
            found.b += square(&part.up);
            found.energies.resize(found.energies.len().max(squares.len()), 0.0);
            found.energies.iter_mut().zip(&squares).for_each(|(e, s)| *e += s);
            if energy > 0.0 {
                let shares = squares.iter().map(|s| s / energy).filter(|p| *p > 0.0);
                found.effective += energy * shares.map(|p| -p * p.ln()).sum::<f64>().exp();
            }
        }
        let energy: f64 = found.energies.iter().sum();
        if energy <= 0.0 {
            return None;
        }
        found.energies.iter_mut().for_each(|e| *e /= energy);
        found.effective /= energy;
        (found.a, found.b) = (found.a.sqrt(), found.b.sqrt());
        let holds = |part: f64| {
            let mut sum = 0.0;
            let at = found.energies.iter().position(|e| {
                sum += e;
                // Rounding errors of the shares must not ask for one more.
                sum >= part - 1e-9
            });
            at.map_or(found.energies.len(), |i| i + 1)
        };
        (found.rank90, found.rank99) = (holds(0.9), holds(0.99));
        Some(found)
    }
}

/// Squares of the singular values of scale * up @ down, the largest first.
fn squares(part: &LowRank) -> Vec<f64> {
    let up = Matrix::from_f32(&part.up, part.out, part.rank).transposed();
    let down = Matrix::from_f32(&part.down, part.rank, part.width);
    let (values, vectors) = symmetric_eigen(&up.times_transposed(&up));
    // (U'U)^(1/2), its eigenvectors being rows.
    let mut scaled = vectors.clone();
    for (row, value) in scaled.data.chunks_mut(part.rank).zip(&values) {
        row.iter_mut().for_each(|v| *v *= value.max(0.0).sqrt());
    }
    let root = vectors.transposed().times(&scaled);
    let middle = root.times(&down.times_transposed(&down)).times(&root);
    let (values, _) = symmetric_eigen(&middle);
    values.into_iter().map(|v| v.max(0.0) * part.scale * part.scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::low_rank::add_low_rank_reference;
    use crate::testing::random;

    /// The factors' spectrum is that of the whole change.
    #[test]
    fn spectra_are_those_of_the_products() {
        for (out, width, rank) in [(1, 1, 1), (9, 5, 3), (6, 20, 4), (3, 4, 8)] {
            let part = LowRank::new(random(out * rank, 1), random(rank * width, 2), out, rank, 0.7).expect("fits");
            let whole = add_low_rank_reference(&vec![0.0; out * width], &[(&part, 1.0)]);
            let matrix = Matrix::from_f32(&whole, out, width);
            let (right, _) = symmetric_eigen(&matrix.times_transposed(&matrix));
            let found = squares(&part);
            for (i, square) in found.iter().enumerate() {
                let expected = right.get(i).copied().unwrap_or(0.0).max(0.0);
                // The whole change was rounded to f32.
                assert!((square - expected).abs() <= 1e-6 * right[0], "{out} {width} {rank}: {square} {expected}");
            }
        }
    }

    #[test]
    fn one_direction_is_one_rank() {
        // Three equal rows in `down`: rank 1 in disguise.
        let row = random(12, 3);
        let down = row.repeat(3);
        let part = LowRank::new(random(15, 4), down, 5, 3, 1.0).expect("fits");
        let found = Spectrum::of([&part].into_iter()).expect("not zero");
        assert!(found.rank == 3 && found.rank90 == 1 && found.rank99 == 1);
        assert!((found.effective - 1.0).abs() < 1e-5 && (found.energies[0] - 1.0).abs() < 1e-9, "{found:?}");
        let zero = LowRank::new(vec![0.0; 15], random(36, 4), 5, 3, 1.0).expect("fits");
        assert!(Spectrum::of([&zero].into_iter()).is_none());
    }
}
