//! Small dense linear algebra on the host, in f64, for the methods that need eigenvectors.

/// A matrix, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl Matrix {
    /// From f32 values, row by row.
    pub fn from_f32(values: &[f32], rows: usize, cols: usize) -> Matrix {
        debug_assert_eq!(values.len(), rows * cols);
        Matrix { rows, cols, data: values.iter().map(|v| f64::from(*v)).collect() }
    }

    /// Zeros.
    pub fn zeros(rows: usize, cols: usize) -> Matrix {
        Matrix { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..][..self.cols]
    }

    /// Rows as columns.
    pub fn transposed(&self) -> Matrix {
        let mut out = Matrix::zeros(self.cols, self.rows);
        for i in 0..self.rows {
            for (j, v) in self.row(i).iter().enumerate() {
                out.data[j * self.rows + i] = *v;
            }
        }
        out
    }

    /// self times other.
    pub fn times(&self, other: &Matrix) -> Matrix {
        debug_assert_eq!(self.cols, other.rows);
        let mut out = Matrix::zeros(self.rows, other.cols);
        for i in 0..self.rows {
            let target = &mut out.data[i * other.cols..][..other.cols];
            for (k, f) in self.row(i).iter().enumerate().filter(|(_, f)| **f != 0.0) {
                target.iter_mut().zip(other.row(k)).for_each(|(t, v)| *t += f * v);
            }
        }
        out
    }

    /// self times the transpose of other.
    pub fn times_transposed(&self, other: &Matrix) -> Matrix {
        debug_assert_eq!(self.cols, other.cols);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let mut out = Matrix::zeros(self.rows, other.rows);
        for i in 0..self.rows {
            for j in 0..other.rows {
                out.data[i * other.rows + j] = dot(self.row(i), other.row(j));
            }
        }
        out
    }
}

/// Eigenvalues of a symmetric matrix from the largest down, and the eigenvectors as rows: Householder's reduction to three diagonals, then
/// implicit QL steps (Wilkinson and Reinsch 1971, Handbook for Automatic Computation, tred2 and tql2).
pub(crate) fn symmetric_eigen(matrix: &Matrix) -> (Vec<f64>, Matrix) {
    let n = matrix.rows;
    // Column j of the working matrix is row j of `w`: inner loops walk along columns.
    let mut w = matrix.transposed();
    let (mut d, mut e) = (vec![0f64; n], vec![0f64; n]);
    if n == 0 {
        return (d, w);
    }
    reduce(&mut w.data, &mut d, &mut e, n);
    iterate(&mut w.data, &mut d, &mut e, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| d[*b].total_cmp(&d[*a]));
    let values = order.iter().map(|i| d[*i]).collect();
    let vectors = order.iter().flat_map(|i| w.row(*i).to_vec()).collect();
    (values, Matrix { rows: n, cols: n, data: vectors })
}

/// To three diagonals: d the main one, e the one beside it; w becomes the transformation.
fn reduce(w: &mut [f64], d: &mut [f64], e: &mut [f64], n: usize) {
    for j in 0..n {
        d[j] = w[j * n + n - 1];
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|v| v.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = w[j * n + i - 1];
                w[j * n + i] = 0.0;
                w[i * n + j] = 0.0;
            }
        } else {
            for v in &mut d[..i] {
                *v /= scale;
                h += *v * *v;
            }
            let f = d[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                let f = d[j];
                w[i * n + j] = f;
                let mut g = e[j] + w[j * n + j] * f;
                for k in j + 1..i {
                    g += w[j * n + k] * d[k];
                    e[k] += w[j * n + k] * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let share = f / (h + h);
            for j in 0..i {
                e[j] -= share * d[j];
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                for k in j..i {
                    w[j * n + k] -= f * e[k] + g * d[k];
                }
                d[j] = w[j * n + i - 1];
                w[j * n + i] = 0.0;
            }
        }
        d[i] = h;
    }
    for i in 0..n - 1 {
        w[i * n + n - 1] = w[i * n + i];
        w[i * n + i] = 1.0;
        let h = d[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = w[(i + 1) * n + k] / h;
            }
            for j in 0..=i {
                let g: f64 = (0..=i).map(|k| w[(i + 1) * n + k] * w[j * n + k]).sum();
                for k in 0..=i {
                    w[j * n + k] -= g * d[k];
                }
            }
        }
        w[(i + 1) * n..(i + 1) * n + i + 1].fill(0.0);
    }
    for j in 0..n {
        d[j] = w[j * n + n - 1];
        w[j * n + n - 1] = 0.0;
    }
    w[n * n - 1] = 1.0;
    e[0] = 0.0;
}

/// From three diagonals to eigenvalues in d and eigenvectors in the rows of w.
fn iterate(w: &mut [f64], d: &mut [f64], e: &mut [f64], n: usize) {
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shift, mut size) = (0.0, 0f64);
    for l in 0..n {
        size = size.max(d[l].abs() + e[l].abs());
        let small = f64::EPSILON * size;
        let m = (l..n).find(|m| e[*m].abs() <= small).unwrap_or(n - 1);
        while m > l && e[l].abs() > small {
            let g = d[l];
            let p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = if p < 0.0 { -p.hypot(1.0) } else { p.hypot(1.0) };
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let (next, h) = (d[l + 1], g - d[l]);
            d[l + 2..].iter_mut().for_each(|v| *v -= h);
            shift += h;
            let mut p = d[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let beside = e[l + 1];
            let (mut s, mut s2) = (0.0, 0.0);
            for i in (l..m).rev() {
                c3 = c2;
                c2 = c;
                s2 = s;
                let (g, h) = (c * e[i], c * p);
                let r = p.hypot(e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                let (lower, upper) = w[i * n..(i + 2) * n].split_at_mut(n);
                for (a, b) in lower.iter_mut().zip(upper) {
                    let h = *b;
                    *b = s * *a + c * h;
                    *a = c * *a - s * h;
                }
            }
            p = -s * s2 * c3 * beside * e[l] / next;
            e[l] = s * p;
            d[l] = c * p;
        }
        d[l] += shift;
        e[l] = 0.0;
    }
}

/// The `rank` leading left singular vectors of a matrix as rows, whatever its shape, and what they leave of it: `left` times the matrix.
/// matrix is nearest to (left transposed) times that.
pub(crate) fn leading(matrix: &Matrix, rank: usize) -> (Matrix, Matrix) {
    let (_, vectors) = symmetric_eigen(&matrix.times_transposed(matrix));
    let rank = rank.min(vectors.rows);
    let left = Matrix { rows: rank, cols: vectors.cols, data: vectors.data[..rank * vectors.cols].to_vec() };
    let rest = left.times(matrix);
    (left, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[test]
    fn eigenvectors_take_a_symmetric_matrix_apart() {
        for n in [1, 2, 3, 7, 40] {
            let half = Matrix::from_f32(&random(n * n, 3), n, n);
            for matrix in [half.times_transposed(&half), Matrix::zeros(n, n)] {
                let (values, vectors) = symmetric_eigen(&matrix);
                assert!(values.is_sorted_by(|a, b| a >= b));
                let mut scaled = vectors.clone();
                for (row, value) in scaled.data.chunks_mut(n).zip(&values) {
                    row.iter_mut().for_each(|v| *v *= value);
                }
                let back = vectors.transposed().times(&scaled);
                let unit = vectors.times_transposed(&vectors);
                for i in 0..n * n {
                    assert!((back.data[i] - matrix.data[i]).abs() < 1e-10, "{n}");
                    assert!((unit.data[i] - f64::from(u8::from(i % (n + 1) == 0))).abs() < 1e-12, "{n}");
                }
            }
        }
    }
}
