//! Orthogonal matrices from skew-symmetric ones, in f64: Cayley's transform and its Neumann series.

/// Square matrices of one size, one after another.
pub(super) struct Blocks {
    /// Edge.
    pub size: usize,
    /// [count, size, size].
    pub values: Vec<f64>,
}

impl Blocks {
    /// `factor` (B - B^T) for each stored square block B.
    pub fn skew(data: &[f32], size: usize, factor: f64) -> Blocks {
        let mut values = vec![0f64; data.len()];
        for (from, to) in data.chunks_exact(size * size).zip(values.chunks_exact_mut(size * size)) {
            for i in 0..size {
                for j in 0..size {
                    to[i * size + j] = factor * (f64::from(from[i * size + j]) - f64::from(from[j * size + i]));
                }
            }
        }
        Blocks { size, values }
    }

    /// The blocks whose triangles above the diagonal are the rows of `packed`, row by row, with the negative below.
    pub fn from_triangles(packed: &[f32], size: usize) -> Blocks {
        let line = size * size.saturating_sub(1) / 2;
        let count = packed.len().checked_div(line).unwrap_or(0);
        let mut values = vec![0f64; count * size * size];
        for (triangle, block) in packed.chunks_exact(line.max(1)).zip(values.chunks_exact_mut(size * size)) {
            let places = (0..size).flat_map(|i| (i + 1..size).map(move |j| (i, j)));
            for ((i, j), v) in places.zip(triangle) {
                block[i * size + j] = f64::from(*v);
                block[j * size + i] = -f64::from(*v);
            }
        }
        Blocks { size, values }
    }

    /// Number of blocks.
    pub fn count(&self) -> usize {
        self.values.len() / (self.size * self.size)
    }

    /// Scales all of them so that their joint Frobenius norm is at most `limit` (OFT's constraint); 0 or less: none.
    pub fn constrain(&mut self, limit: f64) {
        let norm = self.values.iter().map(|v| v * v).sum::<f64>().sqrt() + 1e-8;
        if limit > 0.0 && norm > limit {
            self.values.iter_mut().for_each(|v| *v *= limit / norm);
        }
    }

    /// Scales each of them so that its own Frobenius norm is at most `limit` (constrained OFT).
    pub fn constrain_each(&mut self, limit: f64) {
        for block in self.values.chunks_exact_mut(self.size * self.size) {
            let norm = block.iter().map(|v| v * v).sum::<f64>().sqrt();
            if norm > limit {
                block.iter_mut().for_each(|v| *v *= limit / norm);
            }
        }
    }

    /// (I + Q) (I - Q)^-1 of every block Q; the inverse rotation, `transposed`, is (I - Q) (I + Q)^-1.
    /// `Err`: numbers so large that the inverse is lost.
    pub fn cayley(&self, transposed: bool) -> Result<Vec<f32>, String> {
        let n = self.size;
        let sign = if transposed { -1.0 } else { 1.0 };
        let mut out = Vec::with_capacity(self.values.len());
        for q in self.values.chunks_exact(n * n) {
            let with = |s: f64| -> Vec<f64> {
                let one = |i: usize| if i.is_multiple_of(n + 1) { 1.0 } else { 0.0 };
                q.iter().enumerate().map(|(i, v)| one(i) + s * sign * v).collect()
            };
            let inverse = invert(with(-1.0), n).ok_or("its rotation cannot be computed: the numbers are too large")?;
            out.extend(multiply(&with(1.0), &inverse, n).into_iter().map(|v| v as f32));
        }
        Ok(out)
    }

    /// peft's series of `terms` terms for (I + Q) (I - Q)^-1: I + 2 Q + 2 Q^2 + ... + Q^(terms - 1).
    pub fn neumann(&self, terms: usize) -> Vec<f32> {
        let n = self.size;
        let mut out = Vec::with_capacity(self.values.len());
        for q in self.values.chunks_exact(n * n) {
            let mut sum: Vec<f64> = (0..n * n).map(|i| if i.is_multiple_of(n + 1) { 1.0 } else { 0.0 }).collect();
            let mut add = |power: &[f64], factor: f64| sum.iter_mut().zip(power).for_each(|(s, p)| *s += factor * p);
            if terms > 1 {
                add(q, 2.0);
            }
            if terms > 2 {
                let mut power = multiply(q, q, n);
                add(&power, 2.0);
                for _ in 3..terms.saturating_sub(1) {
                    power = multiply(&power, q, n);
                    add(&power, 2.0);
                }
                power = multiply(&power, q, n);
                add(&power, 1.0);
            }
            out.extend(sum.into_iter().map(|v| v as f32));
        }
        out
    }
}

/// a b, both [n, n].
fn multiply(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0f64; n * n];
    for i in 0..n {
        for k in 0..n {
            let factor = a[i * n + k];
            for j in 0..n {
                out[i * n + j] += factor * b[k * n + j];
            }
        }
    }
    out
}

/// The inverse by Gauss and Jordan with pivots; none if the matrix is singular or not finite.
fn invert(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let mut b: Vec<f64> = (0..n * n).map(|i| if i.is_multiple_of(n + 1) { 1.0 } else { 0.0 }).collect();
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[i * n + column].abs().total_cmp(&a[j * n + column].abs()))?;
        let value = a[pivot * n + column];
        if value == 0.0 || !value.is_finite() {
            return None;
        }
        for j in 0..n {
            a.swap(column * n + j, pivot * n + j);
            b.swap(column * n + j, pivot * n + j);
        }
        for j in 0..n {
            a[column * n + j] /= value;
            b[column * n + j] /= value;
        }
        for i in (0..n).filter(|i| *i != column) {
            let factor = a[i * n + column];
            for j in 0..n {
                a[i * n + j] -= factor * a[column * n + j];
                b[i * n + j] -= factor * b[column * n + j];
            }
        }
    }
    b.iter().all(|v| v.is_finite()).then_some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_are_orthogonal_and_each_others_inverse() {
        let data: Vec<f32> = (0..2 * 25).map(|i| ((i * 37 % 23) as f32 - 11.0) / 20.0).collect();
        let blocks = Blocks::skew(&data, 5, 1.0);
        let (r, t) = (blocks.cayley(false).unwrap(), blocks.cayley(true).unwrap());
        for (r, t) in r.chunks(25).zip(t.chunks(25)) {
            for i in 0..5 {
                for j in 0..5 {
                    let dot: f32 = (0..5).map(|k| r[i * 5 + k] * r[j * 5 + k]).sum();
                    assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-6);
                    assert!((r[i * 5 + j] - t[j * 5 + i]).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn the_series_nears_the_transform_for_small_angles() {
        let blocks = Blocks::from_triangles(&[0.01, -0.02, 0.03], 3);
        assert_eq!(blocks.count(), 1);
        let exact = blocks.cayley(false).unwrap();
        // Terms left out begin with Q^4 (one more of it) and 2 Q^5: below 4e-6 here.
        for (a, b) in blocks.neumann(5).iter().zip(exact) {
            assert!((a - b).abs() < 4e-6);
        }
    }

    #[test]
    fn constraints_limit_the_norm() {
        let mut blocks = Blocks::from_triangles(&[3.0, 4.0, 0.0], 3);
        blocks.constrain(1.0);
        let norm = |b: &Blocks| b.values.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((norm(&blocks) - 1.0).abs() < 1e-6);
        blocks.constrain(0.0);
        blocks.constrain_each(0.5);
        assert!((norm(&blocks) - 0.5).abs() < 1e-6);
        assert!(Blocks::skew(&[f32::MAX; 4], 2, 1.0).cayley(false).is_ok());
        assert!(Blocks::from_triangles(&[f32::INFINITY], 2).cayley(false).is_err());
    }
}
