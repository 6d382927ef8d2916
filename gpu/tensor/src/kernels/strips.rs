//! Pictures larger than one binding: strips of rows, each a tensor of its own. Every operation gives the bits that it would give on the whole
//! picture: convolutions read the neighbouring rows of other strips, statistics go on from strip to strip (`shaders/strip_stats.wgsl`).

use std::ops::Range;

use super::group_norm::Affine;
use super::{Activation, Picture};
use crate::{Launch, Recorder, Tensor, TensorError, Tier, padded};

/// Bytes of a strip at most, where a device binds more: a picture's intermediate results then take little more than the strips themselves.
const STRIP: u64 = 128 << 20;

/// Lines of a picture to be written, and the line on which the source's first one lies (above the picture where it is negative).
pub(super) struct Lines {
    pub rows: Range<usize>,
    pub top: isize,
}

impl Lines {
    /// Pixels of these lines in `n` pictures of width `w`; several pictures are only ever written whole.
    pub fn pixels(&self, n: usize, w: usize) -> usize {
        n * self.rows.len() * w
    }
}

/// A picture [n h w, c] in strips of rows. More than one strip only where n is 1.
#[derive(Clone)]
pub struct Strips {
    /// Size of the whole picture.
    pub size: Picture,
    /// Channels.
    pub cols: usize,
    /// First row, rows, contents: from above to below without gaps. Nothing stands in for strips that were let go.
    parts: Vec<(usize, usize, Option<Tensor>)>,
}

/// Rows of a picture of `size` that a convolution can read at a time from a tensor of `c` channels padded by a pixel all round. Several
/// pictures stay together.
pub fn rows_at_once(rec: &Recorder, size: Picture, c: usize) -> usize {
    let limits = &rec.gpu().limits;
    let bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(STRIP);
    let row = ((size.w + 2) * padded(c) * 4) as u64;
    match size.n {
        1 => ((bytes / row) as usize).saturating_sub(2).clamp(1, size.h),
        _ => size.h,
    }
}

/// The rows of a picture of height `h`, `each` at a time.
pub fn cut(h: usize, each: usize) -> Vec<Range<usize>> {
    (0..h).step_by(each.max(1)).map(|start| start..(start + each).min(h)).collect()
}

impl Strips {
    /// A picture in one piece.
    pub fn whole(size: Picture, x: Tensor) -> Strips {
        Strips { size, cols: x.cols, parts: vec![(0, size.h, Some(x))] }
    }

    /// A picture without contents yet; [`Strips::push`] adds them from above to below.
    pub fn empty(size: Picture, cols: usize) -> Strips {
        Strips { size, cols, parts: Vec::new() }
    }

    /// Adds a strip below the others.
    pub fn push(&mut self, x: Tensor) {
        let top = self.parts.last().map_or(0, |(top, rows, _)| top + rows);
        let rows = x.rows / (self.size.n * self.size.w);
        self.parts.push((top, rows, Some(x)));
    }

    /// The picture where it is in one piece.
    pub fn as_whole(&self) -> Option<&Tensor> {
        match self.parts.as_slice() {
            [(_, _, whole)] => whole.as_ref(),
            _ => None,
        }
    }

    /// Rows of its highest strip.
    pub fn each(&self) -> usize {
        self.parts.first().map_or(0, |(_, rows, _)| *rows)
    }

    /// Lets strips go that end at or above `row`.
    pub fn let_go(&mut self, row: usize) {
        for (top, rows, part) in &mut self.parts {
            if *top + *rows <= row {
                *part = None;
            }
        }
    }

    /// The strips that lines `first..first + count` of the picture enlarged `scale` times come from: each with its rows and the lines it gives,
    /// counted from `first`. Lines outside the picture belong to its first or last strip.
    fn over(&self, scale: usize, first: isize, count: usize) -> Vec<(&Tensor, usize, Lines)> {
        let end = first + count as isize;
        let mut found = Vec::new();
        for (i, (top, rows, part)) in self.parts.iter().enumerate() {
            let [above, below] = [*top, *top + *rows].map(|row| (row * scale) as isize);
            let from = if i == 0 { above.min(first) } else { above.max(first) };
            let to = if i + 1 == self.parts.len() { below.max(end) } else { below.min(end) };
            let (from, to) = (from.max(first), to.min(end));
            if let (Some(part), true) = (part, from < to) {
                let lines = (from - first) as usize..(to - first) as usize;
                found.push((part, *rows, Lines { rows: lines, top: above - first }));
            }
        }
        found
    }
}

impl Recorder {
    /// Lines `first..first + count` of x enlarged `scale` times (nearest), `left` pixels of zeros before each line and as many after it as make
    /// it `width` long. Lines above and below the picture are zeros. Result: [n count width, c].
    pub fn strip_lines(
        &mut self,
        x: &Strips,
        scale: usize,
        first: isize,
        count: usize,
        left: usize,
        width: usize,
    ) -> Result<Tensor, TensorError> {
        let y = self.tensor(x.size.n * count * width, x.cols)?;
        for (part, rows, lines) in x.over(scale, first, count) {
            let size = Picture { h: rows, ..x.size };
            self.place_lines(part, size, (rows * scale, size.w * scale), left, (count, width), lines, &y)?;
        }
        Ok(y)
    }

    /// Rows of x as a tensor of their own, without a copy where they are a strip.
    pub fn strip(&mut self, x: &Strips, rows: Range<usize>) -> Result<Tensor, TensorError> {
        let same = x.parts.iter().find(|(top, count, _)| *top == rows.start && *count == rows.len());
        match same.and_then(|(_, _, part)| part.clone()) {
            Some(part) => Ok(part),
            None => self.strip_lines(x, 1, rows.start as isize, rows.len(), 0, x.size.w),
        }
    }

    /// The picture in one piece. Errors: larger than a binding.
    pub fn join_strips(&mut self, x: &Strips) -> Result<Tensor, TensorError> {
        if let Some(whole) = x.as_whole() {
            return Ok(whole.clone());
        }
        let y = self.tensor(x.size.pixels(), x.cols)?;
        for (top, _, part) in &x.parts {
            if let Some(part) = part {
                self.copy(part, 0, &y, (top * x.size.w * y.stride * 4) as u64, part.bytes());
            }
        }
        Ok(y)
    }

    /// Statistics of every group of x, a single picture, for [`Recorder::strip_norm`].
    pub fn strip_stats(&mut self, x: &Strips, groups: usize, eps: f32) -> Result<Tensor, TensorError> {
        debug_assert!(x.size.n == 1, "several pictures are not cut");
        let lanes = if self.gpu().tier == Tier::Gpu { 256 } else { 8 };
        let (sums, stats) = (self.tensor(1, groups * lanes as usize)?, self.tensor(1, groups * 2)?);
        for square in [0, 1] {
            for (top, rows, part) in &x.parts {
                let Some(part) = part else { continue };
                let [pixels, before, all] = [*rows, *top, x.size.h].map(|r| (r * x.size.w) as u32);
                let per_group = (x.cols / groups) as u32;
                self.launch(Launch {
                    shader: "strip_stats",
                    defines: &[("WG", lanes)],
                    params: &[pixels, before, all, part.stride as u32, groups as u32, per_group, square, eps.to_bits()],
                    reads: &[part],
                    writes: &[&sums, &stats],
                    groups: [groups as u32, 1, 1],
                })?;
            }
        }
        Ok(stats)
    }

    /// activation(group_norm(x)) of some rows and the ones beside them, in a border of zeros: what a 3 x 3 convolution reads to make these rows.
    /// Result: [(rows + 2) (w + 2), c].
    pub fn strip_norm(
        &mut self,
        x: &Strips,
        stats: &Tensor,
        groups: usize,
        gamma: &Tensor,
        beta: &Tensor,
        activation: Activation,
        rows: Range<usize>,
    ) -> Result<Tensor, TensorError> {
        let out = (rows.len() + 2, x.size.w + 2);
        let y = self.tensor(out.0 * out.1, x.cols)?;
        for (part, rows, lines) in x.over(1, rows.start as isize - 1, out.0) {
            let affine = Affine { stats, groups, gamma, beta, activation };
            self.norm_apply(part, Picture { h: rows, ..x.size }, affine, out, 1, lines, &y)?;
        }
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::picture::place_reference;
    use crate::kernels::testing::*;

    const SIZE: Picture = Picture { n: 1, h: 13, w: 9 };
    const C: usize = 12;

    /// The same picture in strips of `each` rows.
    fn strips(gpu: &crate::Gpu, x: &[f32], each: usize) -> Strips {
        let mut all = Strips::empty(SIZE, C);
        for rows in cut(SIZE.h, each) {
            all.push(upload(gpu, &x[rows.start * SIZE.w * C..rows.end * SIZE.w * C], C));
        }
        all
    }

    #[test]
    fn norms_of_strips_have_the_bits_of_the_whole() {
        for gpu in devices() {
            let x: Vec<f32> = random(SIZE.pixels() * C, 1).iter().map(|v| v + 20.0).collect();
            let (gamma, beta) = (upload(&gpu, &random(C, 2), C), upload(&gpu, &random(C, 3), C));
            let mut rec = Recorder::new(&gpu);
            let act = Activation::Silu;
            let y = rec.group_norm(&upload(&gpu, &x, C), SIZE, 4, 1e-6, &gamma, &beta, act, 1).expect("records");
            let expected = run(&gpu, rec, &y);
            for each in [1, 4, 5, 13] {
                let parts = strips(&gpu, &x, each);
                // Other rows at a time than the strips have.
                for rows in cut(SIZE.h, 3) {
                    let mut rec = Recorder::new(&gpu);
                    let stats = rec.strip_stats(&parts, 4, 1e-6).expect("records");
                    let y = rec.strip_norm(&parts, &stats, 4, &gamma, &beta, act, rows.clone()).expect("records");
                    let line = (SIZE.w + 2) * C;
                    let wanted = &expected[rows.start * line..(rows.end + 2) * line];
                    assert!(run(&gpu, rec, &y) == wanted, "{each} rows each, {rows:?}, {:?}", gpu.tier);
                }
            }
        }
    }

    #[test]
    fn lines_of_strips_match_their_twin() {
        let gpu = &devices()[0];
        let x = random(SIZE.pixels() * C, 1);
        for (scale, left, width, each) in [(1, 0, 9, 4), (1, 1, 11, 1), (2, 1, 20, 5), (2, 1, 20, 13), (1, 0, 10, 3)] {
            let parts = strips(gpu, &x, each);
            let mid = (SIZE.h * scale, SIZE.w * scale);
            let expected = place_reference(&x, SIZE, C, mid, 2, left, (mid.0 + 4, width));
            for (first, count) in [(-1isize, 4usize), (3, 5), (mid.0 as isize - 4, 6), (-2, mid.0 + 4)] {
                let mut rec = Recorder::new(gpu);
                let y = rec.strip_lines(&parts, scale, first, count, left, width).expect("records");
                let at = (first + 2) as usize * width * C;
                assert_eq!(run(gpu, rec, &y), expected[at..at + count * width * C], "{scale} {left} {each} {first}");
            }
        }
    }

    #[test]
    fn strips_are_joined_and_let_go() {
        let gpu = &devices()[0];
        let x = random(SIZE.pixels() * C, 1);
        let mut parts = strips(gpu, &x, 4);
        let mut rec = Recorder::new(gpu);
        let y = rec.join_strips(&parts).expect("records");
        let part = rec.strip(&parts, 4..8).expect("records");
        assert_eq!(run(gpu, rec, &y), x);
        assert_eq!(pollster::block_on(part.read(gpu)).expect("reads"), x[4 * SIZE.w * C..8 * SIZE.w * C]);
        parts.let_go(7);
        assert_eq!(parts.parts.iter().filter(|p| p.2.is_some()).count(), 3);
        parts.let_go(8);
        assert_eq!(parts.parts.iter().filter(|p| p.2.is_some()).count(), 2);
    }

    #[test]
    fn rows_fit_a_binding() {
        let mut gpu = pollster::block_on(crate::Gpu::open(&Default::default())).expect("a Vulkan driver");
        std::sync::Arc::get_mut(&mut gpu).expect("alone").limits.max_storage_buffer_binding_size = 128 << 20;
        let rec = Recorder::new(&gpu);
        let rows = rows_at_once(&rec, Picture { n: 1, h: 1024, w: 1024 }, 256);
        assert!((rows + 2) * 1026 * 1024 <= 128 << 20 && (rows + 3) * 1026 * 1024 > 128 << 20);
        assert_eq!(rows_at_once(&rec, Picture { n: 1, h: 64, w: 64 }, 512), 64);
        assert_eq!(cut(10, 4), [0..4, 4..8, 8..10]);
    }
}
