//! Low-rank changes of weights: W' = W + sum over adapters of weight * scale * up @ down, in f32 (`shaders/mix/low_rank.wgsl`).
//!
//! Linear layers, convolutions (down carries the kernel, up is 1x1, or the other way round for 1x1 kernels) and Tucker factors, whose middle
//! is folded into `down`. Hu et al. 2021, LoRA, arXiv 2106.09685; LyCORIS, arXiv 2309.14859.

use admix_tensor::{Launch, Recorder, Tensor};

use crate::MixError;
use crate::flat::Flat;

/// One adapter's factors for one weight: change = scale * up @ down, where the weight is seen as [out, width].
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// Rows of the weight (output features).
    pub out: usize,
    /// Columns of the weight: input features times kernel taps.
    pub width: usize,
    /// Inner size.
    pub rank: usize,
    /// [out, rank], row-major.
    pub up: Vec<f32>,
    /// [rank, width], row-major.
    pub down: Vec<f32>,
    /// alpha / rank, or what the format says instead.
    pub scale: f64,
}

impl LowRank {
    /// Factors [out, rank] and [rank, width].
    pub fn new(up: Vec<f32>, down: Vec<f32>, out: usize, rank: usize, scale: f64) -> Option<LowRank> {
        let width = down.len().checked_div(rank)?;
        let fits = up.len() == out * rank && down.len() == rank * width && width > 0;
        fits.then_some(LowRank { out, width, rank, up, down, scale })
    }

    /// Tucker factors: up [out, r], mid [r, n, taps], down [n, inp]; the change is sum up[o, r] mid[r, n, t] down[n, i] at [o, i, t].
    pub fn tucker(
        up: Vec<f32>,
        mid: &[f32],
        down: &[f32],
        out: usize,
        rank: usize,
        inner: usize,
        scale: f64,
    ) -> Option<LowRank> {
        let inp = down.len().checked_div(inner)?;
        let taps = mid.len().checked_div(rank * inner)?;
        if down.len() != inner * inp || mid.len() != rank * inner * taps {
            return None;
        }
        let mut folded = vec![0f64; rank * inp * taps];
        for r in 0..rank {
            for n in 0..inner {
                let middle = &mid[(r * inner + n) * taps..][..taps];
                let line = &down[n * inp..][..inp];
                for (i, d) in line.iter().enumerate() {
                    let target = &mut folded[(r * inp + i) * taps..][..taps];
                    target.iter_mut().zip(middle).for_each(|(t, m)| *t += f64::from(*m) * f64::from(*d));
                }
            }
        }
        Self::new(up, folded.into_iter().map(|v| v as f32).collect(), out, rank, scale)
    }
}

impl LowRank {
    /// The element-wise product of two low-rank changes is one too, of the product of their ranks: LoHa beside a weight (Hyeon-Woo et al. 2022,
    /// FedPara, arXiv 2108.06098, proposition 1).
    pub fn hadamard(a: &LowRank, b: &LowRank) -> Option<LowRank> {
        let rank = a.rank * b.rank;
        let mut up = Vec::with_capacity(a.out * rank);
        for (x, y) in a.up.chunks(a.rank).zip(b.up.chunks(b.rank)) {
            up.extend(x.iter().flat_map(|x| y.iter().map(move |y| x * y)));
        }
        let mut down = Vec::with_capacity(rank * a.width);
        for x in a.down.chunks(a.width) {
            for y in b.down.chunks(b.width) {
                down.extend(x.iter().zip(y).map(|(x, y)| x * y));
            }
        }
        let fits = (a.out, a.width) == (b.out, b.width);
        fits.then(|| LowRank::new(up, down, a.out, rank, a.scale * b.scale)).flatten()
    }
}

/// kron(a, b) of matrices [rows, n] and [lines, m] with `n` and `m` columns.
fn kron(a: &[f32], n: usize, b: &[f32], m: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(a.len() * b.len());
    for x in a.chunks(n) {
        for y in b.chunks(m) {
            out.extend(x.iter().flat_map(|x| y.iter().map(move |y| x * y)));
        }
    }
    out
}

impl LowRank {
    /// scale kron(a, b) of two products is one too, of the product of their ranks: LoKr beside a weight.
    pub fn kronecker(a: &LowRank, b: &LowRank, scale: f64) -> Option<LowRank> {
        let (up, down) = (kron(&a.up, a.rank, &b.up, b.rank), kron(&a.down, a.width, &b.down, b.width));
        LowRank::new(up, down, a.out * b.out, a.rank * b.rank, scale * a.scale * b.scale)
    }
}

/// Records `out = base + sum of weight * scale * up @ down` over `parts` (factors with their adapter's weight).
/// All parts have the weight's shape [rows, width].
pub fn add_low_rank(rec: &mut Recorder, base: &Flat, parts: &[(&LowRank, f64)], out: &Flat) -> Result<(), MixError> {
    let Some((first, _)) = parts.first() else {
        return crate::methods::linear(rec, 1.0, base, &[], &[], out);
    };
    let (rows, width) = (first.out, first.width);
    debug_assert!(parts.iter().all(|(p, _)| p.out == rows && p.width == width) && rows * width == base.len);
    let rank: usize = parts.iter().map(|(p, _)| p.rank).sum();
    let tiles = rows.div_ceil(4);
    let aligned = width.is_multiple_of(8);
    let mut up = vec![0f32; rank * tiles * 4];
    let mut down = Vec::with_capacity(rank * width);
    let mut at = 0;
    for (part, weight) in parts {
        for row in 0..rows {
            for r in 0..part.rank {
                let factor = f64::from(part.up[row * part.rank + r]) * part.scale * weight;
                up[(at + r) * tiles * 4 + row] = factor as f32;
            }
        }
        down.extend_from_slice(&part.down);
        at += part.rank;
    }
    let gpu = rec.gpu().clone();
    let up = Tensor::upload(&gpu, "up", &up, 1, up.len())?;
    let down = Tensor::upload(&gpu, "down", &down, 1, down.len())?;
    let lanes = if gpu.tier == admix_tensor::Tier::Cpu { 8u32 } else { 64 };
    let groups = base.len.div_ceil(8);
    let threads = if aligned { tiles * width / 8 } else { groups };
    let workgroups = (threads as u32).div_ceil(lanes);
    let row = workgroups.clamp(1, 32_768);
    let defines =
        [("MODELS", 0), ("ORIGIN", 0), ("KINDS", base.kind as u32 % 3), ("EXTRA", 2), ("OUT", out.kind as u32)];
    let mut defines = defines.to_vec();
    defines.extend(crate::flat::device_defines(&gpu));
    defines.extend([("WG", lanes), ("ALIGNED", aligned.into())]);
    let mut params = vec![groups as u32, 0, row, base.len as u32];
    params.extend([rows as u32, width as u32, rank as u32, tiles as u32]);
    params.resize(8 + 4 * crate::flat::MAX_MODELS, 0);
    rec.launch(Launch {
        shader: "mix/low_rank",
        defines: &defines,
        params: &params,
        reads: &[&base.data, &up, &down],
        writes: &[&out.data],
        groups: [row, workgroups.div_ceil(row), 1],
    })?;
    Ok(())
}

/// CPU twin of [`add_low_rank`], f64 sums.
pub fn add_low_rank_reference(base: &[f32], parts: &[(&LowRank, f64)]) -> Vec<f32> {
    let mut sums: Vec<f64> = base.iter().map(|v| f64::from(*v)).collect();
    for (part, weight) in parts {
        for (row, line) in sums.chunks_mut(part.width).enumerate() {
            for r in 0..part.rank {
                let factor = f64::from(part.up[row * part.rank + r]) * part.scale * weight;
                let down = &part.down[r * part.width..][..part.width];
                line.iter_mut().zip(down).for_each(|(s, d)| *s += factor * f64::from(*d));
            }
        }
    }
    sums.into_iter().map(|v| v as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::Kind;
    use crate::testing::{devices, random};

    fn part(out: usize, width: usize, rank: usize, seed: u32) -> LowRank {
        LowRank::new(random(out * rank, seed), random(rank * width, seed + 1), out, rank, 0.5).expect("sizes fit")
    }

    #[test]
    fn changes_add_up_at_awkward_sizes() {
        for (out, width, ranks) in
            [(1, 1, vec![1]), (5, 8, vec![3]), (7, 9, vec![2, 5]), (16, 72, vec![4, 1, 8]), (13, 40, vec![64])]
        {
            let base = random(out * width, 3);
            let parts: Vec<LowRank> =
                ranks.iter().enumerate().map(|(i, r)| part(out, width, *r, 10 * (i as u32 + 1))).collect();
            let parts: Vec<(&LowRank, f64)> = parts.iter().zip([0.7, -0.3, 1.5]).collect();
            let expected = add_low_rank_reference(&base, &parts);
            for gpu in devices() {
                let flat = Flat::upload_f32(&gpu, "base", &base).expect("small");
                let result = Flat::empty(&gpu, "out", base.len(), Kind::F32).expect("small");
                let mut rec = Recorder::new(&gpu);
                add_low_rank(&mut rec, &flat, &parts, &result).expect("records");
                rec.finish().submit();
                let found = pollster::block_on(result.read_f32(&gpu)).expect("reads");
                // Sums of up to 64 products of numbers below 1: 64 rounding errors of 6e-8 at most.
                let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(worst < 4e-6, "[{out}, {width}] ranks {ranks:?}: {worst}");
            }
        }
    }

    #[test]
    fn products_of_changes_are_low_rank() {
        let zeros = vec![0.0; 7 * 9];
        let (a, b) = (part(7, 9, 2, 1), part(7, 9, 3, 5));
        let product = LowRank::hadamard(&a, &b).expect("one shape");
        assert_eq!(product.rank, 6);
        let found = add_low_rank_reference(&zeros, &[(&product, 1.0)]);
        let [x, y] = [&a, &b].map(|p| add_low_rank_reference(&zeros, &[(p, 1.0)]));
        for (i, f) in found.iter().enumerate() {
            // Factors were multiplied in f32.
            assert!((f - x[i] * y[i]).abs() < 1e-6, "{i}");
        }
        assert!(LowRank::hadamard(&a, &part(9, 7, 2, 1)).is_none());
    }

    #[test]
    fn tucker_factors_fold_into_two() {
        let (out, rank, inner, inp, taps) = (3, 2, 4, 5, 9);
        let (up, mid, down) = (random(out * rank, 1), random(rank * inner * taps, 2), random(inner * inp, 3));
        let folded = LowRank::tucker(up.clone(), &mid, &down, out, rank, inner, 1.0).expect("sizes fit");
        let found = add_low_rank_reference(&vec![0.0; out * inp * taps], &[(&folded, 1.0)]);
        for (o, i, t) in [(0, 0, 0), (2, 4, 8), (1, 3, 5)] {
            let mut sum = 0f64;
            for r in 0..rank {
                for n in 0..inner {
                    sum += f64::from(up[o * rank + r] * mid[(r * inner + n) * taps + t] * down[n * inp + i]);
                }
            }
            assert!((f64::from(found[(o * inp + i) * taps + t]) - sum).abs() < 1e-6);
        }
        assert!(LowRank::tucker(up, &mid, &down[1..], out, rank, inner, 1.0).is_none());
    }
}
