//! Orthogonal matrices on the host, in f64: the nearest one, and real powers of rotations.

use crate::linalg::{Matrix, symmetric_eigen};

/// The function of a symmetric matrix that `f` is of its eigenvalues.
fn of_symmetric(matrix: &Matrix, f: impl Fn(f64) -> f64) -> Matrix {
    let (values, vectors) = symmetric_eigen(matrix);
    let mut scaled = vectors.clone();
    for (row, value) in scaled.data.chunks_mut(matrix.cols).zip(&values) {
        let factor = f(*value);
        row.iter_mut().for_each(|v| *v *= factor);
    }
    vectors.transposed().times(&scaled)
}

/// The orthogonal matrix nearest to a square one, its polar factor M (M'M)^(-1/2). Directions that M loses are lost.
pub(crate) fn nearest(matrix: &Matrix) -> Matrix {
    let inverse = |v: f64| if v > 1e-24 { 1.0 / v.sqrt() } else { 0.0 };
    matrix.times(&of_symmetric(&matrix.transposed().times(matrix), inverse))
}

/// True where the determinant is negative: elimination with the largest pivots.
pub(crate) fn reflects(matrix: &Matrix) -> bool {
    let n = matrix.rows;
    let mut m = matrix.data.clone();
    let mut negative = false;
    for k in 0..n {
        let Some(pivot) = (k..n).max_by(|a, b| m[a * n + k].abs().total_cmp(&m[b * n + k].abs())) else { break };
        if pivot != k {
            (0..n).for_each(|j| m.swap(k * n + j, pivot * n + j));
            negative = !negative;
        }
        let top = m[k * n + k];
        negative ^= top < 0.0;
        if top == 0.0 {
            return false;
        }
        let (upper, lower) = m.split_at_mut((k + 1) * n);
        let row = &upper[k * n..];
        for line in lower.chunks_mut(n) {
            let factor = line[k] / top;
            line[k..].iter_mut().zip(&row[k..]).for_each(|(v, r)| *v -= factor * r);
        }
    }
    negative
}

/// A rotation's power: every plane it turns by an angle is turned by `power` times that angle, angles between -pi and pi.
///
/// With S and K the symmetric and the antisymmetric half of Q, S has the cosines for eigenvalues and commutes with K, so that
/// Q^p = cos(p angle)(S) + [sin(p angle) / sin(angle)](S) K.
pub(crate) fn power(rotation: &Matrix, power: f64) -> Matrix {
    let back = rotation.transposed();
    let half = |sign: f64| {
        let data = rotation.data.iter().zip(&back.data).map(|(a, b)| 0.5 * (a + sign * b)).collect();
        Matrix { data, ..*rotation }
    };
    let (even, odd) = (half(1.0), half(-1.0));
    let angle = |cosine: f64| cosine.clamp(-1.0, 1.0).acos();
    let ratio = |cosine: f64| {
        let sine = angle(cosine).sin();
        // Where nothing turns the antisymmetric half is zero; the limit keeps rounding errors small.
        if sine < 1e-7 { if cosine > 0.0 { power } else { 0.0 } } else { (power * angle(cosine)).sin() / sine }
    };
    let mut out = of_symmetric(&even, |c| (power * angle(c)).cos());
    let turned = of_symmetric(&even, ratio).times(&odd);
    out.data.iter_mut().zip(&turned.data).for_each(|(o, t)| *o += t);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn rotation(n: usize, seed: u32) -> Matrix {
        let mut q = nearest(&Matrix::from_f32(&random(n * n, seed), n, n));
        if reflects(&q) {
            q.data[..n].iter_mut().for_each(|v| *v = -*v);
        }
        q
    }

    fn distance(a: &Matrix, b: &Matrix) -> f64 {
        a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    fn one(n: usize) -> Matrix {
        let mut out = Matrix::zeros(n, n);
        (0..n).for_each(|i| out.data[i * n + i] = 1.0);
        out
    }

    #[test]
    fn the_nearest_is_orthogonal_and_determinants_have_signs() {
        for n in [1, 2, 3, 8, 21] {
            let q = rotation(n, n as u32);
            assert!(distance(&q.times_transposed(&q), &one(n)) < 1e-9, "{n}");
            assert!(!reflects(&q));
            let mut mirrored = q.clone();
            mirrored.data[..n].iter_mut().for_each(|v| *v = -*v);
            assert!(reflects(&mirrored));
            assert!(distance(&nearest(&q), &q) < 1e-9);
        }
    }

    #[test]
    fn powers_add_up_and_stay_rotations() {
        for n in [1, 2, 3, 8, 21] {
            let q = rotation(n, 7 + n as u32);
            assert!(distance(&power(&q, 0.0), &one(n)) < 1e-8 && distance(&power(&q, 1.0), &q) < 1e-8, "{n}");
            let third = power(&q, 1.0 / 3.0);
            assert!(distance(&third.times_transposed(&third), &one(n)) < 1e-8, "{n}");
            assert!(distance(&third.times(&third).times(&third), &q) < 1e-7, "{n}");
            assert!(distance(&power(&q, -0.4), &power(&q, 0.4).transposed()) < 1e-8, "{n}");
        }
        // A quarter turn in a plane.
        let quarter = Matrix { rows: 2, cols: 2, data: vec![0.0, 1.0, -1.0, 0.0] };
        let half = power(&quarter, 0.5);
        assert!(half.data.iter().all(|v| (v.abs() - 0.5f64.sqrt()).abs() < 1e-12) && half.data[1] > 0.0);
    }
}
