//! Concatenation of columns (`shaders/concat.wgsl`).

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// Columns of a, then columns of b. a: [rows, ca], b: [rows, cb], result [rows, ca + cb].
    pub fn concat(&mut self, a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
        debug_assert_eq!(a.rows, b.rows);
        let c = self.tensor(a.rows, a.cols + b.cols)?;
        let total = c.rows * c.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "concat",
            defines: &[],
            params: &[
                a.cols as u32,
                b.cols as u32,
                a.stride as u32,
                b.stride as u32,
                (c.stride / 4) as u32,
                total as u32,
                row_groups,
                0,
            ],
            reads: &[a, b],
            writes: &[&c],
            groups,
        })?;
        Ok(c)
    }
}

/// CPU twin.
pub fn concat_reference(a: &[f32], b: &[f32], ca: usize, cb: usize) -> Vec<f32> {
    a.chunks(ca).zip(b.chunks(cb)).flat_map(|(x, y)| x.iter().chain(y).copied().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn concat_matches_its_twin() {
        let gpu = &devices()[0];
        for (ca, cb) in [(4, 8), (3, 6), (1, 1)] {
            let (a, b) = (random(7 * ca, 1), random(7 * cb, 2));
            let mut rec = Recorder::new(gpu);
            let y = rec.concat(&upload(gpu, &a, ca), &upload(gpu, &b, cb)).expect("records");
            assert_eq!(run(gpu, rec, &y), concat_reference(&a, &b, ca, cb));
        }
    }
}
