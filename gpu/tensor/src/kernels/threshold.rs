//! Dynamic thresholding of latents (`shaders/threshold.wgsl`), after Saharia et al. 2022 (Imagen), section 2.3, channel by channel.

use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// x, in place: every channel of each of `n` samples, less its mean, goes from its own scale to that of `like`. With a percentile it is clamped
    /// there and scaled to the largest magnitude of `like`; without, the standard deviations are matched. Both [n rows, c].
    pub fn threshold(
        &mut self,
        x: &Tensor,
        like: &Tensor,
        n: usize,
        percentile: Option<f64>,
    ) -> Result<(), TensorError> {
        let rows = x.rows / n;
        // torch.quantile: linear between the magnitudes of two ranks.
        let at = percentile.unwrap_or(0.0) * (rows - 1) as f64;
        self.launch(Launch {
            shader: "threshold",
            defines: &[],
            params: &[
                rows as u32,
                x.cols as u32,
                x.stride as u32,
                percentile.is_none().into(),
                at.floor() as u32,
                (at.fract() as f32).to_bits(),
                0,
                0,
            ],
            reads: &[like],
            writes: &[x],
            groups: [(n * x.cols) as u32, 1, 1],
        })
    }
}

/// CPU twin for one channel of one sample.
pub fn threshold_reference(x: &[f32], like: &[f32], percentile: Option<f64>) -> Vec<f32> {
    let centred = |x: &[f32]| {
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / x.len() as f64;
        (x.iter().map(|v| f64::from(*v) - mean).collect::<Vec<_>>(), mean)
    };
    let ((x, mean), (like, _)) = (centred(x), centred(like));
    let (top, factor) = match percentile {
        None => {
            let square = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
            (f64::MAX, (square(&like) / square(&x)).sqrt())
        }
        Some(p) => {
            let mut sorted: Vec<f64> = x.iter().map(|v| v.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            let at = p * (x.len() - 1) as f64;
            let (low, next) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            let high = like.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            let top = (low + (next - low) * at.fract()).max(high);
            (top, high / top)
        }
    };
    x.iter().map(|v| (v.clamp(-top, top) * factor + mean) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn thresholds_match_their_twin() {
        for gpu in devices() {
            for (rows, percentile) in
                [(131, Some(0.9)), (131, Some(0.5)), (64, Some(1.0)), (7, Some(0.99)), (200, None), (300, Some(0.999))]
            {
                let (n, c) = (2, 3);
                let x: Vec<f32> = random(n * rows * c, 1).iter().map(|v| v * v * v * 9.0 + 0.5).collect();
                let like: Vec<f32> = random(n * rows * c, 2).iter().map(|v| v * 0.7 - 0.2).collect();
                let (tx, tl) = (upload(&gpu, &x, c), upload(&gpu, &like, c));
                let mut rec = Recorder::new(&gpu);
                rec.threshold(&tx, &tl, n, percentile).expect("records");
                let found = run(&gpu, rec, &tx);
                let channel =
                    |x: &[f32], s: usize, k: usize| (0..rows).map(|i| x[(s * rows + i) * c + k]).collect::<Vec<_>>();
                for (s, k) in (0..n).flat_map(|s| (0..c).map(move |k| (s, k))) {
                    let expected = threshold_reference(&channel(&x, s, k), &channel(&like, s, k), percentile);
                    assert!(distance(&channel(&found, s, k), &expected) < 2e-6, "{rows} {percentile:?}");
                }
            }
        }
    }
}
