//! A factor for every column (`shaders/column_factors.wgsl`): what rescales a layer's inputs from beside it.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// x with column i times `factors[i]`. x: [rows, n], factors: [1, n], result like x.
    ///
    /// # Errors
    /// A result larger than the device allows.
    pub fn column_factors(&mut self, x: &Tensor, factors: &Tensor) -> Result<Tensor, TensorError> {
        debug_assert_eq!(x.stride, factors.stride);
        let y = self.tensor(x.rows, x.cols)?;
        let total = y.rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "column_factors",
            defines: &[],
            params: &[(x.stride / 4) as u32, total as u32, row_groups, 0],
            reads: &[x, factors],
            writes: &[&y],
            groups,
        })?;
        Ok(y)
    }
}

/// CPU twin.
pub fn column_factors_reference(x: &[f32], factors: &[f32]) -> Vec<f32> {
    x.chunks(factors.len()).flat_map(|row| row.iter().zip(factors).map(|(x, f)| x * f)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn columns_match_their_twin() {
        for gpu in devices() {
            for (rows, n) in [(1, 1), (7, 5), (130, 33)] {
                let (x, factors) = (random(rows * n, 1), random(n, 2));
                let mut rec = Recorder::new(&gpu);
                let y = rec.column_factors(&upload(&gpu, &x, n), &upload(&gpu, &factors, n)).expect("records");
                assert_eq!(run(&gpu, rec, &y), column_factors_reference(&x, &factors), "{rows}x{n}");
            }
        }
    }
}
