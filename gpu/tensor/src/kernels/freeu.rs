//! FreeU (Si et al. 2023, arXiv 2309.11497): its Fourier filter, exactly, and factors on columns (`shaders/freeu.wgsl`).

use super::Picture;
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// x, in place: the spectrum of every channel times `factor` at the frequencies 0 and -1 of both axes (diffusers' fourier_filter with threshold 1).
    pub fn low_pass(&mut self, x: &Tensor, size: Picture, factor: f32) -> Result<(), TensorError> {
        self.freeu(x, x.cols, size, true, factor)
    }

    /// x, in place: the first `cols` columns times `factor`.
    pub fn scale_columns(&mut self, x: &Tensor, cols: usize, factor: f32) -> Result<(), TensorError> {
        self.freeu(x, cols, Picture { n: 1, h: x.rows, w: 1 }, false, factor)
    }

    fn freeu(&mut self, x: &Tensor, cols: usize, size: Picture, filter: bool, factor: f32) -> Result<(), TensorError> {
        self.launch(Launch {
            shader: "freeu",
            defines: &[],
            params: &[
                size.h as u32,
                size.w as u32,
                cols as u32,
                x.stride as u32,
                size.n as u32,
                filter.into(),
                factor.to_bits(),
                0,
            ],
            reads: &[],
            writes: &[x],
            groups: [(size.n * cols).div_ceil(64) as u32, 1, 1],
        })
    }
}

/// CPU twin of the filter: the whole transform, the mask, and back. x is [n h w, cols].
pub fn low_pass_reference(x: &[f32], cols: usize, size: Picture, factor: f64) -> Vec<f32> {
    let (n, h, w) = (size.n, size.h, size.w);
    let mut out = x.to_vec();
    let turn = |k: i64, i: usize, len: usize| std::f64::consts::TAU * k as f64 * i as f64 / len as f64;
    // The frequencies at len / 2 - 1 and len / 2 of a shifted spectrum.
    let low = |len: usize| if len > 1 { vec![-1i64, 0] } else { vec![0] };
    for (s, c) in (0..n).flat_map(|s| (0..cols).map(move |c| (s, c))) {
        let at = |i: usize, j: usize| ((s * h + i) * w + j) * cols + c;
        for (k, l) in low(h).into_iter().flat_map(|k| low(w).into_iter().map(move |l| (k, l))) {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
                let phase = turn(k, i, h) + turn(l, j, w);
                re += f64::from(x[at(i, j)]) * phase.cos();
                im -= f64::from(x[at(i, j)]) * phase.sin();
            }
            for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
                let phase = turn(k, i, h) + turn(l, j, w);
                let real = (re * phase.cos() - im * phase.sin()) / (h * w) as f64;
                out[at(i, j)] += ((factor - 1.0) * real) as f32;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn filter_and_factor_match_their_twins() {
        for gpu in devices() {
            for (h, w) in [(8, 8), (7, 5), (1, 6), (2, 1), (3, 2), (1, 1)] {
                let (size, cols) = (Picture { n: 2, h, w }, 67);
                let x = random(size.pixels() * cols, 1);
                let tensor = upload(&gpu, &x, cols);
                let mut rec = Recorder::new(&gpu);
                rec.low_pass(&tensor, size, 0.2).expect("records");
                let expected = low_pass_reference(&x, cols, size, 0.2);
                // cos and sin of the device have an absolute error of 5e-7 or so (WGSL allows 2^-11, which no driver here needs).
                assert!(distance(&run(&gpu, rec, &tensor), &expected) < 5e-6, "{h} x {w}");
                let tensor = upload(&gpu, &x, cols);
                let mut rec = Recorder::new(&gpu);
                rec.scale_columns(&tensor, 33, 1.5).expect("records");
                let expected: Vec<f32> = x
                    .chunks(cols)
                    .flat_map(|r| r.iter().enumerate().map(|(i, v)| if i < 33 { v * 1.5 } else { *v }))
                    .collect();
                assert_eq!(run(&gpu, rec, &tensor), expected);
            }
        }
    }
}
