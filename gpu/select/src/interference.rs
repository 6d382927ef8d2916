//! How much two adapters get into each other's way.
//!
//! The figure is the mean, over the weights both change, of the absolute cosine between the two changes: 0 for changes at right
//! angles, 1 for the same change. For low-rank changes it needs no full matrices: <B1 A1, B2 A2> = sum (B1' B2) o (A1 A2').

use admix_files::Result;
use admix_files::adapter::{Adapter, Factors, Targets};
use std::collections::HashMap;

/// A change `up @ down` of one weight: [out, rank] and [rank, in].
pub struct Product<'a> {
    /// [out, rank]
    pub up: &'a [f32],
    /// [rank, in]
    pub down: &'a [f32],
    /// Common dimension.
    pub rank: usize,
}

/// <a, b> over the full matrices.
fn inner(a: &Product, b: &Product) -> f64 {
    let mut ups = vec![0.0f64; a.rank * b.rank];
    for (x, y) in a.up.chunks_exact(a.rank).zip(b.up.chunks_exact(b.rank)) {
        for (i, p) in x.iter().enumerate() {
            for (j, q) in y.iter().enumerate() {
                ups[i * b.rank + j] += f64::from(p * q);
            }
        }
    }
    let (wide_a, wide_b) = (a.down.len() / a.rank.max(1), b.down.len() / b.rank.max(1));
    if wide_a != wide_b || wide_a == 0 {
        return 0.0;
    }
    let mut sum = 0.0;
    for (i, x) in a.down.chunks_exact(wide_a).enumerate() {
        for (j, y) in b.down.chunks_exact(wide_b).enumerate() {
            let along: f64 = x.iter().zip(y).map(|(p, q)| f64::from(p * q)).sum();
            sum += ups[i * b.rank + j] * along;
        }
    }
    sum
}

fn of(factors: &Factors) -> Product<'_> {
    Product { up: &factors.up, down: &factors.down, rank: factors.rank }
}

/// Cosine between two changes of one weight; none if one of them is nothing.
pub fn cosine(a: &Product, b: &Product) -> Option<f64> {
    let size = inner(a, a).max(0.0).sqrt() * inner(b, b).max(0.0).sqrt();
    (size > 0.0).then(|| (inner(a, b) / size).clamp(-1.0, 1.0))
}

/// The figure for two adapters on one model; none if they share no weight that low-rank changes reach.
///
/// # Errors
/// Files that cannot be read.
pub async fn interference(a: &Adapter, b: &Adapter, targets: &Targets) -> Result<Option<f64>> {
    let weights = |of: &Adapter| -> HashMap<String, String> {
        of.fit_targets(targets).matched.into_iter().map(|m| (m.weight, m.module)).collect()
    };
    let (first, mut second) = (weights(a), weights(b));
    let (mut sum, mut count) = (0.0, 0usize);
    let mut shared: Vec<(String, String, String)> = first
        .into_iter()
        .filter_map(|(weight, module)| second.remove(&weight).map(|other| (weight, module, other)))
        .collect();
    shared.sort();
    for (_, module, other) in shared {
        let (Some(m), Some(o)) = (a.modules.get(&module), b.modules.get(&other)) else { continue };
        let (Ok(x), Ok(y)) = (a.factors(m).await, b.factors(o).await) else { continue };
        if x.rank == 0 || y.rank == 0 {
            continue;
        }
        let found = cosine(&of(&x), &of(&y));
        if let Some(c) = found {
            sum += c.abs();
            count += 1;
        }
    }
    Ok((count > 0).then(|| sum / count as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_give_the_full_matrices_cosine() {
        let (up, down) = ([1.0, 2.0, 0.5, -1.0, 3.0, 0.0], [1.0, 0.0, 2.0, -1.0, 1.0, 1.0]);
        let (up2, down2) = ([2.0, 1.0, -1.0], [0.5, 1.0, -2.0]);
        let a = Product { up: &up, down: &down, rank: 2 };
        let b = Product { up: &up2, down: &down2, rank: 1 };
        let full = |p: &Product| -> Vec<f64> {
            let wide = p.down.len() / p.rank;
            let rows = p.up.len() / p.rank;
            let at = |r: usize, c: usize| -> f64 {
                (0..p.rank).map(|k| f64::from(p.up[r * p.rank + k] * p.down[k * wide + c])).sum()
            };
            (0..rows).flat_map(|r| (0..wide).map(move |c| (r, c))).map(|(r, c)| at(r, c)).collect()
        };
        let (x, y) = (full(&a), full(&b));
        let dot = |p: &[f64], q: &[f64]| -> f64 { p.iter().zip(q).map(|(a, b)| a * b).sum() };
        let expected = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
        assert!((cosine(&a, &b).unwrap() - expected).abs() < 1e-12);
        assert!((cosine(&a, &a).unwrap() - 1.0).abs() < 1e-12);
        assert!(cosine(&a, &Product { up: &[0.0; 3], down: &[1.0; 3], rank: 1 }).is_none());
    }
}
