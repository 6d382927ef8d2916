//! Softmax of rows, in place (`shaders/softmax.wgsl`).

use super::grid;
use crate::{Launch, Recorder, Tensor, TensorError, Tier};

impl Recorder {
    /// x = softmax(scale x) over the columns of every row; padding columns become 0.
    pub fn softmax(&mut self, x: &Tensor, scale: f32) -> Result<(), TensorError> {
        let (groups, row_groups) = grid(x.rows);
        let lanes = if self.gpu().tier == Tier::Gpu { 128 } else { 8 };
        self.launch(Launch {
            shader: "softmax",
            defines: &[("WG", lanes)],
            params: &[x.rows as u32, x.cols as u32, x.stride as u32, scale.to_bits(), row_groups, 0, 0, 0],
            reads: &[],
            writes: &[x],
            groups,
        })
    }
}

/// CPU twin.
pub fn softmax_reference(x: &[f32], cols: usize, scale: f64) -> Vec<f32> {
    let rows = x.chunks(cols).flat_map(|row| {
        let top = row.iter().map(|v| f64::from(*v) * scale).fold(f64::MIN, f64::max);
        let e: Vec<f64> = row.iter().map(|v| (f64::from(*v) * scale - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(move |v| (v / sum) as f32).collect::<Vec<_>>()
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn softmax_matches_its_twin() {
        for gpu in devices() {
            for (rows, cols) in [(1, 1), (5, 131), (40, 64)] {
                let x: Vec<f32> = random(rows * cols, 1).iter().map(|v| v * 20.0).collect();
                let mut rec = Recorder::new(&gpu);
                let y = upload(&gpu, &x, cols);
                rec.softmax(&y, 0.7).expect("records");
                assert!(distance(&run(&gpu, rec, &y), &softmax_reference(&x, cols, 0.7f32.into())) < 3e-6);
            }
        }
    }
}
