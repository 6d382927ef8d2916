//! Borders and nearest upsampling of NHWC pictures (`shaders/picture.wgsl`).

use super::strips::Lines;
use super::{Picture, grid64};
use crate::{Launch, Recorder, Tensor, TensorError};

impl Recorder {
    /// Nearest-neighbour resize to `mid` (rows, columns; source pixel = floor(i * in / mid), as torch), then a zero border of `top`, `left`,
    /// and enough below and right to make `out` (rows, columns).
    pub fn place(
        &mut self,
        x: &Tensor,
        size: Picture,
        mid: (usize, usize),
        top: usize,
        left: usize,
        out: (usize, usize),
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(size.n * out.0 * out.1, x.cols)?;
        let lines = Lines { rows: 0..out.0, top: top as isize };
        self.place_lines(x, size, mid, left, out, lines, &y)?;
        Ok(y)
    }

    /// [`Recorder::place`] into some lines of y.
    pub(super) fn place_lines(
        &mut self,
        x: &Tensor,
        size: Picture,
        mid: (usize, usize),
        left: usize,
        out: (usize, usize),
        lines: Lines,
        y: &Tensor,
    ) -> Result<(), TensorError> {
        let total = lines.pixels(size.n, out.1) * y.stride / 4;
        let (groups, row_groups) = grid64(total);
        self.launch(Launch {
            shader: "picture",
            defines: &[],
            params: &[
                size.h as u32,
                size.w as u32,
                mid.0 as u32,
                mid.1 as u32,
                out.1 as u32,
                (out.0 * out.1) as u32,
                lines.top as u32,
                left as u32,
                (x.stride / 4) as u32,
                total as u32,
                row_groups,
                (lines.rows.start * out.1) as u32,
            ],
            reads: &[x],
            writes: &[y],
            groups,
        })
    }

    /// A zero border of one pixel all round.
    pub fn pad1(&mut self, x: &Tensor, size: Picture) -> Result<Tensor, TensorError> {
        self.place(x, size, (size.h, size.w), 1, 1, (size.h + 2, size.w + 2))
    }
}

/// CPU twin of [`Recorder::place`]. x: NHWC with c channels.
pub fn place_reference(
    x: &[f32],
    size: Picture,
    c: usize,
    mid: (usize, usize),
    top: usize,
    left: usize,
    out: (usize, usize),
) -> Vec<f32> {
    let mut y = vec![0f32; size.n * out.0 * out.1 * c];
    for n in 0..size.n {
        for (my, mx) in (0..mid.0).flat_map(|a| (0..mid.1).map(move |b| (a, b))) {
            let from = ((n * size.h + my * size.h / mid.0) * size.w + mx * size.w / mid.1) * c;
            let to = ((n * out.0 + my + top) * out.1 + mx + left) * c;
            y[to..to + c].copy_from_slice(&x[from..from + c]);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn placing_matches_its_twin() {
        let gpu = &devices()[0];
        let size = Picture { n: 2, h: 5, w: 3 };
        for (mid, top, left, out) in [((5, 3), 1, 1, (7, 5)), ((10, 6), 1, 1, (12, 8)), ((9, 5), 0, 0, (10, 6))] {
            let x = random(size.pixels() * 6, 1);
            let mut rec = Recorder::new(gpu);
            let y = rec.place(&upload(gpu, &x, 6), size, mid, top, left, out).expect("records");
            assert_eq!(run(gpu, rec, &y), place_reference(&x, size, 6, mid, top, left, out));
        }
    }
}
