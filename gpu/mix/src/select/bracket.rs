//! The fast way to a threshold: a sample brackets it, one pass over the tensor counts what lies beyond the bracket and collects what lies
//! inside, and the radix search runs over the few that were collected (`shaders/mix/select_compact.wgsl`, `select_inside.wgsl`,
//! `select_bracket.wgsl`).
//!
//! Exact whatever the sample says: the counts tell whether the wanted element is in the bracket. If it is not, or if more elements lie inside
//! than there is room for (many equal magnitudes), the selection stays open and the full search settles it.
//! (Floyd and Rivest 1975, Expected time bounds for selection, CACM 18(3): the same idea, recursively.)

use admix_tensor::{Launch, Recorder, Tensor, Tier};

use super::{Digit, Search, Zeros, digit};
use crate::MixError;
use crate::flat::Pass;

/// Tensors from this size on are bracketed; smaller ones are searched whole, in less time than a sample's histogram takes.
pub(super) const LEAST: usize = 1 << 18;
/// Elements a lane has room for at least; where one binding does not hold that, the search runs over everything.
const LEAST_ROOM: usize = 16;
/// Groups of eight elements in a sample: counting one costs as much as looking at some ten.
const SAMPLES: usize = 16_384;
/// The keys' top bits, as the sample's histogram has them.
const TOP: Digit = digit(false, 15, 16);
/// 2,048 bins: digits of the collected keys, then of their element numbers.
const DIGITS: [Digit; 6] = [
    digit(false, 20, 11),
    digit(false, 10, 10),
    digit(false, 0, 10),
    digit(true, 20, 11),
    digit(true, 10, 10),
    digit(true, 0, 10),
];
const SMALL_BINS: u32 = 2048;

/// Records the bracketed search of every selection; those that succeed are settled in `search.state`.
/// `coarse` is scratch, 256 words a selection.
pub(super) fn search(
    rec: &mut Recorder,
    values: &Pass<'_>,
    all: &Search<'_>,
    coarse: &Tensor,
    zeros: Zeros,
) -> Result<(), MixError> {
    let len = values.base.len;
    let count = all.count;
    let lanes: u32 = if rec.gpu().tier == Tier::Cpu { 1024 } else { 16_384 };
    // Room for an eighth of the elements a lane sees: several times what a bracket holds of smoothly spread magnitudes.
    let room = (len.div_ceil(lanes as usize) / 8).max(LEAST_ROOM) as u32;
    let words = rec.gpu().limits.max_storage_buffer_binding_size / 4;
    let Some(fits) = (words / u64::from(2 * count * lanes)).checked_sub(1).filter(|fits| *fits >= LEAST_ROOM as u64)
    else {
        return Ok(());
    };
    let room = room.min(fits as u32);
    let wide = rec.tensor(1, (65_536 * count) as usize)?;
    let inner = rec.tensor(1, (8 * count) as usize)?;
    let edges = rec.tensor(1, (4 * count) as usize)?;
    let found = rec.tensor(1, (2 * count * lanes * (1 + room)) as usize)?;
    let lanes_per_group: u32 = if rec.gpu().tier == Tier::Cpu { 8 } else { 64 };

    let sample = Search { bins_each: 65_536, bins: &wide, ..*all };
    sample.step(rec, 1, coarse)?;
    let mut pass = Pass::new("mix/select_count", values.base, values.models);
    pass.origin = values.origin;
    pass.defines = values.defines.clone();
    pass.defines.extend([
        ("SAMPLE", 1),
        ("NUMBER", 0),
        ("BITS", TOP.bits),
        ("SHIFT", TOP.shift),
        ("FIRST", 1),
        ("BINS", 65_536),
        ("SELECTS", count),
        ("TARGETS", all.targets),
    ]);
    pass.knobs[0] = (len.div_ceil(8) / SAMPLES).max(1) as u32;
    let state = [all.state];
    pass.extra = &state;
    pass.gather(rec, lanes, &[&wide])?;
    sample.step(rec, 2, coarse)?;

    let step = |rec: &mut Recorder, step: u32| {
        rec.launch(Launch {
            shader: "mix/select_bracket",
            defines: &[
                ("STEP", step),
                ("LANES", lanes),
                ("ZEROS", u32::from(zeros == Zeros::Exact)),
                ("BINS", SMALL_BINS),
            ],
            params: &[count, len as u32, room, 0],
            reads: &[],
            writes: &[all.state, &inner, &edges, &found, &wide, coarse],
            groups: [1, 1, 1],
        })
    };
    step(rec, 0)?;
    let mut pass = Pass::new("mix/select_compact", values.base, values.models);
    pass.origin = values.origin;
    pass.defines = values.defines.clone();
    // All take the largest, and zeros do not matter: padding that did not change can be looked at without harm.
    let free = zeros == Zeros::Free && all.descending == (1 << count) - 1;
    pass.defines.extend([
        ("BEGIN", 1),
        ("BOTH", 1),
        ("FREE", free.into()),
        ("SELECTS", count),
        ("TARGETS", all.targets),
    ]);
    pass.knobs[1] = room;
    let extra = [&edges];
    pass.extra = &extra;
    pass.gather(rec, lanes, &[&found])?;
    step(rec, 1)?;

    let inside = Search { bins_each: SMALL_BINS, state: &inner, bins: &wide, ..*all };
    for digit in &DIGITS {
        rec.launch(Launch {
            shader: "mix/select_inside",
            defines: &[
                ("WG", lanes_per_group),
                ("LANES", lanes),
                ("NUMBER", digit.number.into()),
                ("BITS", digit.bits),
                ("SHIFT", digit.shift),
                ("BINS", SMALL_BINS),
                ("SELECTS", count),
            ],
            params: &[room, 0, 0, 0],
            reads: &[&found, &inner, &edges],
            writes: &[&wide],
            groups: [lanes / lanes_per_group, 1, 1],
        })?;
        inside.walk(rec, digit)?;
    }
    step(rec, 2)?;
    Ok(())
}
