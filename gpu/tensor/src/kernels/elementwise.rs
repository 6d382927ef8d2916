//! Small element-wise helpers around the larger kernels.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// value * gelu(gate) of columns interleaved by fours (`shaders/glu_gate.wgsl`). x: [rows, 2 n], result [rows, n].
    pub fn geglu_gate(&mut self, x: &Tensor) -> Result<Tensor, TensorError> {
        let y = self.tensor(x.rows, x.cols / 2)?;
        let total = y.rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "glu_gate",
            defines: &[],
            params: &[(x.stride / 4) as u32, (y.stride / 4) as u32, total as u32, row_groups],
            reads: &[x],
            writes: &[&y],
            groups,
        })?;
        Ok(y)
    }

    /// 3 tanh(x / 3), element-wise (`shaders/soft_clamp.wgsl`).
    pub fn soft_clamp(&mut self, x: &Tensor) -> Result<Tensor, TensorError> {
        let y = self.tensor(x.rows, x.cols)?;
        let total = y.rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "soft_clamp",
            defines: &[],
            params: &[total as u32, row_groups, 0, 0],
            reads: &[x],
            writes: &[&y],
            groups,
        })?;
        Ok(y)
    }

    /// Copies `rows` rows and `y.cols` columns of x (from row `row`, column `at`) into y, zeroing y's padding (`shaders/columns.wgsl`).
    pub fn copy_columns(
        &mut self,
        x: &Tensor,
        row: usize,
        at: usize,
        y: &Tensor,
        rows: usize,
    ) -> Result<(), TensorError> {
        let total = y.rows * y.stride;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "columns",
            defines: &[("IN_PLACE", 0)],
            params: &[
                (row * x.stride + at) as u32,
                x.stride as u32,
                y.stride as u32,
                y.cols as u32,
                rows as u32,
                total as u32,
                row_groups,
                0,
            ],
            reads: &[x],
            writes: &[y],
            groups,
        })
    }

    /// Zeroes the padding columns of y in place: kernels that store single elements leave them as they were.
    pub(crate) fn zero_padding(&mut self, y: &Tensor) -> Result<(), TensorError> {
        let total = y.rows * y.stride;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "columns",
            defines: &[("IN_PLACE", 1)],
            params: &[0, 0, y.stride as u32, y.cols as u32, 0, total as u32, row_groups, 0],
            reads: &[],
            writes: &[y],
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn soft_clamp_and_columns_match_their_twins() {
        let gpu = &devices()[0];
        let x: Vec<f32> = random(5 * 7, 1).iter().map(|v| v * 100.0).collect();
        let source = upload(gpu, &x, 7);
        let mut rec = Recorder::new(gpu);
        let y = rec.soft_clamp(&source).expect("records");
        let expected: Vec<f32> = x.iter().map(|v| (3.0 * (f64::from(*v) / 3.0).tanh()) as f32).collect();
        assert!(distance(&run(gpu, rec, &y), &expected) < 1e-6);

        let mut rec = Recorder::new(gpu);
        let y = rec.tensor(4, 3).expect("small");
        rec.copy_columns(&source, 1, 2, &y, 3).expect("records");
        let mut expected: Vec<f32> = x.chunks(7).skip(1).take(3).flat_map(|r| r[2..5].to_vec()).collect();
        expected.extend([0.0; 3]);
        assert_eq!(run(gpu, rec, &y), expected);
    }
}
