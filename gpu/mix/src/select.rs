//! The k largest or smallest magnitudes of a tensor, on the device, without sorting and without reading data back
//! (`shaders/mix/select_count.wgsl`, `select_step.wgsl`).
//!
//! A radix selection: a histogram of the upper 16 bits of |value| finds the bin of the k-th, one of the lower 15 bits the exact value.
//! Tie rule: of equal magnitudes those with lower element numbers are taken first (a stable sort's order); two more histograms, over the
//! element numbers of the equal ones, find the last number taken, and count nothing when all equals are taken.

use admix_tensor::{Launch, Recorder, Tensor, Tier};

use crate::MixError;
use crate::flat::Pass;

/// One selection: the first `rank` elements in the order of magnitudes.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Which model's change from the origin is ranked; [`Selection::VALUE`] for the value the pass defines.
    pub model: u32,
    /// How many elements; 0 none, [`Selection::ALL`] all.
    pub rank: u32,
    /// From the largest down, else from the smallest up.
    pub descending: bool,
}

impl Selection {
    /// Rank that takes every element.
    pub const ALL: u32 = u32::MAX;
    /// The pass's own value instead of a model's change.
    pub const VALUE: u32 = 15;
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

/// Records the selections over the inputs of `values` (its shader is replaced); gives the state buffer that passes read:
/// eight words a selection, word 1 the threshold's bits, word 5 the last element number taken among equals.
pub fn select(rec: &mut Recorder, values: &Pass<'_>, selections: &[Selection]) -> Result<Tensor, MixError> {
    let count = selections.len() as u32;
    let state = rec.tensor(1, 8 * selections.len())?;
    let bins = rec.tensor(1, 65_536 * selections.len())?;
    let coarse = rec.tensor(1, 256 * selections.len())?;
    let mut ranks = [0u32; 16];
    let (mut targets, mut descending) = (0u32, 0u32);
    for (i, s) in selections.iter().enumerate() {
        ranks[i] = s.rank;
        targets |= s.model << (4 * i);
        descending |= u32::from(s.descending) << i;
    }
    let step = |rec: &mut Recorder, step: u32, phase: u32, lanes: u32| {
        let mut params = vec![count, phase, descending, 0];
        params.extend(ranks);
        rec.launch(Launch {
            shader: "mix/select_step",
            defines: &[("STEP", step)],
            params: &params,
            reads: &[],
            writes: &[&state, &bins, &coarse],
            groups: [lanes.div_ceil(64), 1, 1],
        })
    };
    step(rec, 0, 0, count)?;
    let lanes = gather_lanes(rec, values.base.len);
    let extra = [&state];
    for phase in 0..4 {
        step(rec, 3, phase, 16_384 * count)?;
        let mut pass = Pass::new("mix/select_count", values.base, values.models);
        pass.origin = values.origin;
        pass.defines = values.defines.clone();
        pass.defines.extend([
            ("PHASE", phase),
            ("FIRST", u32::from(phase == 0)),
            ("SELECTS", count),
            ("TARGETS", targets),
        ]);
        pass.extra = &extra;
        pass.gather(rec, lanes, &[&bins])?;
        step(rec, 1, phase, 256 * count)?;
        step(rec, 2, phase, count)?;
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
