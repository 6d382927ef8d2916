//! Gaussian blur of NHWC pictures with reflected borders (`shaders/blur.wgsl`): torchvision's gaussian blur, one axis after the other.

use super::attention::Operand;
use super::{Picture, grid64};
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// Columns `x.at..x.at + cols` of a picture, blurred by a Gaussian of `sigma` cells whose kernel reaches `reach` cells each way, or as far as
    /// the picture allows. No sigma: the mean of every sample in all its cells.
    pub fn blur(
        &mut self,
        x: Operand<'_>,
        cols: usize,
        size: Picture,
        sigma: Option<f64>,
        reach: usize,
    ) -> Result<Tensor, TensorError> {
        let Some(sigma) = sigma else { return self.blur_axis(x, cols, size, 2, 0, 1.0) };
        // The references cut the kernel to the longest odd number of cells that one reflection can fill.
        let within = |edge: usize| reach.min(edge / 2);
        let rows = self.blur_axis(x, cols, size, 0, within(size.h), sigma)?;
        self.blur_axis(Operand { tensor: &rows, at: 0 }, cols, size, 1, within(size.w), sigma)
    }

    fn blur_axis(
        &mut self,
        x: Operand<'_>,
        cols: usize,
        size: Picture,
        axis: u32,
        reach: usize,
        sigma: f64,
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(size.pixels(), cols)?;
        let total = y.rows * y.stride;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "blur",
            defines: &[],
            params: &[
                size.h as u32,
                size.w as u32,
                cols as u32,
                x.tensor.stride as u32,
                y.stride as u32,
                x.at as u32,
                axis,
                reach as u32,
                ((1.0 / sigma) as f32).to_bits(),
                total as u32,
                row_groups,
                0,
            ],
            reads: &[x.tensor],
            writes: &[&y],
            groups,
        })?;
        Ok(y)
    }
}

/// CPU twin: x is [n h w, cols].
pub fn blur_reference(x: &[f32], cols: usize, size: Picture, sigma: Option<f64>, reach: usize) -> Vec<f32> {
    let (n, h, w) = (size.n, size.h, size.w);
    let at = |x: &[f64], s: usize, i: usize, j: usize, c: usize| x[((s * h + i) * w + j) * cols + c];
    let mut now: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let each = |f: &dyn Fn(usize, usize, usize, usize) -> f64| {
        let mut out = Vec::with_capacity(n * h * w * cols);
        for s in 0..n {
            for i in 0..h {
                for j in 0..w {
                    out.extend((0..cols).map(|c| f(s, i, j, c)));
                }
            }
        }
        out
    };
    let Some(sigma) = sigma else {
        let mean = |s: usize, c: usize| (0..h * w).map(|k| at(&now, s, k / w, k % w, c)).sum::<f64>() / (h * w) as f64;
        return each(&|s, _, _, c| mean(s, c)).into_iter().map(|v| v as f32).collect();
    };
    for axis in 0..2 {
        let edge = [h, w][axis];
        let reach = reach.min(edge / 2) as i64;
        let mirror = |v: i64| {
            let v = v.abs();
            (if v >= edge as i64 { 2 * (edge as i64 - 1) - v } else { v }) as usize
        };
        let weight = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
        let total: f64 = (-reach..=reach).map(weight).sum();
        let blurred = each(&|s, i, j, c| {
            let value = |k: i64| match axis {
                0 => at(&now, s, mirror(i as i64 + k), j, c),
                _ => at(&now, s, i, mirror(j as i64 + k), c),
            };
            (-reach..=reach).map(|k| weight(k) * value(k)).sum::<f64>() / total
        });
        now = blurred;
    }
    now.into_iter().map(|v| v as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn blur_matches_its_twin() {
        for gpu in devices() {
            for (h, w, sigma, reach) in [
                (7, 5, Some(1.0), 4),
                (1, 9, Some(2.5), 8),
                (8, 8, Some(100.0), 300),
                (6, 3, None, 0),
                (3, 4, Some(0.5), 2),
            ] {
                let (size, cols, all) = (Picture { n: 2, h, w }, 3, 8);
                let x = random(size.pixels() * all, 1);
                let tensor = upload(&gpu, &x, all);
                let part: Vec<f32> = x.chunks(all).flat_map(|r| r[4..4 + cols].to_vec()).collect();
                let mut rec = Recorder::new(&gpu);
                let y = rec.blur(Operand { tensor: &tensor, at: 4 }, cols, size, sigma, reach).expect("records");
                let expected = blur_reference(&part, cols, size, sigma, reach);
                assert!(distance(&run(&gpu, rec, &y), &expected) < 2e-6, "{h} x {w} {sigma:?}");
            }
        }
    }
}
