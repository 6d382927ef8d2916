//! The error of a step of adaptive size (`shaders/step_error.wgsl`): one number from three latents.

use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// `out[0]` = root mean square of (low - high) / max(atol, rtol max(|low|, |before|)) over all elements; the three have one shape.
    pub fn step_error(
        &mut self,
        [low, high, before]: [&Tensor; 3],
        (atol, rtol): (f32, f32),
        out: &Tensor,
    ) -> Result<(), TensorError> {
        debug_assert!([high, before].iter().all(|t| (t.rows, t.stride) == (low.rows, low.stride)));
        self.launch(Launch {
            shader: "step_error",
            defines: &[],
            // Padding is zero in all three and adds nothing to the sum.
            params: &[atol.to_bits(), rtol.to_bits(), (low.rows * low.stride) as u32, (low.rows * low.cols) as u32],
            reads: &[low, high, before],
            writes: &[out],
            groups: [1, 1, 1],
        })
    }
}

/// CPU twin.
pub fn step_error_reference(low: &[f32], high: &[f32], before: &[f32], (atol, rtol): (f32, f32)) -> f64 {
    let part = |i: usize| {
        let [low, high, before] = [low[i], high[i], before[i]].map(f64::from);
        ((low - high) / f64::from(atol).max(f64::from(rtol) * low.abs().max(before.abs()))).powi(2)
    };
    ((0..low.len()).map(part).sum::<f64>() / low.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn step_error_matches_its_twin() {
        for gpu in &devices() {
            for (rows, cols) in [(1, 1), (7, 3), (131, 5), (257, 4)] {
                let data: Vec<Vec<f32>> = (0..3).map(|i| random(rows * cols, i)).collect();
                let [low, high, before] = [0, 1, 2].map(|i: usize| upload(gpu, &data[i], cols));
                for tolerances in [(0.0078, 0.05), (1e-5, 0.5), (0.3, 0.0)] {
                    let out = Tensor::empty(gpu, "error", 1, 1).expect("small");
                    let mut rec = Recorder::new(gpu);
                    rec.step_error([&low, &high, &before], tolerances, &out).expect("records");
                    let found = f64::from(run(gpu, rec, &out)[0]);
                    let expected = step_error_reference(&data[0], &data[1], &data[2], tolerances);
                    // A sum of about a thousand squares in f32, 256 at a time.
                    assert!((found / expected - 1.0).abs() < 3e-6, "{rows}x{cols}: {found} for {expected}");
                }
            }
        }
    }
}
