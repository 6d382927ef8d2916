//! The k largest or smallest magnitudes of a tensor, on the device, without sorting and without reading data back
//! (`shaders/mix/select_count.wgsl`, `select_walk.wgsl`, `select_step.wgsl`).
//!
//! A radix selection: histograms of |value|'s bits, digit by digit from the top, find the k-th magnitude exactly.
//! Tie rule: of equal magnitudes those with lower element numbers are taken first (a stable sort's order); more histograms, over the
//! element numbers of the equal ones, find the last number taken, and count nothing when all equals are taken.
//!
//! Histograms of everything are slow; large tensors are looked at once instead, with a bracket around the threshold that a sample gives
//! ([`bracket`]). The full search is recorded behind it and finds everything settled, unless the sample was unlucky.

mod bracket;

use admix_tensor::{Launch, Recorder, Tensor, TensorError, Tier};

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

/// Whether it matters which of several elements with the value 0 are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// The tie rule holds for them too.
    Exact,
    /// It does not: a change of 0 adds nothing, kept or dropped. A selection whose threshold is 0 may take all of them. The padding of the
    /// inputs must hold equal values, as uploaded ones do: it counts as unchanged.
    Free,
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

/// What the parts of a search share.
struct Search<'a> {
    /// Selections.
    count: u32,
    /// Their ranks.
    ranks: [u32; 16],
    /// A bit each.
    descending: u32,
    /// Four bits each: the model.
    targets: u32,
    /// Bins of a selection's histogram.
    bins_each: u32,
    state: &'a Tensor,
    bins: &'a Tensor,
}

/// Lanes that walk through a selection's histogram.
const WALKERS: u32 = 256;

impl Search<'_> {
    /// Step 0 of `mix/select_step` writes the state and empties the bins, step 1 empties them, step 2 sums them by 256 into `coarse`.
    fn step(&self, rec: &mut Recorder, step: u32, coarse: &Tensor) -> Result<(), TensorError> {
        let each = if step == 2 { 256 } else { 4 };
        let mut params = vec![self.count, self.descending, 0, 0];
        params.extend(self.ranks);
        rec.launch(Launch {
            shader: "mix/select_step",
            defines: &[("STEP", step), ("BINS", self.bins_each)],
            params: &params,
            reads: &[],
            writes: &[self.state, self.bins, coarse],
            groups: [(self.bins_each / each * self.count).div_ceil(64), 1, 1],
        })
    }

    /// From a digit's histogram to the bin wanted; the bins are empty afterwards.
    fn walk(&self, rec: &mut Recorder, digit: &Digit) -> Result<(), TensorError> {
        rec.launch(Launch {
            shader: "mix/select_walk",
            defines: &[
                ("WG", WALKERS),
                ("BINS", self.bins_each),
                ("BITS", digit.bits),
                ("NUMBER", digit.number.into()),
                ("LAST", u32::from(digit.shift == 0)),
            ],
            params: &[0; 4],
            reads: &[],
            writes: &[self.state, self.bins],
            groups: [self.count, 1, 1],
        })
    }
}

/// Records the selections over the inputs of `values` (its shader is replaced); gives the state buffer that passes read:
/// eight words a selection, word 1 the threshold's bits, word 5 the last element number taken among equals.
pub fn select(
    rec: &mut Recorder,
    values: &Pass<'_>,
    selections: &[Selection],
    zeros: Zeros,
) -> Result<Tensor, MixError> {
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
    let search = Search { count, ranks, descending, targets, bins_each, state: &state, bins: &bins };
    search.step(rec, 0, &coarse)?;
    if values.base.len >= bracket::LEAST {
        bracket::search(rec, values, &search, &coarse, zeros)?;
    }
    let lanes = gather_lanes(rec, values.base.len);
    let extra = [&state];
    for (at, digit) in digits.iter().enumerate() {
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
        search.walk(rec, digit)?;
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
    use crate::testing::{devices, devices_binding, random};

    /// Threshold and last equal element of each selection, as the device finds them.
    fn found(
        gpu: &std::sync::Arc<admix_tensor::Gpu>,
        values: &[f32],
        wanted: &[Selection],
        zeros: Zeros,
    ) -> Vec<(f32, usize)> {
        let base = Flat::upload_f32(gpu, "zero", &vec![0.0; values.len()]).expect("small");
        let model = Flat::upload_f32(gpu, "values", values).expect("small");
        debug_assert_eq!(model.kind, Kind::F32);
        let models = [&model];
        let mut pass = Pass::new("", &base, &models);
        pass.defines.push(("VARIANCE", 0));
        let mut rec = Recorder::new(gpu);
        let state = select(&mut rec, &pass, wanted, zeros).expect("records");
        let program = rec.finish();
        // Twice: a program is replayed, so nothing may be left over from the run before.
        program.submit();
        program.submit();
        let state: Vec<u32> = pollster::block_on(state.read(gpu)).expect("reads").iter().map(|v| v.to_bits()).collect();
        (0..wanted.len()).map(|s| (f32::from_bits(state[8 * s + 1]), state[8 * s + 5] as usize)).collect()
    }

    fn taken(selection: Selection, (threshold, last): (f32, usize), i: usize, value: f32) -> bool {
        let v = value.abs();
        let beyond = if selection.descending { v > threshold } else { v < threshold };
        beyond || (v == threshold && i <= last)
    }

    /// The plain search and the bracketed one find the same threshold and the same last equal element as a stable sort: smooth values, few and
    /// many equal magnitudes, sorted ones (a sample's worst case), nearly all equal, and more zeros than elements wanted.
    #[test]
    fn selections_follow_the_tie_rule() {
        for gpu in devices() {
            for len in [1000, (1 << 18) + 5, (1 << 20) + 77] {
                let smooth = random(len, 5);
                let rounded = |levels: f32| smooth.iter().map(|v| (v * levels).round() / 8.0).collect::<Vec<f32>>();
                let mut sorted = smooth.clone();
                sorted.sort_by(f32::total_cmp);
                let sparse: Vec<f32> = smooth.iter().map(|v| if v.abs() < 0.9 { 0.0 } else { *v }).collect();
                for (name, values) in [
                    ("rounded", rounded(3.0)),
                    ("fine", rounded(1e6)),
                    ("sorted", sorted),
                    ("sparse", sparse),
                    ("equal", vec![0.5; len]),
                ] {
                    // The largest size is there for the wide digits; the patterns behave alike at every size.
                    if len > 1 << 20 && name != "sorted" {
                        continue;
                    }
                    for rank in [1, len / 3, len - 1] {
                        let wanted = [Selection::largest(0, rank, len), Selection::smallest(0, rank, len)];
                        for (selection, state) in wanted.into_iter().zip(found(&gpu, &values, &wanted, Zeros::Exact)) {
                            let right = select_reference(&values, selection);
                            for (i, v) in values.iter().enumerate() {
                                assert_eq!(
                                    taken(selection, state, i, *v),
                                    right[i],
                                    "{name}: {i} of {len}, rank {rank}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where a bracket's elements do not all fit one binding there is room for fewer, or the search runs over everything.
    #[test]
    fn small_bindings_change_nothing() {
        let len = 1 << 19;
        let values = random(len, 7);
        // As many bytes as a sample's histogram takes.
        for gpu in devices_binding(65_536 * 4) {
            for rank in [len / 10, len - 7] {
                let wanted = [Selection::largest(0, rank, len)];
                let right = select_reference(&values, wanted[0]);
                let state = found(&gpu, &values, &wanted, Zeros::Exact)[0];
                for (i, v) in values.iter().enumerate() {
                    assert_eq!(taken(wanted[0], state, i, *v), right[i], "{i}, rank {rank}, {:?}", gpu.tier);
                }
            }
        }
    }

    /// Where zeros do not matter, everything else is still taken by the rule.
    #[test]
    fn free_zeros_change_nothing_else() {
        let len = (1 << 19) + 3;
        let values: Vec<f32> = random(len, 6).into_iter().map(|v| if v.abs() < 0.7 { 0.0 } else { v }).collect();
        for gpu in devices() {
            for rank in [len / 10, len / 2, len - 7] {
                let wanted = [Selection::largest(0, rank, len), Selection::smallest(0, rank, len)];
                for (selection, state) in wanted.into_iter().zip(found(&gpu, &values, &wanted, Zeros::Free)) {
                    let right = select_reference(&values, selection);
                    for (i, v) in values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                        assert_eq!(taken(selection, state, i, *v), right[i], "{i}, rank {rank}");
                    }
                }
            }
        }
    }
}
