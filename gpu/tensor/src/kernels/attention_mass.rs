//! How much attention each token gets (`shaders/attention_mass.wgsl`): what self-attention guidance looks at.

use super::attention::Heads;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// Softmax weights of self-attention, summed over queries and averaged over heads: [n tokens, 1]. `qkv` holds queries from column 0 and keys from
    /// column `keys` on.
    pub fn attention_mass(&mut self, qkv: &Tensor, keys: usize, s: Heads) -> Result<Tensor, TensorError> {
        let stats = self.tensor(1, s.n * s.heads * s.tq * 2)?;
        let mass = self.tensor(s.n * s.tq, 1)?;
        let params = |total: usize| {
            [
                s.tq as u32,
                s.heads as u32,
                s.d as u32,
                qkv.stride as u32,
                0,
                keys as u32,
                (1.0 / (s.d as f32).sqrt()).to_bits(),
                total as u32,
            ]
        };
        for (first, total) in [(1, s.n * s.heads * s.tq), (0, s.n * s.tq)] {
            let reads: &[&Tensor] = if first == 1 { &[qkv] } else { &[qkv, &stats] };
            let groups = [total.div_ceil(64) as u32, 1, 1];
            let writes = [if first == 1 { &stats } else { &mass }];
            self.launch(Launch {
                shader: "attention_mass",
                defines: &[("STATS", first)],
                params: &params(total),
                reads,
                writes: &writes,
                groups,
            })?;
        }
        Ok(mass)
    }

    /// x + mask (blurred - clean), with mask 1 where `mass` (a map of `coarse` cells, enlarged by the nearest) is above 1. All latents [n h w, c].
    pub fn degrade(
        &mut self,
        (x, clean, blurred): (&Tensor, &Tensor, &Tensor),
        (mass, mass_row): (&Tensor, usize),
        size: super::Picture,
        coarse: super::Picture,
        dst: &Tensor,
    ) -> Result<(), TensorError> {
        let total = dst.rows * dst.stride;
        let (groups, row_groups) = super::grid64(total);
        let [h, w, ch, cw] = [size.h, size.w, coarse.h, coarse.w].map(|v| v as u32);
        self.launch(Launch {
            shader: "degrade",
            defines: &[],
            params: &[h, w, ch, cw, dst.stride as u32, (mass_row * mass.stride) as u32, total as u32, row_groups],
            reads: &[x, clean, blurred, mass],
            writes: &[dst],
            groups,
        })
    }
}

/// CPU twin of the mass: q and k are [n tokens, heads d].
pub fn attention_mass_reference(q: &[f32], k: &[f32], s: Heads) -> Vec<f32> {
    let width = s.heads * s.d;
    let mut mass = vec![0f64; s.n * s.tq];
    for (n, h) in (0..s.n).flat_map(|n| (0..s.heads).map(move |h| (n, h))) {
        let row = |x: &[f32], i: usize| x[(n * s.tq + i) * width + h * s.d..][..s.d].to_vec();
        for i in 0..s.tq {
            let query = row(q, i);
            let scores: Vec<f64> = (0..s.tq)
                .map(|j| {
                    row(k, j).iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                        / (s.d as f64).sqrt()
                })
                .collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|v| (v - top).exp()).sum();
            for (j, v) in scores.iter().enumerate() {
                mass[n * s.tq + j] += (v - top).exp() / sum / s.heads as f64;
            }
        }
    }
    mass.into_iter().map(|v| v as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Picture;
    use crate::kernels::testing::*;

    #[test]
    fn mass_matches_its_twin() {
        for gpu in devices() {
            for (heads, d, t) in [(1, 3, 7), (3, 8, 33), (2, 10, 64)] {
                let s = Heads { n: 2, heads, d, tq: t, tk: t, causal: false };
                let (width, all) = (heads * d, 3 * (heads * d).next_multiple_of(4));
                let qkv: Vec<f32> = random(2 * t * all, 1).iter().map(|v| v * 2.0).collect();
                let keys = width.next_multiple_of(4);
                let part = |at: usize| qkv.chunks(all).flat_map(|r| r[at..at + width].to_vec()).collect::<Vec<f32>>();
                let mut rec = Recorder::new(&gpu);
                let y = rec.attention_mass(&upload(&gpu, &qkv, all), keys, s).expect("records");
                let expected = attention_mass_reference(&part(0), &part(keys), s);
                assert!(distance(&run(&gpu, rec, &y), &expected) < 3e-6, "{s:?}");
            }
        }
    }

    #[test]
    fn degrading_keeps_what_is_not_looked_at() {
        let gpu = &devices()[0];
        let (size, coarse) = (Picture { n: 2, h: 5, w: 6 }, Picture { n: 2, h: 2, w: 3 });
        let [x, clean, blurred] = [1, 2, 3].map(|seed| random(size.pixels() * 3, seed));
        let mass: Vec<f32> = random(coarse.pixels(), 4).iter().map(|v| 1.0 + v).collect();
        let [tx, tc, tb] = [&x, &clean, &blurred].map(|v| upload(gpu, v, 3));
        let y = Tensor::empty(gpu, "y", size.pixels(), 3).expect("small");
        let mut rec = Recorder::new(gpu);
        rec.degrade((&tx, &tc, &tb), (&upload(gpu, &mass, 1), 0), size, coarse, &y).expect("records");
        let found = run(gpu, rec, &y);
        for (at, found) in found.iter().enumerate() {
            let cell = at / 3;
            let (s, i, j) = (cell / 30, cell / 6 % 5, cell % 6);
            let seen = mass[(s * 2 + i * 2 / 5) * 3 + j * 3 / 6] > 1.0;
            let expected = if seen { x[at] + blurred[at] - clean[at] } else { x[at] };
            assert!((found - expected).abs() < 1e-6);
        }
    }
}
