//! Rows and columns of tensors seen as matrices: plain f32 copies, windows of whole rows, and inner products along lines
//! (`shaders/mix/line_products.wgsl`).

use admix_tensor::{Gpu, Launch, Recorder, Tensor};

use super::linear;
use crate::MixError;
use crate::flat::{Flat, Kind};

/// model - from, as plain f32.
pub(crate) fn change(rec: &mut Recorder, model: &Flat, from: &Flat) -> Result<Flat, MixError> {
    let out = Flat::temporary(rec, model.len, Kind::F32)?;
    linear(rec, -1.0, from, &[model], &[1.0], &out)?;
    Ok(out)
}

/// `flat` as plain f32; itself where it is.
pub(crate) fn plain(rec: &mut Recorder, flat: &Flat) -> Result<Flat, MixError> {
    if flat.kind == Kind::F32 {
        return Ok(flat.clone());
    }
    let out = Flat::temporary(rec, flat.len, Kind::F32)?;
    linear(rec, 1.0, flat, &[], &[], &out)?;
    Ok(out)
}

/// Rows first..last of a matrix of plain f32, as a binding: bindings start at multiples of 64 elements, `shift` before the first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowWindow {
    /// First row.
    pub first: usize,
    /// Rows.
    pub rows: usize,
    /// First element.
    pub start: usize,
    /// Elements.
    pub elements: usize,
    /// Elements between the binding's start and the first row.
    pub shift: usize,
}

/// Elements that the start of a binding is a multiple of: 256 bytes, WebGPU's least alignment.
const ALIGN: usize = 64;

impl RowWindow {
    /// Rows `first..first + rows` of `cols` elements.
    pub fn new(first: usize, rows: usize, cols: usize) -> RowWindow {
        let start = first * cols;
        RowWindow { first, rows, start, elements: rows * cols, shift: start % ALIGN }
    }

    /// The binding of `flat`, which is plain f32.
    pub fn of(&self, flat: &Flat) -> Tensor {
        debug_assert!(flat.kind == Kind::F32);
        let mut data = flat.data.clone();
        data.offset += (self.start - self.shift) as u64 * 4;
        data.cols = self.shift + self.elements;
        data.stride = data.cols;
        data
    }
}

/// Windows of whole rows that fit the device's bindings.
pub(crate) fn row_windows(gpu: &Gpu, rows: usize, cols: usize) -> Vec<RowWindow> {
    let limit = gpu.limits.max_storage_buffer_binding_size as usize / 4;
    let each = (limit.saturating_sub(ALIGN) / cols.max(1)).max(1);
    (0..rows).step_by(each).map(|first| RowWindow::new(first, each.min(rows - first), cols)).collect()
}

/// Which way lines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    /// A line is a row.
    Rows,
    /// A line is a column.
    Columns,
}

/// Inner products a.b, a.a, b.b of every line of two matrices of plain f32, three numbers a line. Sums run in blocks of 64.
pub(crate) fn line_products(
    rec: &mut Recorder,
    (a, b): (&Flat, &Flat),
    (rows, cols): (usize, usize),
    along: Along,
) -> Result<Tensor, MixError> {
    let lines = if along == Along::Rows { rows } else { cols };
    let sums = rec.tensor(1, 3 * lines.max(1))?;
    for w in row_windows(rec.gpu(), rows, cols) {
        let (count, length, line_step, step) = match along {
            Along::Rows => (w.rows, cols, cols, 1),
            Along::Columns => (cols, w.rows, 1, cols),
        };
        let groups = (count as u32).div_ceil(64);
        let across = groups.clamp(1, 32_768);
        let first = if along == Along::Rows { w.first } else { 0 };
        // Columns run through all windows: those after the first add to what is there.
        let adds = along == Along::Columns && w.first > 0;
        rec.launch(Launch {
            shader: "mix/line_products",
            defines: &[],
            params: &[
                count as u32,
                length as u32,
                line_step as u32,
                step as u32,
                w.shift as u32,
                first as u32,
                adds.into(),
                across,
            ],
            reads: &[&w.of(a), &w.of(b)],
            writes: &[&sums],
            groups: [across, groups.div_ceil(across), 1],
        })?;
    }
    Ok(sums)
}

/// CPU twin of [`line_products`], in f64.
pub(crate) fn line_products_reference(
    (a, b): (&[f32], &[f32]),
    (rows, cols): (usize, usize),
    along: Along,
) -> Vec<[f64; 3]> {
    let mut sums = vec![[0f64; 3]; if along == Along::Rows { rows } else { cols }];
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        let sum = &mut sums[if along == Along::Rows { i / cols } else { i % cols }];
        let (x, y) = (f64::from(*x), f64::from(*y));
        sum[0] += x * y;
        sum[1] += x * x;
        sum[2] += y * y;
    }
    sums
}

/// A shape as rows along its last dimension: (rows, last).
pub(crate) fn by_last(shape: &[usize]) -> (usize, usize) {
    let last = shape.last().copied().unwrap_or(1);
    (shape.iter().product::<usize>().checked_div(last).unwrap_or(0), last)
}

/// A shape as rows along its first dimension: (first, rest).
pub(crate) fn by_first(shape: &[usize]) -> (usize, usize) {
    let first = shape.first().copied().unwrap_or(1);
    (first, shape.iter().skip(1).product())
}
