//! Packing: from a checkpoint's layout to the layout the products read (`shaders/pack.wgsl`).

use super::{Weight, grid64};
use crate::{Gpu, Launch, Recorder, Tensor, TensorError, padded};

/// Weights in checkpoint layout on the device: a flat run of elements.
#[derive(Clone, Debug)]
pub struct Source {
    /// The elements: one row; with `f16` two to each 32-bit word.
    pub data: Tensor,
    /// Holds f16 pairs.
    pub f16: bool,
}

impl Source {
    /// Rows `start..start + rows` of a matrix of `cols` columns: a view whose `start` is a multiple of [`Source::ROWS`].
    pub fn rows(&self, start: usize, rows: usize, cols: usize) -> Source {
        let size = if self.f16 { 2 } else { 4 };
        let mut data = self.data.clone();
        data.offset += (start * cols * size) as u64;
        debug_assert!(data.offset.is_multiple_of(256), "views start at a binding boundary");
        data.cols = (rows * cols * size).div_ceil(4);
        data.stride = padded(data.cols);
        Source { data, f16: self.f16 }
    }

    /// Rows of any width that end on a multiple of 256 bytes, in f16 too.
    pub const ROWS: usize = 128;

    /// Uploads f32 elements.
    pub fn f32(gpu: &Gpu, what: &str, data: &[f32]) -> Result<Source, TensorError> {
        Ok(Source { data: Tensor::upload(gpu, what, data, 1, data.len())?, f16: false })
    }

    /// Uploads little-endian f16 bytes as they lie in the file.
    pub fn f16(gpu: &Gpu, what: &str, bytes: &[u8]) -> Result<Source, TensorError> {
        let words = bytes.len().div_ceil(4);
        let data = Tensor::empty(gpu, what, 1, words)?;
        let mut padded_bytes = bytes.to_vec();
        padded_bytes.resize(words * 4, 0);
        gpu.queue.write_buffer(data.buffer(), 0, &padded_bytes);
        Ok(Source { data, f16: true })
    }
}

/// What to pack.
#[derive(Clone, Copy, Debug)]
pub struct Pack {
    /// Output features.
    pub out: usize,
    /// Input features.
    pub inp: usize,
    /// Kernel edge (1 for linear layers).
    pub kernel: usize,
    /// Interleave values and gates (see [`Recorder::geglu`]).
    pub glu: bool,
}

impl Pack {
    /// A linear layer [out, inp].
    pub fn linear(out: usize, inp: usize) -> Pack {
        Pack { out, inp, kernel: 1, glu: false }
    }

    /// Columns of the packed matrix.
    pub fn columns(&self) -> usize {
        if self.glu { 2 * padded(self.out / 2) } else { self.out }
    }

    /// Rows of the packed matrix.
    pub fn rows(&self) -> usize {
        self.kernel * self.kernel * padded(self.inp)
    }
}

impl Weight {
    /// An empty packed weight wide enough for `matrices` side by side (each starts at a multiple of four columns).
    pub fn empty(gpu: &Gpu, what: &str, matrices: &[Pack], f16: bool) -> Result<Weight, TensorError> {
        let (n, words) = Self::extent(matrices, f16);
        let (data, first) = (Tensor::empty(gpu, what, 1, words)?, matrices[0]);
        Ok(Weight { data, f16, k: first.inp, n, kernel: first.kernel })
    }

    /// As [`Weight::empty`] without the memory: knows its sizes, must not be used in a recording. `stand_in` is any tensor.
    pub fn planned(stand_in: &Tensor, matrices: &[Pack], f16: bool) -> Weight {
        let ((n, words), first) = (Self::extent(matrices, f16), matrices[0]);
        let data = Tensor::from_buffer(stand_in.buffer().clone(), 1, words);
        Weight { data, f16, k: first.inp, n, kernel: first.kernel }
    }

    /// Columns, and 32-bit words in all. A row of f16 pairs is half as wide; strides must stay multiples of 4 words, so the matrix is kept as
    /// one long row.
    fn extent(matrices: &[Pack], f16: bool) -> (usize, usize) {
        let first = matrices[0];
        let n: usize =
            if matrices.len() == 1 { first.columns() } else { matrices.iter().map(|m| padded(m.columns())).sum() };
        (n, first.rows() * if f16 { padded(n) / 2 } else { padded(n) })
    }
}

impl Recorder {
    /// Packs `source` ([out, inp, kernel, kernel]) into `target` at column `column` (a multiple of 4).
    pub fn pack(&mut self, source: &Source, pack: Pack, target: &Weight, column: usize) -> Result<(), TensorError> {
        let cols4 = padded(pack.columns()) / 4;
        let threads = pack.rows() * cols4;
        let (groups, row_groups) = grid64(threads);
        self.launch(Launch {
            shader: "pack",
            defines: &[("SRC_F16", source.f16.into()), ("DST_F16", target.f16.into())],
            params: &[
                pack.out as u32,
                pack.inp as u32,
                (pack.kernel * pack.kernel) as u32,
                padded(pack.inp) as u32,
                (padded(target.n) / 4) as u32,
                (column / 4) as u32,
                cols4 as u32,
                pack.glu.into(),
                pack.rows() as u32,
                row_groups,
                0,
                0,
            ],
            reads: &[&source.data],
            writes: &[&target.data],
            groups,
        })
    }

    /// Copies a matrix [rows, cols] of `source` into the row layout of activations (rows padded to fours): tables and positions.
    /// With `target.f16` the rows hold f16 pairs.
    pub fn pack_rows(&mut self, source: &Source, rows: usize, cols: usize, target: &Weight) -> Result<(), TensorError> {
        let cols4 = padded(cols) / 4;
        let (groups, row_groups) = grid64(rows * cols4);
        self.launch(Launch {
            shader: "pack_rows",
            defines: &[("SRC_F16", source.f16.into()), ("DST_F16", target.f16.into())],
            params: &[rows as u32, cols as u32, cols4 as u32, row_groups],
            reads: &[&source.data],
            writes: &[&target.data],
            groups,
        })
    }
}

/// CPU twin of [`Recorder::pack`]: f32 in, packed f32 out (`rows` x `padded(columns)`).
pub fn pack_reference(source: &[f32], pack: Pack) -> Vec<f32> {
    let (width, taps) = (padded(pack.columns()), pack.kernel * pack.kernel);
    let mut out = vec![0f32; pack.rows() * width];
    let half = pack.out / 2;
    for column in 0..width {
        let feature = if pack.glu {
            let value = column / 8 * 4 + column % 4;
            if value >= half { continue } else { value + if column % 8 >= 4 { half } else { 0 } }
        } else {
            column
        };
        if feature >= pack.out {
            continue;
        }
        for (tap, i) in (0..taps).flat_map(|t| (0..pack.inp).map(move |i| (t, i))) {
            out[(tap * padded(pack.inp) + i) * width + column] = source[(feature * pack.inp + i) * taps + tap];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn packing_matches_its_twin() {
        let gpu = &devices()[0];
        for pack in [
            Pack::linear(5, 7),
            Pack { out: 6, inp: 3, kernel: 3, glu: false },
            Pack { glu: true, ..Pack::linear(10, 4) },
            Pack { glu: true, ..Pack::linear(16, 9) },
        ] {
            let data = round_f16(&random(pack.out * pack.inp * pack.kernel * pack.kernel, 5));
            let weight = packed(gpu, &data, pack, false);
            let found = pollster::block_on(weight.data.read(gpu)).expect("reads");
            assert_eq!(found, pack_reference(&data, pack), "{pack:?}");
            let halves = packed(gpu, &data, pack, true);
            let words = pollster::block_on(halves.data.read(gpu)).expect("reads");
            let found: Vec<f32> = words
                .iter()
                .flat_map(|w| {
                    let bits = w.to_bits();
                    [half::f16::from_bits(bits as u16).to_f32(), half::f16::from_bits((bits >> 16) as u16).to_f32()]
                })
                .collect();
            assert_eq!(found, pack_reference(&data, pack), "f16 {pack:?}");
        }
    }
}
