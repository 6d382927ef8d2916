//! How weights act on the states of the text encoder, and how windows become one sequence.

use super::{Emphasis, Long, Window};

/// Applies the weights of one window to its states [length, width]. `empty`: the states of the empty prompt, for ComfyUI's rule.
///
/// A1111 multiplies and (`Original`) brings the mean of the window back; ComfyUI moves each state away from the empty prompt's.
pub(super) fn apply(emphasis: Emphasis, window: &Window, states: &mut [f32], width: usize, empty: Option<&[f32]>) {
    if width == 0 || !window.is_weighted() {
        return;
    }
    let rows = states.chunks_exact_mut(width).zip(&window.weights);
    match emphasis {
        Emphasis::Ignore => {}
        Emphasis::Comfy => {
            let Some(empty) = empty else { return };
            for ((row, weight), base) in rows.zip(empty.chunks_exact(width)).filter(|((_, w), _)| **w != 1.0) {
                row.iter_mut().zip(base).for_each(|(z, e)| *z = (*z - e) * weight + e);
            }
        }
        Emphasis::Original | Emphasis::NoNorm => {
            let before = mean(rows.map(|(row, weight)| {
                let sum = sum(row);
                row.iter_mut().for_each(|z| *z *= weight);
                (sum, row.len())
            }));
            let after = mean(states.chunks_exact(width).map(|row| (sum(row), row.len())));
            // States whose mean is 0 have none to bring back.
            let factor = (before / after) as f32;
            if emphasis == Emphasis::Original && factor.is_finite() {
                states.iter_mut().for_each(|z| *z *= factor);
            }
        }
    }
}

fn sum(row: &[f32]) -> f64 {
    row.iter().map(|v| f64::from(*v)).sum()
}

fn mean(rows: impl Iterator<Item = (f64, usize)>) -> f64 {
    let (total, count) = rows.fold((0.0, 0), |(t, n), (sum, len)| (t + sum, n + len));
    total / count.max(1) as f64
}

/// Windows' states [length, width] each, weights applied, as one sequence of a multiple of `length` rows.
pub(super) fn join(
    long: Long,
    windows: &[Window],
    states: Vec<Vec<f32>>,
    width: usize,
    empty: Option<&[f32]>,
) -> Vec<f32> {
    let (Long::Sentences, Some(empty)) = (long, empty) else { return states.concat() };
    // LongAlign: of each sentence the start token and its words stay, and what is missing is filled with the mean of the last 60 states of the
    // empty prompt.
    let length = windows.first().map_or(0, |w| w.ids.len());
    let mut out: Vec<f32> = Vec::new();
    for (window, states) in windows.iter().zip(&states) {
        out.extend_from_slice(&states[..((window.used + 1) * width).min(states.len())]);
    }
    let tail = empty.len().saturating_sub(60 * width);
    let rows = empty[tail..].chunks_exact(width.max(1));
    let count = rows.len().max(1) as f64;
    let pad: Vec<f32> =
        (0..width).map(|c| (rows.clone().map(|r| f64::from(r[c])).sum::<f64>() / count) as f32).collect();
    while width > 0 && length > 0 && !(out.len() / width).is_multiple_of(length) {
        out.extend_from_slice(&pad);
    }
    out
}
