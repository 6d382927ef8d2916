//! Token and position embedding (`shaders/embed.wgsl`).

use super::{Weight, grid64};
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// `y[r] = table[token[r]] + position[r mod length]`. tokens: u32 bits in a [1, rows] tensor; table: rows packed by [`Recorder::pack_rows`]
    /// (`k` = vocabulary, `n` = width); position: [length, width].
    pub fn embed(
        &mut self,
        tokens: &Tensor,
        rows: usize,
        table: &Weight,
        position: &Tensor,
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(rows, table.n)?;
        let total = rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "embed",
            defines: &[("W_F16", table.f16.into())],
            params: &[
                rows as u32,
                position.rows as u32,
                (y.stride / 4) as u32,
                table.k as u32,
                total as u32,
                row_groups,
                0,
                0,
            ],
            reads: &[tokens, &table.data, position],
            writes: &[&y],
            groups,
        })?;
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
        let tokens: Vec<u32> = (0..14).map(|i| i * 3 % 50).collect();
        for f16 in [false, true] {
            let weight = Weight {
                n: width,
                k: vocabulary,
                ..Weight::empty(gpu, "table", &[Pack::linear(width, vocabulary)], f16).expect("small")
            };
            let mut rec = Recorder::new(gpu);
            rec.pack_rows(&Source::f32(gpu, "table", &table).expect("small"), vocabulary, width, &weight)
                .expect("records");
            let bits: Vec<f32> = tokens.iter().map(|t| f32::from_bits(*t)).collect();
            let ids = Tensor::upload(gpu, "tokens", &bits, 1, bits.len()).expect("small");
            let y = rec.embed(&ids, 14, &weight, &upload(gpu, &position, width)).expect("records");
            assert_eq!(run(gpu, rec, &y), embed_reference(&tokens, &table, &position, width));
        }
    }
}
