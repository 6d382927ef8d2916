//! Keep probabilities by rank of magnitude inside a row, for DELLA (`shaders/mix/rank_mask.wgsl`).
//!
//! A row runs along dimension 1, as in mergekit (for a convolution's weight: the input channels under one output channel and tap); a tensor of
//! one dimension is one row. The device counts, for every element, the smaller ones of its row: no sort, one read of the row an element.

use admix_tensor::{Launch, Recorder, Tensor};

use super::lines::{change, row_windows};
use crate::MixError;
use crate::flat::{Flat, Kind, bits};
use crate::method::{Inputs, Settings};
use crate::random;

/// How rows lie: (dimension 0, row length, step between a row's elements).
fn layout(shape: &[usize]) -> (usize, usize, usize) {
    match shape {
        [] => (1, 1, 1),
        [len] => (1, *len, 1),
        [first, row, rest @ ..] => (*first, *row, rest.iter().product()),
    }
}

/// Lowest probability, and what is added from the lowest to the highest rank. A row of one element has no rank: it gets the middle.
fn range((density, epsilon): (f64, f64), row: usize) -> (f64, f64) {
    if density <= 0.0 {
        (-1.0, 0.0)
    } else if density >= 1.0 {
        (2.0, 0.0)
    } else if row < 2 {
        (density, 0.0)
    } else {
        (density - epsilon, 2.0 * epsilon)
    }
}

/// A tensor of one word an element, of which bit i says whether model i keeps it.
pub(crate) fn masks(
    rec: &mut Recorder,
    inputs: &Inputs<'_>,
    settings: &Settings<'_>,
    ranges: &[(f64, f64)],
) -> Result<Tensor, MixError> {
    let (first, row, step) = layout(settings.shape);
    let mask = Flat::temporary(rec, inputs.base.len, Kind::F32)?;
    for (i, model) in inputs.models.iter().enumerate() {
        let (density, epsilon) = ranges[i];
        if density > 0.0 && density < 1.0 && (density + epsilon >= 1.0 || density - epsilon <= 0.0) {
            let reason = format!(
                "density {density} with epsilon {epsilon}: density - epsilon and density + epsilon must lie between 0 and 1"
            );
            return Err(MixError::Method { method: "della".into(), reason });
        }
        let difference = change(rec, model, inputs.origin.unwrap_or(inputs.base))?;
        let (low, span) = range(ranges[i], row);
        let given = inputs.uniforms.get(i);
        for w in row_windows(rec.gpu(), first, row * step) {
            let part = w.of(&difference);
            let numbers = given.map(|u| w.of(&Flat { data: u.clone(), kind: Kind::F32, len: model.len }));
            let reads: Vec<&Tensor> = std::iter::once(&part).chain(&numbers).collect();
            let groups = (w.elements as u32).div_ceil(64);
            let across = groups.clamp(1, 32_768);
            rec.launch(Launch {
                shader: "mix/rank_mask",
                defines: &[("UNIFORMS", given.is_some().into())],
                params: &[
                    w.elements as u32,
                    w.shift as u32,
                    across,
                    w.start as u32,
                    row as u32,
                    step as u32,
                    random::fold(settings.seed),
                    random::stream(settings.name, i),
                    bits(low),
                    bits(span),
                    i as u32,
                    0,
                ],
                reads: &reads,
                writes: &[&w.of(&mask)],
                groups: [across, groups.div_ceil(across), 1],
            })?;
        }
    }
    Ok(mask.data)
}

/// CPU twin: the probability with which each element is kept.
pub(crate) fn probabilities(change: &[f32], shape: &[usize], of: (f64, f64)) -> Vec<f32> {
    let (first, row, step) = layout(shape);
    let (low, span) = range(of, row);
    let mut result = vec![0f32; change.len()];
    for block in 0..first {
        for t in 0..step {
            let at = |k: usize| block * row * step + k * step + t;
            let mut order: Vec<usize> = (0..row).collect();
            order.sort_by(|a, b| change[at(*a)].abs().total_cmp(&change[at(*b)].abs()));
            for (rank, k) in order.into_iter().enumerate() {
                let share = rank as f32 / (row.max(2) - 1) as f32;
                result[at(k)] = low as f32 + share * span as f32;
            }
        }
    }
    result
}
