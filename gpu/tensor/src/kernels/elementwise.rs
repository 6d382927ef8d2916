//! Small element-wise helpers around the larger kernels.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// value * gelu(gate) of columns interleaved by fours (`shaders/glu_gate.wgsl`). x: [rows, 2 n], y: [rows, n].
    pub(crate) fn glu_gate(&mut self, x: &Tensor, y: &Tensor) -> Result<(), TensorError> {
        let total = y.rows * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "glu_gate",
            defines: &[],
            params: &[(x.stride / 4) as u32, (y.stride / 4) as u32, total as u32, row_groups],
            reads: &[x],
            writes: &[y],
            groups,
        })
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
