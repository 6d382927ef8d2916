//! Vector search that is small and quick: reduced dimensions first, the full ones for the best only.
//!
//! LeanVec (Tepper et al. 2023, arXiv 2312.16335): a linear projection and locally adaptive scalar quantisation. The projection is
//! the paper's eigenvector search for out-of-distribution queries, section 3: the leading eigenvectors of b K_Q + (1 - b) K_X, the
//! second moments of queries and of the stored vectors, with the b that distorts their inner products least. Queries here are short
//! phrases while cards are long texts, so that the two do differ.

use crate::admitted::Admitted;
use crate::bm25::best;
use crate::words::dot;

/// How many more candidates the reduced search hands on than are asked for.
const OVERSAMPLE: usize = 10;
/// Vectors that the moments are taken from.
const SAMPLE: usize = 8_000;
/// Values that are multiplied in one go: as many as the widest common vector registers take in pairs.
const LANES: usize = 16;

/// A table of vectors.
pub struct Lean {
    dim: usize,
    /// [reduced, dim], orthonormal rows; empty where nothing is reduced.
    projection: Vec<f32>,
    primary: Rows,
    secondary: Rows,
}

/// Rows of signed bytes, each at a scale of its own, padded to whole [`LANES`].
struct Rows {
    width: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
}

impl Rows {
    fn new(width: usize, count: usize) -> Rows {
        let width = width.next_multiple_of(LANES);
        Rows { width, values: Vec::with_capacity(width * count), scales: Vec::with_capacity(count) }
    }

    fn push(&mut self, row: &[f32]) {
        let scale = row.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
        let back = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        self.values.extend(row.iter().map(|v| (v * back).round() as i8));
        self.scales.push(scale);
        self.values.resize(self.scales.len() * self.width, 0);
    }

    /// A query as it is multiplied with rows, and its scale.
    fn query(&self, query: &[f32]) -> (Vec<i16>, f32) {
        let mut rows = Rows::new(query.len(), 1);
        rows.push(query);
        (rows.values.iter().map(|v| i16::from(*v)).collect(), rows.scales[0])
    }

    /// The inner product without the query's scale. Pairs of 16-bit products summed in 32 bits: compilers know that as one instruction.
    fn dot(&self, row: usize, query: &[i16]) -> f32 {
        let stored = &self.values[row * self.width..(row + 1) * self.width];
        let sum = |(a, b): (&[i8; LANES], &[i16; LANES])| -> i32 {
            a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
        };
        let sum: i32 = stored.as_chunks::<LANES>().0.iter().zip(query.as_chunks::<LANES>().0).map(sum).sum();
        sum as f32 * self.scales[row]
    }

    fn bytes(&self) -> usize {
        self.values.len() + 4 * self.scales.len()
    }
}

/// The largest so far: a buffer of twice as many, thinned out when it is full.
struct Largest {
    k: usize,
    found: Vec<(u32, f32)>,
    /// What a newcomer has to exceed. Rows come in order, so that an equal one stands behind those that are there.
    floor: f32,
}

impl Largest {
    fn new(k: usize) -> Largest {
        Largest { k, found: Vec::with_capacity(2 * k), floor: f32::NEG_INFINITY }
    }

    fn offer(&mut self, row: u32, value: f32) {
        if value <= self.floor {
            return;
        }
        self.found.push((row, value));
        if self.found.len() >= 2 * self.k {
            best(&mut self.found, self.k);
            self.floor = self.found.last().map_or(self.floor, |f| f.1);
        }
    }
}

impl Lean {
    /// Stores `count` vectors of `dim`; `row` writes one into a buffer of zeros. `queries` [m, dim] are examples of what will be asked
    /// (may be empty). Vectors are made twice where they are reduced: once for the moments, once to be stored, and never held all at once.
    pub fn build(count: usize, queries: &[f32], dim: usize, reduced: usize, row: &dyn Fn(usize, &mut [f32])) -> Lean {
        let reduced = reduced.min(dim);
        let mut buffer = vec![0.0f32; dim];
        let mut projection = Vec::new();
        if reduced < dim {
            let mut sample = Vec::new();
            for at in (0..count).step_by(count.div_ceil(SAMPLE).max(1)) {
                buffer.fill(0.0);
                row(at, &mut buffer);
                sample.extend_from_slice(&buffer);
            }
            projection = self::projection(&sample, queries, dim, reduced);
        }
        let small = if projection.is_empty() { 0 } else { count };
        let mut table = Lean { dim, projection, primary: Rows::new(reduced, small), secondary: Rows::new(dim, count) };
        for at in 0..count {
            buffer.fill(0.0);
            row(at, &mut buffer);
            if !table.projection.is_empty() {
                table.primary.push(&table.project(&buffer));
            }
            table.secondary.push(&buffer);
        }
        table
    }

    fn project(&self, row: &[f32]) -> Vec<f32> {
        self.projection.chunks_exact(self.dim).map(|axis| dot(axis, row)).collect()
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.secondary.scales.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.secondary.scales.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.primary.bytes() + self.secondary.bytes() + 4 * self.projection.len()
    }

    /// The `k` admitted vectors with the largest inner products, best first.
    pub fn search(&self, query: &[f32], k: usize, admitted: &Admitted) -> Vec<(u32, f32)> {
        if self.is_empty() || k == 0 {
            return Vec::new();
        }
        let (full, scale) = self.secondary.query(query);
        let exact = |row: u32| self.secondary.dot(row as usize, &full) * scale;
        let rows = admitted.iter().take_while(|row| (*row as usize) < self.len());
        let mut largest = Largest::new(k);
        if self.projection.is_empty() {
            rows.for_each(|row| largest.offer(row, exact(row)));
        } else {
            let (small, _) = self.primary.query(&self.project(query));
            let mut near = Largest::new(k * OVERSAMPLE);
            rows.for_each(|row| near.offer(row, self.primary.dot(row as usize, &small)));
            best(&mut near.found, k * OVERSAMPLE);
            // In the order of their numbers, as ties are settled.
            near.found.sort_unstable_by_key(|f| f.0);
            near.found.into_iter().for_each(|(row, _)| largest.offer(row, exact(row)));
        }
        let mut found = largest.found;
        best(&mut found, k);
        found
    }
}

/// Second moments of at most [`SAMPLE`] rows, evenly taken: [dim, dim].
fn moments(rows: &[f32], dim: usize) -> Vec<f64> {
    let count = rows.len() / dim;
    let step = count.div_ceil(SAMPLE).max(1);
    let mut out = vec![0.0f64; dim * dim];
    let mut taken = 0usize;
    for row in rows.chunks_exact(dim).step_by(step) {
        taken += 1;
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate().skip(i) {
                out[i * dim + j] += f64::from(a * b);
            }
        }
    }
    let scale = 1.0 / taken.max(1) as f64;
    for i in 0..dim {
        for j in i..dim {
            out[i * dim + j] *= scale;
            out[j * dim + i] = out[i * dim + j];
        }
    }
    out
}

fn projection(vectors: &[f32], queries: &[f32], dim: usize, reduced: usize) -> Vec<f32> {
    let stored = moments(vectors, dim);
    if queries.len() < dim {
        return leading(&stored, dim, reduced);
    }
    let asked = moments(queries, dim);
    let mixed = |b: f64| -> Vec<f64> { stored.iter().zip(&asked).map(|(x, q)| b * q + (1.0 - b) * x).collect() };
    let tried = [0.0, 0.5, 1.0].map(|b| {
        let p = leading(&mixed(b), dim, reduced);
        (distortion(&p, &asked, &stored, dim), p)
    });
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, p)| p).unwrap_or_default()
}

/// E (<Pq, Px> - <q, x>)^2 = tr(K_Q M K_X M) + tr(K_Q K_X) - 2 tr(K_Q M K_X) with M = P' P.
fn distortion(p: &[f32], asked: &[f64], stored: &[f64], dim: usize) -> f64 {
    let mut m = vec![0.0f64; dim * dim];
    for axis in p.chunks_exact(dim) {
        for i in 0..dim {
            for j in 0..dim {
                m[i * dim + j] += f64::from(axis[i]) * f64::from(axis[j]);
            }
        }
    }
    let product = |a: &[f64], b: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; dim * dim];
        for i in 0..dim {
            for k in 0..dim {
                let v = a[i * dim + k];
                for j in 0..dim {
                    out[i * dim + j] += v * b[k * dim + j];
                }
            }
        }
        out
    };
    // tr(A B) = sum over A_ij B_ji, and all of these are symmetric where it matters.
    let trace = |a: &[f64], b: &[f64]| -> f64 { (0..dim * dim).map(|n| a[n] * b[n % dim * dim + n / dim]).sum() };
    let (qm, xm) = (product(asked, &m), product(stored, &m));
    trace(&qm, &xm) + trace(asked, stored) - 2.0 * trace(&qm, stored)
}

/// The leading eigenvectors of a symmetric matrix as rows, by subspace iteration with Gram-Schmidt from a fixed start.
fn leading(matrix: &[f64], dim: usize, count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut axes: Vec<Vec<f64>> = (0..count)
        .map(|_| {
            (0..dim)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
                })
                .collect()
        })
        .collect();
    orthonormalize(&mut axes);
    for _ in 0..12 {
        for axis in &mut axes {
            let moved = matrix.chunks_exact(dim).map(|row| row.iter().zip(axis.iter()).map(|(a, b)| a * b).sum());
            *axis = moved.collect();
        }
        orthonormalize(&mut axes);
    }
    axes.into_iter().flatten().map(|v| v as f32).collect()
}

fn orthonormalize(axes: &mut [Vec<f64>]) {
    for i in 0..axes.len() {
        let (done, rest) = axes.split_at_mut(i);
        let axis = &mut rest[0];
        // Twice is enough (Kahan).
        for _ in 0..2 {
            for other in done.iter() {
                let along: f64 = axis.iter().zip(other).map(|(a, b)| a * b).sum();
                axis.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = axis.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A direction that vanished: the matrix has fewer. Zeros do no harm in inner products.
        let back = if length > 1e-12 { 1.0 / length } else { 0.0 };
        axis.iter_mut().for_each(|v| *v *= back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::normalize;

    /// Unit vectors whose spread falls off, as those of words do.
    fn cloud(count: usize, dim: usize, mut state: u64) -> Vec<f32> {
        let mut out = Vec::new();
        for _ in 0..count {
            let mut row: Vec<f32> = (0..dim)
                .map(|d| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((state >> 33) as f32 / (1u64 << 31) as f32 - 0.5) / (1.0 + d as f32 / 12.0)
                })
                .collect();
            normalize(&mut row);
            out.extend(row);
        }
        out
    }

    fn built(stored: &[f32], queries: &[f32], dim: usize, reduced: usize) -> Lean {
        let row = |at: usize, into: &mut [f32]| into.copy_from_slice(&stored[at * dim..(at + 1) * dim]);
        Lean::build(stored.len() / dim, queries, dim, reduced, &row)
    }

    #[test]
    fn tables_without_reduction_are_exact_but_for_rounding() {
        // A width that is no multiple of the lanes.
        let (dim, count) = (21, 300);
        let (stored, query) = (cloud(count, dim, 5), cloud(1, dim, 6));
        let table = built(&stored, &[], dim, dim);
        for (row, value) in table.search(&query, 40, &Admitted::all(count)) {
            // 2 x dim roundings of half a step of at most 1/127 each, against numbers that average 1/sqrt(dim).
            let exact = dot(&stored[row as usize * dim..][..dim], &query);
            assert!((value - exact).abs() < 0.02, "{value} {exact}");
        }
    }

    #[test]
    fn recall_against_exact_search() {
        let (dim, count) = (96, 4000);
        let (stored, queries) = (cloud(count, dim, 1), cloud(50, dim, 2));
        let table = built(&stored, &cloud(200, dim, 3), dim, 64);
        assert_eq!(table.len(), count);
        let mut hits = 0;
        for query in queries.chunks_exact(dim) {
            let mut exact: Vec<(u32, f32)> = (0..).zip(stored.chunks_exact(dim).map(|row| dot(row, query))).collect();
            best(&mut exact, 150);
            let found = table.search(query, 150, &Admitted::all(count));
            hits += exact.iter().filter(|(row, _)| found.iter().any(|(f, _)| f == row)).count();
        }
        let recall = hits as f64 / (50.0 * 150.0);
        assert!(recall >= 0.95, "{recall}");
        let odd = Admitted::of(count, |row| row % 2 == 1);
        assert!(table.search(&queries[..dim], 5, &odd).iter().all(|(row, _)| row % 2 == 1));
    }

    #[test]
    fn the_projection_is_that_of_the_leading_axes() {
        let matrix = [4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 1.0];
        let axes = leading(&matrix, 3, 2);
        let size = |v: &[f32]| v.iter().map(|x| (x.abs() * 100.0).round() as i32).collect::<Vec<_>>();
        assert_eq!((size(&axes[..3]), size(&axes[3..])), (vec![0, 100, 0], vec![100, 0, 0]));
    }

    #[test]
    fn empty_tables_answer() {
        let table = built(&[], &[], 8, 4);
        assert!(table.is_empty());
        assert!(table.search(&[0.0; 8], 3, &Admitted::all(0)).is_empty());
    }
}
