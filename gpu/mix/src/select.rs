//! The k largest or smallest magnitudes of a tensor, on the device, without sorting and without reading data back
//! (`shaders/mix/select_count.wgsl`, `select_step.wgsl`).
//!
//! A radix selection: histograms of |value|'s bits, digit by digit from the top, find the k-th magnitude exactly.
//! Tie rule: of equal magnitudes those with lower element numbers are taken first (a stable sort's order); more histograms, over the
//! element numbers of the equal ones, find the last number taken, and count nothing when all equals are taken.

use admix_tensor::{Launch, Recorder, Tensor, Tier};

use crate::MixError;
use crate::flat::Pass;

/// One selection: the first `rank` elements in the order of magnitudes.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Which model's change from the origin is ranked.
    pub model: u32,
    /// How many elements; 0 none, [`Selection::ALL`] all.
    pub rank: u32,
    /// From the largest down, else from the smallest up.
    pub descending: bool,
}

impl Selection {
    /// Rank that takes every element.
    pub const ALL: u32 = u32::MAX;
    /// The `rank` largest changes of `model` out of `len`.
    pub fn largest(model: usize, rank: usize, len: usize) -> Selection {
        let rank = if rank >= len { Self::ALL } else { rank as u32 };
        Selection { model: model as u32, rank, descending: true }
    }
    /// The `rank` smallest changes of `model` out of `len`.
    pub fn smallest(model: usize, rank: usize, len: usize) -> Selection {
        Selection { descending: false, ..Self::largest(model, rank, len) }
    }
}

/// Lanes of a gathering pass over `len` elements.
pub(crate) fn gather_lanes(rec: &Recorder, len: usize) -> u32 {
    let most = if rec.gpu().tier == Tier::Cpu { 1024 } else { 16_384 };
    (len.div_ceil(8).next_multiple_of(64) as u32).clamp(64, most)
}

/// A digit of the keys: of the magnitude's 31 bits, or of the element number.
struct Digit {
    number: bool,
    shift: u32,
    bits: u32,
}

const fn digit(number: bool, shift: u32, bits: u32) -> Digit {
    Digit { number, shift, bits }
}

/// 2,048 bins; element numbers below 2^21.
const SMALL: [Digit; 5] =
    [digit(false, 20, 11), digit(false, 10, 10), digit(false, 0, 10), digit(true, 10, 11), digit(true, 0, 10)];
/// 65,536 bins; element numbers below 2^31.
const LARGE: [Digit; 4] = [digit(false, 15, 16), digit(false, 0, 15), digit(true, 16, 15), digit(true, 0, 16)];

/// Records the selections over the inputs of `values` (its shader is replaced); gives the state buffer that passes read:
/// eight words a selection, word 1 the threshold's bits, word 5 the last element number taken among equals.
pub fn select(rec: &mut Recorder, values: &Pass<'_>, selections: &[Selection]) -> Result<Tensor, MixError> {
    let count = selections.len() as u32;
    // Few wide digits read large tensors less often; small tensors would spend their time on empty bins.
    let small = values.base.len <= 1 << 20;
    let (bins_each, digits): (u32, &[Digit]) = if small { (2048, &SMALL) } else { (65_536, &LARGE) };
    let state = rec.tensor(1, 8 * selections.len())?;
    let bins = rec.tensor(1, bins_each as usize * selections.len())?;
    let coarse = rec.tensor(1, 256 * selections.len())?;
    let mut ranks = [0u32; 16];
    let (mut targets, mut descending) = (0u32, 0u32);
    for (i, s) in selections.iter().enumerate() {
        ranks[i] = s.rank;
        targets |= s.model << (4 * i);
        descending |= u32::from(s.descending) << i;
    }
    let step = |rec: &mut Recorder, step: u32, digit: &Digit, lanes: u32| {
        let mut params = vec![count, descending, 0, 0];
        params.extend(ranks);
        rec.launch(Launch {
            shader: "mix/select_step",
            defines: &[
                ("STEP", step),
                ("BINS", bins_each),
                ("BITS", digit.bits),
                ("NUMBER", digit.number.into()),
                ("LAST", u32::from(digit.shift == 0)),
            ],
            params: &params,
            reads: &[],
            writes: &[&state, &bins, &coarse],
            groups: [lanes.div_ceil(64), 1, 1],
        })
    };
    step(rec, 0, &digits[0], count)?;
    let lanes = gather_lanes(rec, values.base.len);
    let extra = [&state];
    for (at, digit) in digits.iter().enumerate() {
        step(rec, 3, &digits[0], bins_each / 4 * count)?;
        let mut pass = Pass::new("mix/select_count", values.base, values.models);
        pass.origin = values.origin;
        pass.defines = values.defines.clone();
        pass.defines.extend([
            ("NUMBER", digit.number.into()),
            ("BITS", digit.bits),
            ("SHIFT", digit.shift),
            ("FIRST", u32::from(at == 0)),
            ("BINS", bins_each),
            ("SELECTS", count),
            ("TARGETS", targets),
        ]);
        pass.extra = &extra;
        pass.gather(rec, lanes, &[&bins])?;
        step(rec, 1, &digits[0], bins_each / 256 * count)?;
        step(rec, 2, digit, count)?;
    }
    Ok(state)
}

/// CPU twin: which elements are among the first `rank`.
pub fn select_reference(values: &[f32], selection: Selection) -> Vec<bool> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let key = |i: &usize| values[*i].abs();
    if selection.descending {
        order.sort_by(|a, b| key(b).total_cmp(&key(a)));
    } else {
        order.sort_by(|a, b| key(a).total_cmp(&key(b)));
    }
    let mut taken = vec![false; values.len()];
    for i in order.into_iter().take(selection.rank as usize) {
        taken[i] = true;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::{Flat, Kind};
    use crate::testing::{devices, random};

    /// Both digit widths find the same threshold and the same last equal element as a stable sort, with few and with many equal magnitudes.
    #[test]
    fn selections_follow_the_tie_rule() {
        for gpu in devices() {
            for (len, levels) in [(1000, 3.0), (1000, 1e6), ((1 << 20) + 77, 5.0), ((1 << 20) + 77, 1e6)] {
                let values: Vec<f32> = random(len, 5).into_iter().map(|v| (v * levels).round() / 8.0).collect();
                let base = Flat::upload_f32(&gpu, "zero", &vec![0.0; len]).expect("small");
                let model = Flat::upload_f32(&gpu, "values", &values).expect("small");
                debug_assert_eq!(model.kind, Kind::F32);
                let models = [&model];
                let mut pass = Pass::new("", &base, &models);
                pass.defines.push(("VARIANCE", 0));
                let rank = len / 3;
                let wanted = [Selection::largest(0, rank, len), Selection::smallest(0, rank, len)];
                let mut rec = Recorder::new(&gpu);
                let state = select(&mut rec, &pass, &wanted).expect("records");
                rec.finish().submit();
                let state: Vec<u32> =
                    pollster::block_on(state.read(&gpu)).expect("reads").iter().map(|v| v.to_bits()).collect();
                for (s, selection) in wanted.into_iter().enumerate() {
                    let taken = select_reference(&values, selection);
                    let (threshold, last) = (f32::from_bits(state[8 * s + 1]), state[8 * s + 5] as usize);
                    for (i, v) in values.iter().enumerate() {
                        let v = v.abs();
                        let beyond = if selection.descending { v > threshold } else { v < threshold };
                        assert_eq!(beyond || (v == threshold && i <= last), taken[i], "{i} of {len}, {levels} levels");
                    }
                }
            }
        }
    }
}
