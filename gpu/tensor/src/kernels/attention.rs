//! Attention (`shaders/attention.wgsl`): fused online softmax up to a head size of 160; above it (the single wide head of a VAE) scores are made
//! in slices by the matrix product, softmax and a second product.

use super::{Epilogue, Weight};
use crate::{Launch, Recorder, Tensor, TensorError, Tier};

/// Largest head size the fused kernel keeps in registers.
const FUSED_MAX: usize = 160;
/// Bytes of scores the unfused path holds at a time.
const SCORE_BYTES: usize = 64 << 20;

/// Where queries, keys or values lie: columns `at..at + heads * d` of a tensor [n * tokens, any].
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The tensor.
    pub tensor: &'a Tensor,
    /// First column.
    pub at: usize,
}

/// Sizes of one attention call.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Samples in the batch.
    pub n: usize,
    /// Heads.
    pub heads: usize,
    /// Elements of a head.
    pub d: usize,
    /// Queries of a sample.
    pub tq: usize,
    /// Keys of a sample.
    pub tk: usize,
    /// Query i sees keys 0..=i only.
    pub causal: bool,
}

impl Recorder {
    /// softmax(q k^T / sqrt(d)) v for every sample and head. q: [n tq, ..], k, v: [n tk, ..], result [n tq, heads d].
    pub fn attention(
        &mut self,
        q: Operand<'_>,
        k: Operand<'_>,
        v: Operand<'_>,
        s: Heads,
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(s.n * s.tq, s.heads * s.d)?;
        if s.d > FUSED_MAX {
            self.attention_sliced(q, k, v, s, &y)?;
            return Ok(y);
        }
        let shared = self.gpu().tier == Tier::Gpu;
        let dv = s.d.div_ceil(4) as u32;
        let aligned = [q.at, k.at, v.at, s.d].iter().all(|x| x % 4 == 0);
        // Queries a thread: as many as the registers hold, since the keys' loads are what costs.
        let (lanes, queries): (u32, u32) = match (shared, dv) {
            (true, _) => (64, 1),
            (false, ..=4) => (8, 4),
            (false, ..=16) => (8, 2),
            (false, _) => (8, 1),
        };
        // Two blocks of keys and values fit WebGPU's default 16 KiB of workgroup memory.
        let block = if shared { (512 / dv).next_power_of_two().div_ceil(2).clamp(4, 32) } else { 4 };
        let mut defines =
            vec![("DV", dv), ("ALIGNED", aligned.into()), ("QB", queries), ("SHARED", shared.into()), ("WG", lanes)];
        if shared {
            defines.push(("KB", block));
        }
        self.launch(Launch {
            shader: "attention",
            defines: &defines,
            params: &[
                s.tq as u32,
                s.tk as u32,
                s.heads as u32,
                s.d as u32,
                q.tensor.stride as u32,
                k.tensor.stride as u32,
                v.tensor.stride as u32,
                y.stride as u32,
                q.at as u32,
                k.at as u32,
                v.at as u32,
                s.causal.into(),
                (1.0 / (s.d as f32).sqrt()).to_bits(),
                0,
                0,
                0,
            ],
            reads: &[q.tensor, k.tensor, v.tensor],
            writes: &[&y],
            groups: [(s.tq as u32).div_ceil(lanes * queries), (s.n * s.heads) as u32, 1],
        })?;
        if y.stride != y.cols {
            self.zero_padding(&y)?;
        }
        Ok(y)
    }

    /// One wide head, not causal (the VAE's): slices of queries so that the scores stay below [`SCORE_BYTES`].
    fn attention_sliced(
        &mut self,
        q: Operand<'_>,
        k: Operand<'_>,
        v: Operand<'_>,
        s: Heads,
        y: &Tensor,
    ) -> Result<(), TensorError> {
        debug_assert!(s.heads == 1 && !s.causal, "wide heads come alone");
        let keys = self.tensor(crate::padded(s.d), s.tk)?;
        let values = self.tensor(crate::padded(s.tk), s.d)?;
        let queries = self.tensor(s.tq, s.d)?;
        let result = self.tensor(s.tq, s.d)?;
        for n in 0..s.n {
            self.transpose(k.tensor, n * s.tk * k.tensor.stride + k.at, s.tk, s.d, &keys)?;
            self.copy_columns(v.tensor, n * s.tk, v.at, &values, s.tk)?;
            self.copy_columns(q.tensor, n * s.tq, q.at, &queries, s.tq)?;
            let k_weight = Weight { data: keys.clone(), f16: false, k: s.d, n: s.tk, kernel: 1 };
            let v_weight = Weight { data: values.clone(), f16: false, k: s.tk, n: s.d, kernel: 1 };
            // Slices start at binding boundaries: 64 rows of any stride are a multiple of 256 bytes.
            let bytes = (SCORE_BYTES as u64).min(self.gpu().limits.max_storage_buffer_binding_size) as usize;
            let slice = (bytes / 4 / keys.stride / 64 * 64).max(64);
            let mut start = 0;
            while start < s.tq {
                let rows = slice.min(s.tq - start);
                let scores = self.linear(&queries.slice_rows(start, rows), &k_weight, Epilogue::default())?;
                self.softmax(&scores, 1.0 / (s.d as f32).sqrt())?;
                self.linear_into(&scores, &v_weight, Epilogue::default(), &result.slice_rows(start, rows))?;
                start += rows;
            }
            let bytes = (s.tq * result.stride * 4) as u64;
            self.copy(&result, 0, y, n as u64 * bytes, bytes);
        }
        Ok(())
    }
}

/// CPU twin, f64 sums. q: [n tq, heads d], k and v: [n tk, heads d].
pub fn attention_reference(q: &[f32], k: &[f32], v: &[f32], s: Heads) -> Vec<f32> {
    let width = s.heads * s.d;
    let mut y = vec![0f32; s.n * s.tq * width];
    for (n, h) in (0..s.n).flat_map(|n| (0..s.heads).map(move |h| (n, h))) {
        for i in 0..s.tq {
            let query = &q[(n * s.tq + i) * width + h * s.d..][..s.d];
            let seen = if s.causal { i + 1 } else { s.tk };
            let scores: Vec<f64> = (0..seen)
                .map(|j| {
                    let key = &k[(n * s.tk + j) * width + h * s.d..][..s.d];
                    query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / (s.d as f64).sqrt()
                })
                .collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|x| (x - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for e in 0..s.d {
                let value: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(j, w)| w * f64::from(v[(n * s.tk + j) * width + h * s.d + e]))
                    .sum();
                y[(n * s.tq + i) * width + h * s.d + e] = (value / sum) as f32;
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn attention_matches_its_twin() {
        for gpu in devices() {
            for s in [
                Heads { n: 2, heads: 8, d: 4, tq: 117, tk: 117, causal: false },
                Heads { n: 1, heads: 1, d: 3, tq: 5, tk: 7, causal: false },
                Heads { n: 2, heads: 3, d: 10, tq: 33, tk: 77, causal: false },
                Heads { n: 2, heads: 2, d: 40, tq: 65, tk: 64, causal: false },
                Heads { n: 1, heads: 4, d: 24, tq: 77, tk: 77, causal: true },
                Heads { n: 1, heads: 1, d: 160, tq: 9, tk: 9, causal: false },
                Heads { n: 2, heads: 1, d: 182, tq: 70, tk: 70, causal: false },
            ] {
                let width = s.heads * s.d;
                let q: Vec<f32> = random(s.n * s.tq * width, 1).iter().map(|v| v * 3.0).collect();
                let (k, v) = (random(s.n * s.tk * width, 2), random(s.n * s.tk * width, 3));
                let (tq, tk, tv) = (upload(&gpu, &q, width), upload(&gpu, &k, width), upload(&gpu, &v, width));
                let mut rec = Recorder::new(&gpu);
                let operand = |tensor| Operand { tensor, at: 0 };
                let y = rec.attention(operand(&tq), operand(&tk), operand(&tv), s).expect("records");
                let expected = attention_reference(&q, &k, &v, s);
                // exp in f32 carries 1e-7 of its argument, which reaches about 30 here.
                assert!(distance(&run(&gpu, rec, &y), &expected) < 5e-6, "{s:?} {:?}", gpu.tier);
            }
        }
    }

    #[test]
    fn operands_may_share_one_tensor() {
        for gpu in devices() {
            let s = Heads { n: 1, heads: 2, d: 8, tq: 20, tk: 20, causal: false };
            let all = random(20 * 48, 1);
            let part = |at: usize| all.chunks(48).flat_map(|r| r[at..at + 16].to_vec()).collect::<Vec<_>>();
            let tensor = upload(&gpu, &all, 48);
            let mut rec = Recorder::new(&gpu);
            let operand = |at| Operand { tensor: &tensor, at };
            let y = rec.attention(operand(0), operand(16), operand(32), s).expect("records");
            let expected = attention_reference(&part(0), &part(16), &part(32), s);
            assert!(distance(&run(&gpu, rec, &y), &expected) < 5e-6);
        }
    }
}
