//! The base's rows, turned towards the model's by the orthogonal matrix that brings them nearest (orthogonal Procrustes), or by a part of that turn.
//!
//! On the host: eigenvectors in f64. Directions that neither matrix has are left alone, where sd-mecha's result follows rounding errors. A part of
//! a turn is a power of the whole one, without reflection. Matrices wider than high leave directions open: here they turn as little as they can,
//! sd-mecha walks along a Stiefel manifold there.

use crate::linalg::{Matrix, symmetric_eigen};
use crate::method::{About, HostInputs, Knob, Method, Settings};
use crate::orthogonal::{nearest, power, reflects};

/// The base turned towards the model.
pub struct Rotate;

static KNOBS: &[Knob] = &[
    Knob::number(
        "alignment",
        "Alignment",
        0.0,
        1.0,
        1.0,
        "How far to turn: 1 all the way to where no turn brings it nearer, 0 not at all.",
    ),
    Knob::number(
        "alpha",
        "Alpha",
        0.0,
        1.0,
        0.0,
        "How much of what no turn explains is taken from the model: 1 gives the model.",
    ),
    Knob::number(
        "centralization",
        "Centring",
        0.0,
        1.0,
        1.0,
        "How much of the rows' mean is taken out before the turn is found.",
    ),
];

/// As the 16-bit values they would be stored as, nearly equal.
fn alike(a: &[f32], b: &[f32]) -> bool {
    let half = |v: f32| half::f16::from_f32(v).to_f32();
    a.iter().zip(b).all(|(a, b)| (half(*a) - half(*b)).abs() <= 1e-8 + 1e-5 * half(*b).abs())
}

fn rotated(a: &[f32], b: &[f32], shape: &[usize], [alignment, alpha, center]: [f64; 3]) -> Vec<f32> {
    if alignment == 0.0 && alpha == 0.0 {
        return a.to_vec();
    }
    let lerp = |(a, b): (&f32, &f32)| (f64::from(*a) + alpha * (f64::from(*b) - f64::from(*a))) as f32;
    if shape.len() < 2 || alike(a, b) {
        return a.iter().zip(b).map(lerp).collect();
    }
    // The kernels of a convolution are its rows.
    let is_kernel = shape.len() == 4 && shape[2] * shape[3] != 1;
    let rows: usize = if is_kernel { shape[0] * shape[1] } else { shape[0] };
    let cols = a.len() / rows.max(1);
    let centred = |values: &[f32]| {
        let mut matrix = Matrix::from_f32(values, rows, cols);
        let mut mean = vec![0f64; cols];
        (0..rows).for_each(|i| mean.iter_mut().zip(matrix.row(i)).for_each(|(m, v)| *m += center * v / rows as f64));
        matrix.data.iter_mut().enumerate().for_each(|(i, v)| *v -= mean[i % cols]);
        (matrix, mean)
    };
    let ((mut a, from), (b, to)) = (centred(a), centred(b));
    let (mut u, v) = procrustes(&a, &b);
    let whole = (alignment != 1.0).then(|| rotation(&mut u, &v));
    if alpha != 0.0 {
        let back = match &whole {
            Some(q) => b.times_transposed(q),
            None => turned(&b, &v, &u),
        };
        a.data.iter_mut().zip(&back.data).for_each(|(a, b)| *a += alpha * (b - *a));
    }
    let result = match &whole {
        Some(q) => a.times(&power(q, alignment)),
        None => turned(&a, &u, &v),
    };
    let mean = |i: usize| from[i] + alignment * (to[i] - from[i]);
    result.data.iter().enumerate().map(|(i, x)| (x + mean(i % cols)) as f32).collect()
}

/// The rotation that takes the rows of `u` to those of `v` and turns everything else as little as it can. Where it would be a reflection, the row
/// that matters least is taken to the opposite.
fn rotation(u: &mut Matrix, v: &Matrix) -> Matrix {
    let cols = v.cols;
    let whole = |u: &Matrix| {
        let rest = |m: &Matrix| {
            let mut out = m.transposed().times(m);
            out.data.iter_mut().enumerate().for_each(|(i, x)| *x = f64::from(u8::from(i % (cols + 1) == 0)) - *x);
            out
        };
        let mut out = rest(u).times(&rest(v));
        out.data.iter_mut().zip(&u.transposed().times(v).data).for_each(|(o, t)| *o += t);
        nearest(&out)
    };
    let q = whole(u);
    if u.rows == 0 || !reflects(&q) {
        return q;
    }
    let last = (u.rows - 1) * cols;
    u.data[last..].iter_mut().for_each(|x| *x = -*x);
    whole(u)
}

/// Orthonormal rows u and v with u transposed times v the turn that brings a nearest to b, on the directions both have.
fn procrustes(a: &Matrix, b: &Matrix) -> (Matrix, Matrix) {
    let cross = a.transposed().times(b);
    let (values, vectors) = symmetric_eigen(&cross.transposed().times(&cross));
    // Squares of singular values: those below the largest's 1e-20th part are rounding errors.
    let least = values.first().copied().unwrap_or(0.0) * 1e-20;
    let rank = values.iter().take_while(|v| **v > least && **v > 0.0).count();
    let v = Matrix { rows: rank, cols: vectors.cols, data: vectors.data[..rank * vectors.cols].to_vec() };
    let mut u = v.times_transposed(&cross);
    for (i, value) in values.iter().take(rank).enumerate() {
        u.data[i * v.cols..][..v.cols].iter_mut().for_each(|x| *x /= value.sqrt());
    }
    (u, v)
}

/// x - x v'v + x u'v, in rows.
fn turned(x: &Matrix, u: &Matrix, v: &Matrix) -> Matrix {
    let mut from = x.times_transposed(u);
    let kept = x.times_transposed(v);
    from.data.iter_mut().zip(&kept.data).for_each(|(f, k)| *f -= k);
    let mut out = from.times(v);
    out.data.iter_mut().zip(&x.data).for_each(|(o, x)| *o += x);
    out
}

static ABOUT: About = About::new(
    "rotate",
    "Rotate",
    "sd-mecha 1.1.8 `rotate`, https://github.com/ljleb/sd-mecha; Schoenemann 1966, orthogonal Procrustes",
)
.knobs(KNOBS)
.models(1, 1)
.without_weights()
.on_host();

impl Method for Rotate {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let knobs = ["alignment", "alpha", "centralization"].map(|name| settings.knob(KNOBS, name));
        rotated(inputs.base, inputs.models[0], settings.shape, knobs)
    }
}
