//! Transposition of a block of columns (`shaders/transpose.wgsl`).

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// `y[c][r]` = x element (r, c) of a `rows` x `cols` block that starts `x_at` elements into x. y: [cols, rows], padding zeroed.
    pub fn transpose(
        &mut self,
        x: &Tensor,
        x_at: usize,
        rows: usize,
        cols: usize,
        y: &Tensor,
    ) -> Result<(), TensorError> {
        let total = y.rows * y.stride;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "transpose",
            defines: &[],
            params: &[
                rows as u32,
                cols as u32,
                x.stride as u32,
                y.stride as u32,
                x_at as u32,
                total as u32,
                row_groups,
                0,
            ],
            reads: &[x],
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
    fn transposition_moves_every_element() {
        let gpu = &devices()[0];
        let x = random(7 * 10, 1);
        let source = upload(gpu, &x, 10); // stride 12: rows are padded
        let mut rec = Recorder::new(gpu);
        let y = rec.tensor(5, 7).expect("small");
        rec.transpose(&source, 3, 7, 5, &y).expect("records");
        let expected: Vec<f32> =
            (0..5).flat_map(|c| (0..7).map(move |r| (r, c))).map(|(r, c)| x[r * 10 + 3 + c]).collect();
        assert_eq!(run(gpu, rec, &y), expected);
    }
}
