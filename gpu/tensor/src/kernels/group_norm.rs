//! Group normalisation with a fused activation (`shaders/norm_stats.wgsl`, `shaders/norm_apply.wgsl`).

use super::strips::Lines;
use super::{Activation, Picture, grid64};
use crate::{Launch, Recorder, Tensor, TensorError, Tier};

impl Recorder {
    /// `activation(group_norm(x))`, statistics in f32 over (h, w, channels of the group). x: [n h w, c]; gamma, beta: [1, c].
    /// With `border` 1 the result is a zero-padded picture [n (h+2) (w+2), c] for [`Recorder::conv3x3`], with 0 it is [n h w, c].
    pub fn group_norm(
        &mut self,
        x: &Tensor,
        size: Picture,
        groups: usize,
        eps: f32,
        gamma: &Tensor,
        beta: &Tensor,
        activation: Activation,
        border: usize,
    ) -> Result<Tensor, TensorError> {
        let per_group = x.cols / groups;
        debug_assert_eq!(per_group * groups, x.cols, "groups divide the channels");
        let stats = self.tensor(1, size.n * groups * 2)?;
        let lanes = if self.gpu().tier == Tier::Gpu { 256 } else { 8 };
        self.launch(Launch {
            shader: "norm_stats",
            defines: &[("WG", lanes)],
            params: &[(size.h * size.w) as u32, x.stride as u32, groups as u32, per_group as u32, eps.to_bits()],
            reads: &[x],
            writes: &[&stats],
            groups: [(size.n * groups) as u32, 1, 1],
        })?;
        let (oh, ow) = (size.h + 2 * border, size.w + 2 * border);
        let y = self.tensor(size.n * oh * ow, x.cols)?;
        let affine = Affine { stats: &stats, groups, gamma, beta, activation };
        let lines = Lines { rows: 0..oh, top: border as isize };
        self.norm_apply(x, size, affine, (oh, ow), border, lines, &y)?;
        Ok(y)
    }

    /// The second half of [`Recorder::group_norm`]: the given lines of y, pictures of `out` (rows, columns).
    pub(super) fn norm_apply(
        &mut self,
        x: &Tensor,
        size: Picture,
        a: Affine<'_>,
        (oh, ow): (usize, usize),
        left: usize,
        lines: Lines,
        y: &Tensor,
    ) -> Result<(), TensorError> {
        let total = lines.pixels(size.n, ow) * y.stride / 4;
        let (grid, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "norm_apply",
            defines: &[],
            params: &[
                size.h as u32,
                size.w as u32,
                ow as u32,
                (oh * ow) as u32,
                (x.stride / 4) as u32,
                x.cols as u32,
                a.groups as u32,
                (x.cols / a.groups) as u32,
                left as u32,
                a.activation as u32,
                total as u32,
                row_groups,
                lines.top as u32,
                (lines.rows.start * ow) as u32,
            ],
            reads: &[x, a.stats, a.gamma, a.beta],
            writes: &[y],
            groups: grid,
        })
    }
}

/// What is applied once the statistics are known.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    /// Mean and 1/deviation of every (sample, group).
    pub stats: &'a Tensor,
    pub groups: usize,
    /// [1, c].
    pub gamma: &'a Tensor,
    /// [1, c].
    pub beta: &'a Tensor,
    pub activation: Activation,
}

/// CPU twin, f64 statistics. x: NHWC, result NHWC without border.
pub fn group_norm_reference(
    x: &[f32],
    size: Picture,
    c: usize,
    groups: usize,
    eps: f64,
    gamma: &[f32],
    beta: &[f32],
) -> Vec<f32> {
    let (hw, per) = (size.h * size.w, c / groups);
    let mut y = x.to_vec();
    for (n, g) in (0..size.n).flat_map(|n| (0..groups).map(move |g| (n, g))) {
        let at = |i: usize, k: usize| (n * hw + i) * c + g * per + k;
        let values: Vec<f64> =
            (0..hw).flat_map(|i| (0..per).map(move |k| (i, k))).map(|(i, k)| f64::from(x[at(i, k)])).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        for (i, k) in (0..hw).flat_map(|i| (0..per).map(move |k| (i, k))) {
            let channel = g * per + k;
            let v = (f64::from(x[at(i, k)]) - mean) / (variance + eps).sqrt();
            y[at(i, k)] = (v * f64::from(gamma[channel]) + f64::from(beta[channel])) as f32;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn group_norm_matches_its_twin() {
        for gpu in devices() {
            for (size, c, groups) in [
                (Picture { n: 2, h: 3, w: 5 }, 6, 3),
                (Picture { n: 1, h: 1, w: 1 }, 8, 2),
                (Picture { n: 2, h: 9, w: 13 }, 48, 16),
                (Picture { n: 1, h: 33, w: 17 }, 32, 32),
            ] {
                // A large mean would cost a one-pass variance its digits.
                let x: Vec<f32> = random(size.pixels() * c, 1).iter().map(|v| v + 20.0).collect();
                let (gamma, beta) = (random(c, 2), random(c, 3));
                let (g, b) = (upload(&gpu, &gamma, c), upload(&gpu, &beta, c));
                for border in [0, 1] {
                    let mut rec = Recorder::new(&gpu);
                    let y = rec
                        .group_norm(&upload(&gpu, &x, c), size, groups, 1e-5, &g, &b, Activation::Silu, border)
                        .expect("records");
                    let plain: Vec<f32> = group_norm_reference(&x, size, c, groups, 1e-5, &gamma, &beta)
                        .iter()
                        .map(|v| Activation::Silu.apply(*v))
                        .collect();
                    let out = (size.h + 2 * border, size.w + 2 * border);
                    let expected = crate::kernels::picture::place_reference(
                        &plain,
                        size,
                        c,
                        (size.h, size.w),
                        border,
                        border,
                        out,
                    );
                    // Values of 20 +- 1 keep 2^-19 of a unit in f32: errors near 2e-6 after normalising are the input's own.
                    assert!(distance(&run(&gpu, rec, &y), &expected) < 1e-5, "{size:?} {c}/{groups} {:?}", gpu.tier);
                }
            }
        }
    }
}
