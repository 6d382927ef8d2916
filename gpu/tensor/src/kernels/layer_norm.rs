//! Layer normalisation of rows (`shaders/layer_norm.wgsl`).

use super::grid;
use crate::{Launch, Recorder, Tensor, TensorError, Tier};

impl Recorder {
    /// Normalises every row of x [rows, c] over its columns; gamma, beta: [1, c].
    pub fn layer_norm(&mut self, x: &Tensor, eps: f32, gamma: &Tensor, beta: &Tensor) -> Result<Tensor, TensorError> {
        let y = self.tensor(x.rows, x.cols)?;
        let shared = self.gpu().tier == Tier::Gpu;
        let (groups, row_groups) = grid(if shared { x.rows } else { x.rows.div_ceil(8) });
        self.launch(Launch {
            shader: "layer_norm",
            defines: &[("SHARED", shared.into())],
            params: &[x.rows as u32, x.cols as u32, x.stride as u32, eps.to_bits(), row_groups],
            reads: &[x, gamma, beta],
            writes: &[&y],
            groups,
        })?;
        Ok(y)
    }
}

/// CPU twin, f64 statistics.
pub fn layer_norm_reference(x: &[f32], c: usize, eps: f64, gamma: &[f32], beta: &[f32]) -> Vec<f32> {
    let rows = x.chunks(c).flat_map(|row| {
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / c as f64;
        let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / c as f64;
        let rstd = 1.0 / (variance + eps).sqrt();
        row.iter()
            .zip(gamma)
            .zip(beta)
            .map(move |((v, g), b)| ((f64::from(*v) - mean) * rstd * f64::from(*g) + f64::from(*b)) as f32)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn layer_norm_matches_its_twin() {
        for gpu in devices() {
            for (rows, c) in [(1, 4), (77, 33), (9, 130)] {
                let (x, gamma, beta) = (random(rows * c, 1), random(c, 2), random(c, 3));
                let mut rec = Recorder::new(&gpu);
                let y = rec
                    .layer_norm(&upload(&gpu, &x, c), 1e-5, &upload(&gpu, &gamma, c), &upload(&gpu, &beta, c))
                    .expect("records");
                let expected = layer_norm_reference(&x, c, 1e-5, &gamma, &beta);
                assert!(distance(&run(&gpu, rec, &y), &expected) < 1e-6, "{rows}x{c} {:?}", gpu.tier);
            }
        }
    }
}
