//! Adapters among themselves: several low-rank changes of a weight become one, as peft's `add_weighted_adapter` makes them, on the host.
//!
//! peft 0.21 `LoraModel.add_weighted_adapter`; FLoRA (Wang et al. 2024, arXiv 2409.05976) for the stack; MHR (Caccia et al. 2023,
//! arXiv 2211.03831) for the mean of factors with weights of each block. TIES, DARE and pruning act on whole changes (peft's `*_svd`), so that
//! ranks may differ; what is no product of matrices of the rank asked for is cut to it by its leading singular vectors.

use serde::Serialize;

use crate::MixError;
use crate::linalg::{Matrix, leading};
use crate::low_rank::{LowRank, add_low_rank_reference};
use crate::method::{HostInputs, Settings};
use crate::methods::consensus::{Consensus, Keep, Vote};
use crate::recipe::Knobs;
use crate::select::Selection;

/// How adapters become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CombineMethod {
    /// Factors side by side: exact, of any ranks.
    Stack,
    /// The sum, cut to a rank.
    Svd,
    /// Factors added, each with the root of its weight: mixed terms appear; equal ranks only (peft `linear`).
    Linear,
    /// peft `ties_svd`.
    Ties,
    /// peft `dare_linear_svd`.
    DareLinear,
    /// peft `dare_ties_svd`.
    DareTies,
    /// peft `magnitude_prune_svd`.
    MagnitudePrune,
    /// The mean of the factors, weights counting by block; equal ranks only.
    Mhr,
}

/// Name, what it does, and the method.
pub const COMBINE_METHODS: [(&str, &str, CombineMethod); 8] = [
    ("stack", "factors side by side: exact, of any ranks (FLoRA, arXiv 2409.05976; peft `cat`)", CombineMethod::Stack),
    ("svd", "the sum, cut to `rank` (peft `svd`)", CombineMethod::Svd),
    (
        "linear",
        "factors added with the roots of the weights; mixed terms appear, equal ranks only (peft `linear`)",
        CombineMethod::Linear,
    ),
    ("ties", "TIES on whole changes (peft `ties_svd`)", CombineMethod::Ties),
    (
        "dare_linear",
        "random elements dropped, the rest scaled by 1 / density (peft `dare_linear_svd`)",
        CombineMethod::DareLinear,
    ),
    ("dare_ties", "the same, then a vote on signs (peft `dare_ties_svd`)", CombineMethod::DareTies),
    (
        "magnitude_prune",
        "the largest elements of every change (peft `magnitude_prune_svd`)",
        CombineMethod::MagnitudePrune,
    ),
    (
        "mhr",
        "the mean of the factors with the weights of each block, equal ranks only (MHR, arXiv 2211.03831)",
        CombineMethod::Mhr,
    ),
];

/// The recipe's `combine`: its adapters act as one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Combine {
    /// How.
    pub method: CombineMethod,
    /// Rank of the result, for methods that cut; the largest of the adapters where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Part of every change that is kept, for `ties`, `dare_*` and `magnitude_prune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// Seed of `dare_*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Combine {
    /// One low-rank change from several of the same weight. `name` is the weight's; it decides the random numbers.
    /// Errors: ranks that differ where they must not.
    pub fn combine(&self, name: &str, parts: &[(&LowRank, f64)]) -> Result<LowRank, MixError> {
        match self.method {
            CombineMethod::Stack => Ok(stack(parts)),
            CombineMethod::Linear => {
                // Roots of weights, the sign on one side: the product of both has it.
                let roots: Vec<f64> = parts.iter().map(|(p, w)| (w * p.scale).abs().sqrt()).collect();
                let signed: Vec<f64> = parts.iter().zip(&roots).map(|((p, w), r)| r.copysign(w * p.scale)).collect();
                factors(name, parts, &roots, &signed)
            }
            CombineMethod::Mhr => {
                let sum: f64 = parts.iter().map(|(_, w)| w).sum();
                let divisor = if sum == 0.0 { 1.0 } else { sum };
                let shares: Vec<f64> = parts.iter().map(|(_, w)| w / divisor).collect();
                let up: Vec<f64> = parts.iter().zip(&shares).map(|((p, _), s)| s * p.scale).collect();
                factors(name, parts, &up, &shares)
            }
            _ => {
                let (rows, cols) = (parts[0].0.out, parts[0].0.width);
                let rank = self.rank.or(parts.iter().map(|(p, _)| p.rank).max()).unwrap_or(1);
                Ok(cut(&self.whole(name, parts), rows, cols, rank))
            }
        }
    }

    /// The merged change in full.
    fn whole(&self, name: &str, parts: &[(&LowRank, f64)]) -> Vec<f32> {
        let len = parts[0].0.out * parts[0].0.width;
        let zeros = vec![0f32; len];
        if self.method == CombineMethod::Svd {
            return add_low_rank_reference(&zeros, parts);
        }
        let changes: Vec<Vec<f32>> = parts.iter().map(|(p, _)| add_low_rank_reference(&zeros, &[(p, 1.0)])).collect();
        let models: Vec<&[f32]> = changes.iter().map(Vec::as_slice).collect();
        let minus = vec![zeros.as_slice(); models.len()];
        let density = self.density.unwrap_or(1.0);
        let random = matches!(self.method, CombineMethod::DareLinear | CombineMethod::DareTies);
        let knobs = Knobs::new();
        // What is left after dropping is scaled by 1 / density.
        let scale = if random && density > 0.0 { 1.0 / density } else { 1.0 };
        let settings = Settings {
            name,
            shape: &[len],
            weights: parts.iter().map(|(_, w)| w * scale).collect(),
            knobs: &knobs,
            model_knobs: vec![&knobs; parts.len()],
            seed: self.seed.unwrap_or(0),
            facts: None,
        };
        let kept = if density >= 1.0 { len } else { (density * len as f64) as usize };
        let vote = matches!(self.method, CombineMethod::Ties | CombineMethod::DareTies);
        let consensus = Consensus {
            keep: match random {
                true => Keep::Random(vec![density; parts.len()]),
                false => Keep::Selected((0..parts.len()).map(|i| Selection::largest(i, kept, len)).collect()),
            },
            vote: if vote { Vote::Total } else { Vote::None },
            tie: 1.0,
            normalize: vote,
            rescale: false,
            lambda: 1.0,
        };
        let inputs = HostInputs { base: &zeros, origin: &zeros, models: &models, minus: &minus, uniforms: &[] };
        consensus.reference(&inputs, &settings)
    }
}

/// Factors side by side.
fn stack(parts: &[(&LowRank, f64)]) -> LowRank {
    let (out, width) = (parts[0].0.out, parts[0].0.width);
    let rank: usize = parts.iter().map(|(p, _)| p.rank).sum();
    let mut up = Vec::with_capacity(out * rank);
    for row in 0..out {
        for (part, weight) in parts {
            let factor = weight * part.scale;
            up.extend(part.up[row * part.rank..][..part.rank].iter().map(|v| (f64::from(*v) * factor) as f32));
        }
    }
    let down = parts.iter().flat_map(|(p, _)| p.down.iter().copied()).collect();
    LowRank { out, width, rank, up, down, scale: 1.0 }
}

/// Sums of the factors.
fn factors(name: &str, parts: &[(&LowRank, f64)], ups: &[f64], downs: &[f64]) -> Result<LowRank, MixError> {
    let first = parts[0].0;
    if let Some((other, _)) = parts.iter().find(|(p, _)| p.rank != first.rank) {
        let reason =
            format!("ranks {} and {} differ; use stack, svd or another that takes any", first.rank, other.rank);
        return Err(MixError::Tensor { place: "combine".into(), tensor: name.into(), reason });
    }
    let sum = |of: fn(&LowRank) -> &Vec<f32>, weights: &[f64]| -> Vec<f32> {
        let at = |i: usize| parts.iter().zip(weights).map(|((p, _), w)| w * f64::from(of(p)[i])).sum::<f64>() as f32;
        (0..of(first).len()).map(at).collect()
    };
    let (up, down) = (sum(|p| &p.up, ups), sum(|p| &p.down, downs));
    Ok(LowRank { up, down, scale: 1.0, ..*first })
}

/// The nearest change of a rank (Eckart and Young 1936).
fn cut(change: &[f32], rows: usize, cols: usize, rank: usize) -> LowRank {
    let matrix = Matrix::from_f32(change, rows, cols);
    let rank = rank.clamp(1, rows.min(cols).max(1));
    let narrow = |m: Matrix| m.data.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    let (up, down) = if rows <= cols {
        let (left, rest) = leading(&matrix, rank);
        (left.transposed(), rest)
    } else {
        let (left, rest) = leading(&matrix.transposed(), rank);
        (rest.transposed(), left)
    };
    LowRank { out: rows, width: cols, rank, up: narrow(up), down: narrow(down), scale: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn part(out: usize, width: usize, rank: usize, seed: u32) -> LowRank {
        LowRank::new(random(out * rank, seed), random(rank * width, seed + 1), out, rank, 0.5).expect("sizes fit")
    }

    fn whole(part: &LowRank) -> Vec<f32> {
        add_low_rank_reference(&vec![0.0; part.out * part.width], &[(part, 1.0)])
    }

    fn near(a: &[f32], b: &[f32]) -> bool {
        let scale = b.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * scale)
    }

    fn combine(method: CombineMethod, rank: Option<usize>, density: Option<f64>) -> Combine {
        Combine { method, rank, density, seed: Some(3) }
    }

    #[test]
    fn stacks_and_full_ranks_are_the_sum_exactly() {
        for (out, width) in [(1, 1), (5, 9), (13, 4)] {
            let (a, b) = (part(out, width, 1, 1), part(out, width, 3, 5));
            let parts = [(&a, 0.7), (&b, -0.4)];
            let sum = add_low_rank_reference(&vec![0.0; out * width], &parts);
            let stacked = combine(CombineMethod::Stack, None, None).combine("t", &parts).expect("any ranks");
            assert_eq!(stacked.rank, 4);
            assert!(near(&whole(&stacked), &sum));
            let cut = combine(CombineMethod::Svd, Some(4), None).combine("t", &parts).expect("any ranks");
            assert!(near(&whole(&cut), &sum), "{out} {width}");
            // Pruning that keeps all, and dropping nothing, are the sum too.
            for method in [CombineMethod::MagnitudePrune, CombineMethod::DareLinear] {
                let same = combine(method, Some(4), Some(1.0)).combine("t", &parts).expect("any ranks");
                assert!(near(&whole(&same), &sum));
            }
        }
    }

    #[test]
    fn a_cut_leaves_the_least_that_can_be_left() {
        let (a, b) = (part(6, 8, 2, 1), part(6, 8, 2, 9));
        let parts = [(&a, 1.0), (&b, 1.0)];
        let sum = add_low_rank_reference(&[0.0; 48], &parts);
        let left = |rank| {
            let found = whole(&combine(CombineMethod::Svd, Some(rank), None).combine("t", &parts).expect("any ranks"));
            found.iter().zip(&sum).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let matrix = Matrix::from_f32(&sum, 6, 8);
        let (squares, _) = crate::linalg::symmetric_eigen(&matrix.times_transposed(&matrix));
        for rank in 1..4 {
            let least: f64 = squares[rank..].iter().sum();
            assert!((left(rank) - least).abs() < 1e-6 * squares[0], "rank {rank}");
        }
    }

    #[test]
    fn factors_add_up_as_peft_adds_them() {
        let (a, b) = (part(4, 5, 2, 1), part(4, 5, 2, 9));
        let found =
            combine(CombineMethod::Linear, None, None).combine("t", &[(&a, 0.6), (&b, -0.9)]).expect("equal ranks");
        // sqrt(|w s|) on both sides, the sign on one.
        let (u, v) = (0.3f32.sqrt(), 0.45f32.sqrt());
        let up: Vec<f32> = a.up.iter().zip(&b.up).map(|(a, b)| u * a + v * b).collect();
        let down: Vec<f32> = a.down.iter().zip(&b.down).map(|(a, b)| u * a - v * b).collect();
        assert!(near(&found.up, &up) && near(&found.down, &down));
        let mean = combine(CombineMethod::Mhr, None, None).combine("t", &[(&a, 1.0), (&a, 3.0)]).expect("equal ranks");
        assert!(near(&whole(&mean), &whole(&a)), "the mean of equals is one of them");
        let other = part(4, 5, 3, 9);
        let refused = combine(CombineMethod::Linear, None, None).combine("t", &[(&a, 1.0), (&other, 1.0)]);
        assert!(refused.is_err_and(|e| e.to_string().contains("ranks 2 and 3")));
    }

    #[test]
    fn random_elements_follow_the_seed() {
        let (a, b) = (part(6, 7, 2, 1), part(6, 7, 2, 9));
        let run = |seed| {
            let with = Combine { seed: Some(seed), ..combine(CombineMethod::DareTies, Some(6), Some(0.5)) };
            whole(&with.combine("t", &[(&a, 1.0), (&b, 1.0)]).expect("any ranks"))
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
