//! Sums over whole tensors, on the device and staying there: inner products (`shaders/mix/gram.wgsl`) and what methods need of norms.
//!
//! Every lane sums its own groups, then one lane a sum adds the lanes' parts in blocks: no workgroup memory, no atomics, the same order
//! on every run.

use admix_tensor::{Launch, Recorder, Tensor, Tier};

use crate::MixError;
use crate::flat::{Flat, Pass};

/// Lanes of a summing pass over `len` elements.
pub(crate) fn lanes(rec: &Recorder, len: usize) -> u32 {
    let most = if rec.gpu().tier == Tier::Cpu { 4096 } else { 16_384 };
    (len.div_ceil(8).next_multiple_of(64) as u32).clamp(64, most)
}

/// Runs a gathering pass that leaves `rows` sums a lane, and adds the lanes up: a tensor of `rows` totals.
pub(crate) fn totals(rec: &mut Recorder, pass: &Pass<'_>, rows: usize) -> Result<Tensor, MixError> {
    let lanes = lanes(rec, pass.base.len);
    let sums = rec.tensor(1, rows * lanes as usize)?;
    let totals = rec.tensor(1, rows)?;
    pass.gather(rec, lanes, &[&sums])?;
    rec.launch(Launch {
        shader: "mix/sums_total",
        defines: &[],
        params: &[rows as u32, lanes, 0, 0],
        reads: &[&sums],
        writes: &[&totals],
        groups: [(rows as u32).div_ceil(64), 1, 1],
    })?;
    Ok(totals)
}

/// What the inner products are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// The models' changes from the origin.
    Changes,
    /// The base and the models themselves.
    Whole,
}

/// All inner products: a `n` x `n` matrix on the device of which the upper triangle is filled.
pub(crate) fn gram(
    rec: &mut Recorder,
    base: &Flat,
    origin: Option<&Flat>,
    models: &[&Flat],
    of: Vectors,
) -> Result<Tensor, MixError> {
    let vectors = models.len() + usize::from(of == Vectors::Whole);
    let mut pass = Pass::new("mix/gram", base, models);
    pass.origin = origin;
    pass.defines.extend([("VECTORS", vectors as u32), ("CHANGES", u32::from(of == Vectors::Changes))]);
    totals(rec, &pass, vectors * vectors)
}

/// CPU twin of [`gram`], f64, both triangles.
pub(crate) fn gram_reference(vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    vectors.iter().map(|a| vectors.iter().map(|b| dot(a, b)).collect()).collect()
}
