//! Banks of un-merged adapters, gathered from pages (`shaders/adapter_bank.wgsl`).
//!
//! Factors of adapters that are kept on the device lie in pages of one size, anywhere in a slab (S-LoRA's unified paging, Sheng et al. 2023,
//! arXiv 2311.03285). What runs beside a layer is gathered into two matrices, all ranks of all adapters side by side, so that one pair of products
//! serves any number of adapters of any ranks. A weight is inside the second matrix.

use super::{Weight, grid64};
use crate::{Launch, Recorder, Tensor, TensorError, padded};

/// Words of a page.
pub const PAGE: usize = 1024;

/// A factor in pages: `lines` lines of `len` words, one a rank.
#[derive(Clone, Copy)]
pub struct Paged<'a> {
    /// The pages.
    pub slab: &'a Tensor,
    /// Numbers of pages in the slab, as the bits of its elements.
    pub table: &'a Tensor,
    /// The factor's first entry of the table.
    pub at: usize,
    /// Lines.
    pub lines: usize,
    /// Words of a line.
    pub len: usize,
}

impl Paged<'_> {
    /// Pages that a factor takes.
    pub fn pages(lines: usize, len: usize) -> usize {
        (lines * len).div_ceil(PAGE)
    }
}

impl Recorder {
    /// Gathers the lines of a `down` factor (taps and inputs as [`super::pack`] orders them) into columns `first..` of `target`.
    pub fn bank_down(&mut self, factor: Paged<'_>, first: usize, target: &Weight) -> Result<(), TensorError> {
        self.bank(factor, [first, 0], 1.0, target, false)
    }

    /// Gathers the lines of an `up` factor, times `scale`, into rows `first..` of `target`, from column `column` on; the rest of those rows
    /// becomes zero.
    pub fn bank_up(
        &mut self,
        factor: Paged<'_>,
        [first, column]: [usize; 2],
        scale: f32,
        target: &Weight,
    ) -> Result<(), TensorError> {
        self.bank(factor, [first, column], scale, target, true)
    }

    fn bank(
        &mut self,
        factor: Paged<'_>,
        [first, column]: [usize; 2],
        scale: f32,
        target: &Weight,
        up: bool,
    ) -> Result<(), TensorError> {
        debug_assert!(!target.f16 && first.is_multiple_of(4));
        let (lines, ld) = (padded(factor.lines), padded(target.n));
        let total = lines * if up { ld } else { factor.len };
        let (groups, row_groups) = grid64(total);
        let words = [factor.at, factor.len, factor.lines, first, ld, column, lines, total].map(|v| v as u32);
        let mut params = words.to_vec();
        params.extend([scale.to_bits(), row_groups, 0, 0]);
        self.launch(Launch {
            shader: "adapter_bank",
            defines: &[("UP", up.into()), ("PAGE", PAGE as u32)],
            params: &params,
            reads: &[factor.slab, factor.table],
            writes: &[&target.data],
            groups,
        })
    }
}

/// CPU twin: what `target` (rows of `ld` words) holds afterwards. `lines` are the factor's.
pub fn bank_reference(
    target: &mut [f32],
    ld: usize,
    lines: &[Vec<f32>],
    [first, column]: [usize; 2],
    scale: f32,
    up: bool,
) {
    for at in 0..padded(lines.len()) {
        let len = lines.first().map_or(0, Vec::len);
        let value = |i: usize| lines.get(at).map_or(0.0, |line| line[i]);
        if up {
            let row = &mut target[(first + at) * ld..][..ld];
            row.fill(0.0);
            (0..len).for_each(|i| row[column + i] = scale * value(i));
        } else {
            (0..len).for_each(|i| target[i * ld + first + at] = value(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Pack;
    use crate::kernels::testing::*;

    /// Factors of several ranks in scattered pages, down and up, beside others that stay as they are.
    #[test]
    fn banks_match_their_twin() {
        for gpu in &devices() {
            for (rank, len, first, column, ranks, n) in
                [(1, 4, 0, 0, 4, 4), (3, 700, 4, 8, 12, 720), (8, 1024, 8, 0, 16, 1024), (5, 2052, 4, 4, 12, 2064)]
            {
                let lines: Vec<Vec<f32>> = (0..rank).map(|r| random(len, r as u64)).collect();
                let words: Vec<f32> = lines.concat();
                let count = Paged::pages(rank, len);
                // Pages from the last to the first, every other one, behind two entries of something else.
                let numbers: Vec<u32> = (0..count as u32).rev().map(|i| 2 * i + 1).collect();
                let mut slab = random((2 * count + 1) * PAGE, 77);
                for (page, chunk) in numbers.iter().zip(words.chunks(PAGE)) {
                    slab[*page as usize * PAGE..][..chunk.len()].copy_from_slice(chunk);
                }
                let mut table = vec![0u32; 2];
                table.extend(&numbers);
                let table: Vec<f32> = table.into_iter().map(f32::from_bits).collect();
                let (slab, table) = (upload(gpu, &slab, slab.len()), upload(gpu, &table, table.len()));
                let factor = Paged { slab: &slab, table: &table, at: 2, lines: rank, len };
                for up in [false, true] {
                    let pack = if up { Pack::linear(n, ranks) } else { Pack::linear(ranks, len) };
                    let target = Weight::empty(gpu, "bank", &[pack], false).expect("small");
                    let size = target.data.cols;
                    let mut expected = random(size, 5);
                    target.data.write(gpu, &expected);
                    let mut rec = Recorder::new(gpu);
                    if up {
                        rec.bank_up(factor, [first, column], -0.5, &target).expect("records");
                        bank_reference(&mut expected, n, &lines, [first, column], -0.5, true);
                    } else {
                        rec.bank_down(factor, first, &target).expect("records");
                        bank_reference(&mut expected, ranks, &lines, [first, 0], 1.0, false);
                    }
                    assert_eq!(run(gpu, rec, &target.data), expected, "rank {rank} of {len}, up {up}");
                }
            }
        }
    }
}
