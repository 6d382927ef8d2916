//! The model's change, cut to its leading singular vectors.
//!
//! On the host: eigenvectors in f64. sd-mecha draws a random basis by default; this is its exact form.

use crate::linalg::{Matrix, leading};
use crate::method::{About, HostInputs, Knob, Method, Settings};

/// B + w (M - B) at a lower rank.
pub struct RankTruncate;

static KNOBS: &[Knob] =
    &[Knob::whole("rank", "Rank", 0.0, 4096.0, 8.0, "How many singular vectors of the change are kept.")];

/// The change at `rank`, seen as a matrix of the first dimension by the rest; vectors stay as they are.
fn truncated(change: &[f32], shape: &[usize], rank: usize) -> Vec<f64> {
    let rows = shape.first().copied().unwrap_or(1);
    let cols = change.len() / rows.max(1);
    if shape.len() < 2 || rank >= rows.min(cols) {
        return change.iter().map(|v| f64::from(*v)).collect();
    }
    let matrix = Matrix::from_f32(change, rows, cols);
    // The smaller side has the smaller Gram matrix.
    if rows <= cols {
        let (left, rest) = leading(&matrix, rank);
        left.transposed().times(&rest).data
    } else {
        let (left, rest) = leading(&matrix.transposed(), rank);
        rest.transposed().times(&left).data
    }
}

static ABOUT: About = About::new(
    "rank_truncate",
    "Rank truncation",
    "sd-mecha 1.1.8 `truncate_rank` with `use_approximate_basis` off, https://github.com/ljleb/sd-mecha; Eckart and Young 1936",
)
.knobs(KNOBS)
.models(1, 1)
.with_origin()
.on_host();

impl Method for RankTruncate {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let change: Vec<f32> = inputs.models[0].iter().zip(inputs.origin).map(|(m, o)| m - o).collect();
        let rank = settings.knob(KNOBS, "rank") as usize;
        let cut = truncated(&change, settings.shape, rank);
        let w = settings.weights[0];
        inputs.base.iter().zip(&cut).map(|(b, c)| (f64::from(*b) + w * c) as f32).collect()
    }
}
