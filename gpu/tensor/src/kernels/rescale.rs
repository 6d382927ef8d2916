//! CFG rescale (`shaders/rescale.wgsl`): Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), section 3.4.

use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// g *= phi std(cond) / std(g) + 1 - phi per sample, in place. g: [n rows, c]; cond: as many rows from row `cond_row` of a tensor on.
    pub fn cfg_rescale(
        &mut self,
        g: &Tensor,
        cond: &Tensor,
        cond_row: usize,
        n: usize,
        phi: f32,
    ) -> Result<(), TensorError> {
        let rows = g.rows / n;
        self.launch(Launch {
            shader: "rescale",
            defines: &[],
            params: &[
                (rows * g.stride) as u32,
                g.cols as u32,
                g.stride as u32,
                rows as u32,
                (cond_row * cond.stride) as u32,
                phi.to_bits(),
                0,
                0,
            ],
            reads: &[cond],
            writes: &[g],
            groups: [n as u32, 1, 1],
        })
    }
}

/// CPU twin for one sample.
pub fn rescale_reference(g: &[f32], cond: &[f32], phi: f64) -> Vec<f32> {
    let std = |x: &[f32]| {
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / x.len() as f64;
        (x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
    };
    let factor = phi * std(cond) / std(g) + 1.0 - phi;
    g.iter().map(|v| (f64::from(*v) * factor) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn rescale_matches_its_twin() {
        let gpu = &devices()[0];
        let (g, cond) = (random(2 * 9 * 3, 1), random(2 * 9 * 3, 2));
        let target = upload(gpu, &g.iter().map(|v| v * 4.0).collect::<Vec<_>>(), 3);
        let mut rec = Recorder::new(gpu);
        rec.cfg_rescale(&target, &upload(gpu, &cond, 3), 0, 2, 0.7).expect("records");
        let found = run(gpu, rec, &target);
        for n in 0..2 {
            let part = |x: &[f32], f: f32| x[n * 27..][..27].iter().map(|v| v * f).collect::<Vec<_>>();
            assert!(
                distance(&found[n * 27..][..27], &rescale_reference(&part(&g, 4.0), &part(&cond, 1.0), 0.7)) < 1e-6
            );
        }
    }
}
