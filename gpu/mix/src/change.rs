//! The forms of change that adapters make to a weight (`admix_files::adapter::Change`), recorded on the device in f32
//! (`shaders/mix/change/`). The CPU twin of all of them is `Change::applied`.

use admix_files::adapter::change::{Axis, Change, Extent, Mixing, Through};
use admix_tensor::{Launch, Recorder, Tensor};

use crate::MixError;
use crate::flat::{Flat, Kind, bits};
use crate::low_rank::{LowRank, add_low_rank};
use crate::methods::linear;

/// Records `acc + strength (W' - W)`: `weight` is W, f32, which the change is computed from; `acc` what has been added up so far.
pub fn add_change(
    rec: &mut Recorder,
    change: &Change,
    weight: &Flat,
    acc: &Flat,
    extent: Extent,
    strength: f64,
) -> Result<Flat, MixError> {
    let (changed, strength) = match change {
        Change::Mixing(m) if m.by_stage && strength != 1.0 => (mixed(rec, &m.blended(strength), weight, extent)?, 1.0),
        other => (whole(rec, other, weight, extent)?, strength),
    };
    let next = Flat::temporary(rec, acc.len, Kind::F32)?;
    linear(rec, 1.0, acc, &[&changed, weight], &[strength, -strength], &next)?;
    Ok(next)
}

/// Records W'.
fn whole(rec: &mut Recorder, change: &Change, w: &Flat, extent: Extent) -> Result<Flat, MixError> {
    let gpu = rec.gpu().clone();
    let out = Flat::temporary(rec, w.len, Kind::F32)?;
    match change {
        Change::LowRank(f) => add_low_rank(rec, w, &[(&LowRank::from(f.clone()), 1.0)], &out)?,
        Change::Hadamard(a, b) => {
            let zeros = Flat::upload_f32(&gpu, "zeros", &vec![0.0; w.len])?;
            let mut products = Vec::new();
            for f in [a, b] {
                let product = Flat::temporary(rec, w.len, Kind::F32)?;
                add_low_rank(rec, &zeros, &[(&LowRank::from(f.clone()), 1.0)], &product)?;
                products.push(product);
            }
            let reads = [&w.data, &products[0].data, &products[1].data];
            each(rec, "mix/change/hadamard", w.len, |row| vec![w.len as u32, row], &reads, &out.data)?;
        }
        Change::Kronecker { first: (a, [_, c]), second: (b, [rows, d]), scale, .. } => {
            let [a, b] = [upload(rec, a)?, upload(rec, b)?];
            let params = |row| vec![*c as u32, *rows as u32, *d as u32, w.len as u32, row, bits(*scale)];
            each(rec, "mix/change/kronecker", w.len, params, &[&w.data, &a, &b], &out.data)?;
        }
        Change::Add { values, scale } => {
            let values = Flat::upload_f32(&gpu, "difference", values)?;
            linear(rec, 1.0, w, &[&values], &[*scale], &out)?;
        }
        Change::Replace(values) => {
            let values = Flat::upload_f32(&gpu, "replacement", values)?;
            linear(rec, 1.0, &values, &[], &[], &out)?;
        }
        Change::Sparse { at, values } => {
            linear(rec, 1.0, w, &[], &[], &out)?;
            if !at.is_empty() {
                let places = upload(rec, bytemuck::cast_slice(at))?;
                let values = upload(rec, values)?;
                each(
                    rec,
                    "mix/change/sparse",
                    at.len(),
                    |row| vec![at.len() as u32, row],
                    &[&places, &values],
                    &out.data,
                )?;
            }
        }
        Change::Scale { rows, columns } => {
            let by_rows = match rows {
                Some(rows) => scaled(rec, w, Axis::Rows, &upload(rec, rows)?, extent)?,
                None => w.clone(),
            };
            return match columns {
                Some(columns) => {
                    let columns = upload(rec, columns)?;
                    scaled(rec, &by_rows, Axis::Columns, &columns, extent)
                }
                None => Ok(by_rows),
            };
        }
        Change::Mixing(mixing) => return mixed(rec, mixing, w, extent),
        Change::Through(through) => return passed_through(rec, through, w, extent),
        Change::Decomposed { inner, magnitude, axis } => {
            let (v, factors) = lengthening(rec, inner, magnitude, *axis, w, extent)?;
            return scaled(rec, &v, *axis, &factors, extent);
        }
        Change::Signs { bits: packed, scale } => {
            let mut words = packed.clone();
            words.resize(packed.len().next_multiple_of(4), 0);
            let words: Vec<f32> = bytemuck::pod_collect_to_vec(&words);
            let words = upload(rec, &words)?;
            let (width, bytes) = (extent.width() as u32, extent.width().div_ceil(8) as u32);
            let params = |row| vec![width, bytes, w.len as u32, row, bits(*scale)];
            each(rec, "mix/change/signs", w.len, params, &[&w.data, &words], &out.data)?;
        }
    }
    Ok(out)
}

/// Records V, W changed by `inner`, and the factors that give its rows or columns their lengths: magnitude / |V|.
pub(crate) fn lengthening(
    rec: &mut Recorder,
    inner: &Change,
    magnitude: &[f32],
    axis: Axis,
    w: &Flat,
    extent: Extent,
) -> Result<(Flat, Tensor), MixError> {
    let v = whole(rec, inner, w, extent)?;
    let [before, n, behind] = axis.split(extent);
    let lengths = upload(rec, magnitude)?;
    let factors = rec.tensor(1, n)?;
    let row = (n as u32).clamp(1, 32_768);
    rec.launch(Launch {
        shader: "mix/change/lengths",
        defines: &[],
        params: &[before as u32, n as u32, behind as u32, row],
        reads: &[&v.data, &lengths],
        writes: &[&factors],
        groups: [row, (n as u32).div_ceil(row), 1],
    })?;
    Ok((v, factors))
}

fn upload(rec: &Recorder, values: &[f32]) -> Result<Tensor, MixError> {
    Ok(Tensor::upload(rec.gpu(), "adapter", values, 1, values.len())?)
}

/// Records a kernel of one thread an element; `params` gets the workgroups of a row.
fn each(
    rec: &mut Recorder,
    shader: &'static str,
    count: usize,
    params: impl Fn(u32) -> Vec<u32>,
    reads: &[&Tensor],
    out: &Tensor,
) -> Result<(), MixError> {
    let workgroups = (count as u32).div_ceil(64);
    let row = workgroups.clamp(1, 32_768);
    let mut params = params(row);
    params.resize(params.len().next_multiple_of(4), 0);
    let groups = [row, workgroups.div_ceil(row), 1];
    rec.launch(Launch { shader, defines: &[], params: &params, reads, writes: &[out], groups })?;
    Ok(())
}

fn scaled(rec: &mut Recorder, x: &Flat, axis: Axis, factors: &Tensor, extent: Extent) -> Result<Flat, MixError> {
    let [_, n, behind] = axis.split(extent);
    let out = Flat::temporary(rec, x.len, Kind::F32)?;
    let params = |row| vec![n as u32, behind as u32, x.len as u32, row];
    each(rec, "mix/change/factors", x.len, params, &[&x.data, factors], &out.data)?;
    Ok(out)
}

fn mixed(rec: &mut Recorder, mixing: &Mixing, w: &Flat, extent: Extent) -> Result<Flat, MixError> {
    let [_, n, behind] = mixing.axis.split(extent);
    let mut current = w.clone();
    for stage in &mixing.stages {
        let out = Flat::temporary(rec, w.len, Kind::F32)?;
        let identity: Vec<u32> = (0..n as u32).collect();
        let order = upload(rec, bytemuck::cast_slice(stage.order.as_ref().unwrap_or(&identity)))?;
        let blocks = upload(rec, &stage.blocks)?;
        let params = |row| vec![n as u32, behind as u32, stage.size as u32, w.len as u32, row];
        each(rec, "mix/change/blocks", w.len, params, &[&current.data, &blocks, &order], &out.data)?;
        current = out;
    }
    match &mixing.rows {
        Some(rows) => {
            let rows = upload(rec, rows)?;
            scaled(rec, &current, Axis::Rows, &rows, extent)
        }
        None => Ok(current),
    }
}

fn passed_through(rec: &mut Recorder, t: &Through, w: &Flat, extent: Extent) -> Result<Flat, MixError> {
    let [before, n, behind] = t.axis.split(extent);
    let product = |rec: &mut Recorder, x: &Flat, m: &[f32], [n, rank]: [usize; 2], add: bool, scale: f64| {
        let count = before * rank * behind;
        let out = Flat::temporary(rec, count, Kind::F32)?;
        let m = upload(rec, m)?;
        let sizes = [n, behind, rank, count].map(|v| v as u32);
        let params = |row| [&sizes[..], &[row, add.into(), bits(scale)]].concat();
        each(rec, "mix/change/product", count, params, &[&x.data, &m, &w.data], &out.data)?;
        Ok::<Flat, MixError>(out)
    };
    let middle = product(rec, w, &t.into, [n, t.rank], false, 1.0)?;
    let back = product(rec, &middle, &t.back, [t.rank, n], true, t.scale)?;
    match &t.plus {
        None => Ok(back),
        Some(f) => {
            let out = Flat::temporary(rec, w.len, Kind::F32)?;
            add_low_rank(rec, &back, &[(&LowRank::from(f.clone()), 1.0)], &out)?;
            Ok(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{devices, random};
    use admix_files::adapter::Factors;
    use admix_files::adapter::change::Stage;

    /// Every form at a shape that is a multiple of nothing.
    fn forms(e: Extent) -> Vec<Change> {
        let low = |rank, seed| {
            let (up, down) = (random(e.rows * rank, seed), random(rank * e.width(), seed + 1));
            Factors::new(up, down, rank, 0.5).expect("sizes fit")
        };
        let stage = |n: usize, size: usize, seed| {
            let order = (0..n).map(|i| ((i * 7 + 3) % n) as u32).collect();
            Stage { size, blocks: random(n * size, seed), order: (!n.is_multiple_of(7)).then_some(order) }
        };
        let mixing = |axis: Axis, sizes: &[usize], by_stage| {
            let n = axis.split(e)[1];
            let stages = sizes.iter().map(|s| stage(n, *s, 40 + *s as u32)).collect();
            Change::Mixing(Mixing { axis, stages, rows: Some(random(e.rows, 31)), by_stage })
        };
        let through = |axis: Axis, plus| {
            let n = axis.split(e)[1];
            let (into, back) = (random(n * 3, 50), random(3 * n, 51));
            Change::Through(Through { axis, rank: 3, into, back, scale: 0.25, plus })
        };
        let packed = random(e.rows * e.width().div_ceil(8), 60).iter().map(|v| (v * 127.0) as i8 as u8).collect();
        vec![
            Change::LowRank(low(3, 1)),
            Change::Hadamard(low(2, 3), low(4, 5)),
            Change::Kronecker {
                first: (random(3 * e.columns, 7), [3, e.columns]),
                second: (random(e.rows / 3 * e.taps, 8), [e.rows / 3, e.taps]),
                scale: 0.7,
                factors: [None, None],
            },
            Change::Add { values: random(e.len(), 9), scale: -0.5 },
            Change::Replace(random(e.len(), 10)),
            Change::Sparse { at: vec![0, 5, e.len() as u32 - 1], values: random(3, 11) },
            Change::Scale { rows: Some(random(e.rows, 12)), columns: Some(random(e.columns, 13)) },
            Change::Scale { rows: None, columns: Some(random(e.columns, 14)) },
            mixing(Axis::Rows, &[3, 1], false),
            mixing(Axis::Rows, &[3], true),
            mixing(Axis::Width, &[e.columns], false),
            through(Axis::Columns, Some(low(2, 15))),
            through(Axis::Width, None),
            Change::Decomposed {
                inner: Box::new(Change::LowRank(low(3, 1))),
                magnitude: random(e.rows, 16),
                axis: Axis::Rows,
            },
            Change::Decomposed {
                inner: Box::new(Change::LowRank(low(3, 1))),
                magnitude: random(e.columns, 17),
                axis: Axis::Columns,
            },
            Change::Signs { bits: packed, scale: 0.3 },
        ]
    }

    #[test]
    fn the_device_agrees_with_the_twin_on_every_form() {
        for e in [
            Extent { rows: 15, columns: 7, taps: 9 },
            Extent { rows: 33, columns: 5, taps: 1 },
            Extent { rows: 9, columns: 1, taps: 1 },
        ] {
            let weight = random(e.len(), 99);
            for change in forms(e) {
                for strength in [1.0, 0.6] {
                    let expected = change.applied(&weight, e, strength);
                    for gpu in devices() {
                        let w = Flat::upload_f32(&gpu, "w", &weight).expect("small");
                        let result = Flat::empty(&gpu, "out", e.len(), Kind::F32).expect("small");
                        let mut rec = Recorder::new(&gpu);
                        let out = add_change(&mut rec, &change, &w, &w, e, strength).expect("records");
                        linear(&mut rec, 1.0, &out, &[], &[], &result).expect("records");
                        rec.finish().submit();
                        let found = pollster::block_on(result.read_f32(&gpu)).expect("reads");
                        // Sums of at most 150 products of numbers below 1, and W' - W + W: some tens of roundings of 6e-8 of the
                        // largest term.
                        let largest = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
                        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                        assert!(worst <= 4e-6 * largest, "{e:?} {change:?} at {strength}: {worst}");
                    }
                }
            }
        }
    }
}
