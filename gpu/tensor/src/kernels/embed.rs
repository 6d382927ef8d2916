//! Token and position embedding (`shaders/embed.wgsl`).

use super::{Weight, grid64};
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// `y[r] = table[token[r]] + position[r mod length]`. tokens: u32 bits in a [1, rows] tensor; table: consecutive pieces of the vocabulary,
    /// rows packed by [`Recorder::pack_rows`] (`k` = rows of the piece, `n` = width); position: [length, width].
    pub fn embed(
        &mut self,
        tokens: &Tensor,
        rows: usize,
        table: &[Weight],
        position: &Tensor,
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(rows, position.cols)?;
        let total = rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        let vocabulary: usize = table.iter().map(|piece| piece.k).sum();
        let mut first = 0;
        for piece in table {
            self.launch(Launch {
                shader: "embed",
                defines: &[("W_F16", piece.f16.into())],
                params: &[
                    rows as u32,
                    position.rows as u32,
                    (y.stride / 4) as u32,
                    vocabulary as u32,
                    total as u32,
                    row_groups,
                    first,
                    piece.k as u32,
                ],
                reads: &[tokens, &piece.data, position],
                writes: &[&y],
                groups,
            })?;
            first += piece.k as u32;
        }
        Ok(y)
    }
}

/// CPU twin. table: [vocabulary, width], position: [length, width].
pub fn embed_reference(tokens: &[u32], table: &[f32], position: &[f32], width: usize) -> Vec<f32> {
    let length = position.len() / width;
    let rows = tokens.iter().enumerate().flat_map(|(r, t)| {
        let (word, place) = (&table[*t as usize * width..][..width], &position[r % length * width..][..width]);
        word.iter().zip(place).map(|(a, b)| a + b).collect::<Vec<_>>()
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;
    use crate::kernels::{Pack, Source};

    #[test]
    fn embedding_matches_its_twin() {
        let gpu = &devices()[0];
        let (vocabulary, width, length) = (50, 6, 7);
        let (table, position) = (round_f16(&random(vocabulary * width, 1)), random(length * width, 2));
        // Tokens of every piece and of its edges.
        let tokens: Vec<u32> = [0, 16, 17, 48, 49, 25].into_iter().chain((0..8).map(|i| i * 7 % 50)).collect();
        for f16 in [false, true] {
            // Whole, and in three uneven pieces.
            for pieces in [vec![vocabulary], vec![17, 32, 1]] {
                let mut rec = Recorder::new(gpu);
                let mut at = 0;
                let mut weights = Vec::new();
                for rows in pieces {
                    let weight = Weight {
                        n: width,
                        k: rows,
                        ..Weight::empty(gpu, "table", &[Pack::linear(width, rows)], f16).expect("small")
                    };
                    let part = Source::f32(gpu, "table", &table[at * width..(at + rows) * width]).expect("small");
                    rec.pack_rows(&part, rows, width, &weight).expect("records");
                    weights.push(weight);
                    at += rows;
                }
                let bits: Vec<f32> = tokens.iter().map(|t| f32::from_bits(*t)).collect();
                let ids = Tensor::upload(gpu, "tokens", &bits, 1, bits.len()).expect("small");
                let y = rec.embed(&ids, 14, &weights, &upload(gpu, &position, width)).expect("records");
                assert_eq!(run(gpu, rec, &y), embed_reference(&tokens, &table, &position, width));
            }
        }
    }
}
