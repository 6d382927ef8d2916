//! Rounding to multiples of a power of two (`shaders/snap.wgsl`): steps that can be undone exactly.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// x = the nearest multiple of 2^-`bits` (ties to even), element-wise. Below 2^(24 - bits) sums and differences of such numbers are exact.
    pub fn snap(&mut self, x: &Tensor, bits: i32) -> Result<(), TensorError> {
        let total = x.rows * x.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "snap",
            defines: &[],
            params: &[2f32.powi(-bits).to_bits(), 2f32.powi(bits).to_bits(), total as u32, row_groups],
            reads: &[],
            writes: &[x],
            groups,
        })
    }
}

/// CPU twin.
pub fn snap_reference(x: &[f32], bits: i32) -> Vec<f32> {
    x.iter().map(|v| (v * 2f32.powi(bits)).round_ties_even() * 2f32.powi(-bits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn snap_matches_its_twin() {
        for gpu in &devices() {
            for (rows, cols) in [(1, 1), (7, 3), (131, 5), (257, 4)] {
                let data: Vec<f32> = random(rows * cols, 1).iter().map(|v| v * 40.0).collect();
                let x = upload(gpu, &data, cols);
                let mut rec = Recorder::new(gpu);
                rec.snap(&x, 18).expect("records");
                let found = run(gpu, rec, &x);
                // Every operation is exact but the rounding itself, of which there is one.
                assert_eq!(found, snap_reference(&data, 18), "{rows}x{cols}");
                assert!(found.iter().zip(&data).all(|(a, b)| (a - b).abs() <= 2f32.powi(-19)));
            }
        }
    }
}
