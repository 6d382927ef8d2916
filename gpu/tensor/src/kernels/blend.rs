//! Blending by a mask (`shaders/blend.wgsl`): inpainting with a model that knows nothing of masks.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// x = mask x + (1 - mask) (b kept + c noise), element-wise; all four have one shape, and x is none of the others.
    pub fn blend(
        &mut self,
        x: &Tensor,
        mask: &Tensor,
        (kept, b): (&Tensor, f32),
        (noise, c): (&Tensor, f32),
    ) -> Result<(), TensorError> {
        debug_assert!([mask, kept, noise].iter().all(|t| (t.rows, t.stride) == (x.rows, x.stride)));
        let total = x.rows * x.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "blend",
            defines: &[],
            params: &[b.to_bits(), c.to_bits(), total as u32, row_groups],
            reads: &[mask, kept, noise],
            writes: &[x],
            groups,
        })
    }
}

/// CPU twin.
pub fn blend_reference(x: &[f32], mask: &[f32], kept: &[f32], b: f32, noise: &[f32], c: f32) -> Vec<f32> {
    let one = |i: usize| {
        let [x, m, k, n] = [x[i], mask[i], kept[i], noise[i]].map(f64::from);
        (m * x + (1.0 - m) * (f64::from(b) * k + f64::from(c) * n)) as f32
    };
    (0..x.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn blend_matches_its_twin() {
        for gpu in &devices() {
            for (rows, cols) in [(1, 1), (7, 3), (131, 5), (257, 4)] {
                let data: Vec<Vec<f32>> = (0..4).map(|i| random(rows * cols, i)).collect();
                let [x, mask, kept, noise] = [0, 1, 2, 3].map(|i: usize| upload(gpu, &data[i], cols));
                let mut rec = Recorder::new(gpu);
                rec.blend(&x, &mask, (&kept, 0.7), (&noise, -1.3)).expect("records");
                let expected = blend_reference(&data[0], &data[1], &data[2], 0.7, &data[3], -1.3);
                // Sums of three products of numbers of about 1.
                assert!(distance(&run(gpu, rec, &x), &expected) < 5e-7, "{rows}x{cols}");
            }
        }
    }
}
