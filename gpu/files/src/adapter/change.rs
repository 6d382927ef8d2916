//! What an adapter does to one tensor, in numbers: a handful of forms that every family's change is one of.
//!
//! All of them are functions of the weight they are applied to, seen as [rows, columns * taps] (a convolution's kernel positions are its
//! taps; a bias or a normalisation is [rows, 1]). At strength s the tensor becomes W + s (W' - W), so that 0 gives W for every family
//! and several adapters add up in any order; only LyCORIS' BOFT blends each of its stages instead, as its authors do.

use super::factors::Factors;

/// Shape of the tensor that a change is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// Kernel positions.
    pub taps: usize,
}

impl Extent {
    /// That of a tensor of this shape.
    pub fn of(shape: &[usize]) -> Extent {
        Extent {
            rows: shape.first().copied().unwrap_or(1),
            columns: shape.get(1).copied().unwrap_or(1),
            taps: shape.iter().skip(2).product(),
        }
    }

    /// Columns of the tensor as a matrix.
    pub fn width(&self) -> usize {
        self.columns * self.taps
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.rows * self.width()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One of a weight's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Output features.
    Rows,
    /// Input features, each with all its taps.
    Columns,
    /// Columns of the weight as a matrix: input features times taps.
    Width,
}

impl Axis {
    /// The tensor as [before, n, behind] around this dimension.
    pub fn split(self, extent: Extent) -> [usize; 3] {
        match self {
            Axis::Rows => [1, extent.rows, extent.width()],
            Axis::Columns => [extent.rows, extent.columns, extent.taps],
            Axis::Width => [extent.rows, extent.width(), 1],
        }
    }
}

/// Square blocks on the diagonal, after a permutation: y[order[k b + i]] = sum over j of blocks[k, i, j] x[order[k b + j]].
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Edge of a block.
    pub size: usize,
    /// [n / size, size, size].
    pub blocks: Vec<f32>,
    /// Which element stands at each place of the blocks; none: as they are.
    pub order: Option<Vec<u32>>,
}

impl Stage {
    /// The stage at a strength: s B + (1 - s) I.
    pub fn blended(&self, strength: f64) -> Stage {
        let square = self.size * self.size;
        let blend = |(i, v): (usize, &f32)| {
            let one = if (i % square).is_multiple_of(self.size + 1) { 1.0 } else { 0.0 };
            (strength * f64::from(*v) + (1.0 - strength) * one) as f32
        };
        Stage { blocks: self.blocks.iter().enumerate().map(blend).collect(), ..self.clone() }
    }
}

/// Stages of blocks along one dimension, then a factor for every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    /// The dimension.
    pub axis: Axis,
    /// The stages, in the order they are applied.
    pub stages: Vec<Stage>,
    /// Factors of the rows, applied last.
    pub rows: Option<Vec<f32>>,
    /// A strength blends every stage with the identity instead of blending the result with the weight.
    pub by_stage: bool,
}

/// W' = W + scale * ((W P) Q), both products along the input features.
#[derive(Clone, Debug, PartialEq)]
pub struct Through {
    /// `Columns` or `Width`.
    pub axis: Axis,
    /// Inner size.
    pub rank: usize,
    /// [n, rank], n the size of the axis.
    pub into: Vec<f32>,
    /// [rank, n].
    pub back: Vec<f32>,
    /// Factor of the product.
    pub scale: f64,
    /// A low-rank change that is added.
    pub plus: Option<Factors>,
}

/// What an adapter does to one tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// W' = W + scale up down.
    LowRank(Factors),
    /// W' = W + (a.scale a.up a.down) o (b.scale b.up b.down).
    Hadamard(Factors, Factors),
    /// W' = W + scale kron(first, second).
    Kronecker {
        /// [a, c].
        first: (Vec<f32>, [usize; 2]),
        /// [b, d], d with the taps.
        second: (Vec<f32>, [usize; 2]),
        /// Factor of the product.
        scale: f64,
        /// The sides as products, where the file has them so.
        factors: [Option<Factors>; 2],
    },
    /// W' = W + scale values.
    Add {
        /// As many as the weight has.
        values: Vec<f32>,
        /// Their factor.
        scale: f64,
    },
    /// W' = values.
    Replace(Vec<f32>),
    /// W' = W, with values added at flat positions; no position twice.
    Sparse {
        /// Positions.
        at: Vec<u32>,
        /// What is added there.
        values: Vec<f32>,
    },
    /// `W'[o, i, t] = rows[o] columns[i] W[o, i, t]`.
    Scale {
        /// Factors of the output features.
        rows: Option<Vec<f32>>,
        /// Factors of the input features.
        columns: Option<Vec<f32>>,
    },
    /// Blocks along a dimension.
    Mixing(Mixing),
    /// The weight itself through two narrow matrices.
    Through(Through),
    /// V = W changed by `inner`; W' = magnitude V / |V|, the norm for every row or every input feature.
    Decomposed {
        /// The change of direction.
        inner: Box<Change>,
        /// Lengths.
        magnitude: Vec<f32>,
        /// `Rows` or `Columns`.
        axis: Axis,
    },
    /// W' = W + scale sign, +1 where the bit is set and -1 where it is not.
    Signs {
        /// [rows, width / 8 rounded up], the lowest bit first.
        bits: Vec<u8>,
        /// The distance.
        scale: f64,
    },
}

/// What an adapter's module does to a weight and to the bias beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// To the weight.
    pub weight: Option<Change>,
    /// To the bias.
    pub bias: Option<Change>,
}

impl Change {
    /// The changed tensor at a strength, in f64 from definition to result: the reference for what the device computes.
    pub fn applied(&self, weight: &[f32], extent: Extent, strength: f64) -> Vec<f32> {
        let wide: Vec<f64> = weight.iter().map(|v| f64::from(*v)).collect();
        let (changed, strength) = match self {
            Change::Mixing(m) if m.by_stage && strength != 1.0 => (m.blended(strength).mixed(&wide, extent), 1.0),
            other => (other.whole(&wide, extent), strength),
        };
        wide.iter().zip(changed).map(|(w, c)| (w + strength * (c - w)) as f32).collect()
    }

    /// W' in f64.
    fn whole(&self, w: &[f64], extent: Extent) -> Vec<f64> {
        let add = |delta: Vec<f64>| w.iter().zip(delta).map(|(w, d)| w + d).collect::<Vec<_>>();
        match self {
            Change::LowRank(f) => add(f.delta_wide()),
            Change::Hadamard(a, b) => add(a.delta_wide().iter().zip(b.delta_wide()).map(|(a, b)| a * b).collect()),
            Change::Kronecker { first: (a, [_, c]), second: (b, [rows, d]), scale, .. } => {
                let at = |i: usize| {
                    let (row, column) = (i / (c * d), i % (c * d));
                    scale * f64::from(a[row / rows * c + column / d]) * f64::from(b[row % rows * d + column % d])
                };
                add((0..w.len()).map(at).collect())
            }
            Change::Add { values, scale } => add(values.iter().map(|v| scale * f64::from(*v)).collect()),
            Change::Replace(values) => values.iter().map(|v| f64::from(*v)).collect(),
            Change::Sparse { at, values } => {
                let mut out = w.to_vec();
                at.iter().zip(values).for_each(|(i, v)| out[*i as usize] += f64::from(*v));
                out
            }
            Change::Scale { rows, columns } => {
                let out = match rows {
                    Some(rows) => scaled(w, Axis::Rows, rows, extent),
                    None => w.to_vec(),
                };
                match columns {
                    Some(columns) => scaled(&out, Axis::Columns, columns, extent),
                    None => out,
                }
            }
            Change::Mixing(m) => m.mixed(w, extent),
            Change::Through(t) => {
                let [before, n, behind] = t.axis.split(extent);
                let middle = product(w, [before, n, behind], &t.into, t.rank);
                let back = product(&middle, [before, t.rank, behind], &t.back, n);
                let plus = t.plus.as_ref().map(Factors::delta_wide);
                let at = |i: usize| t.scale * back[i] + plus.as_ref().map_or(0.0, |p| p[i]);
                add((0..w.len()).map(at).collect())
            }
            Change::Decomposed { inner, magnitude, axis } => {
                let v = inner.whole(w, extent);
                let [before, n, behind] = axis.split(extent);
                let mut norms = vec![0f64; n];
                for p in 0..before {
                    for (i, norm) in norms.iter_mut().enumerate() {
                        let from = (p * n + i) * behind;
                        *norm += v[from..from + behind].iter().map(|v| v * v).sum::<f64>();
                    }
                }
                let factors: Vec<f32> =
                    norms.iter().zip(magnitude).map(|(n, m)| (f64::from(*m) / n.sqrt().max(1e-30)) as f32).collect();
                scaled(&v, *axis, &factors, extent)
            }
            Change::Signs { bits, scale } => {
                let line = extent.width().div_ceil(8);
                let at = |i: usize| {
                    let (row, column) = (i / extent.width(), i % extent.width());
                    let set = bits[row * line + column / 8] >> (column % 8) & 1 == 1;
                    if set { *scale } else { -scale }
                };
                add((0..w.len()).map(at).collect())
            }
        }
    }
}

impl Mixing {
    /// With the strength inside: every stage and the rows' factors blended with what changes nothing.
    pub fn blended(&self, strength: f64) -> Mixing {
        let row = |v: &f32| (1.0 + strength * (f64::from(*v) - 1.0)) as f32;
        Mixing {
            stages: self.stages.iter().map(|s| s.blended(strength)).collect(),
            rows: self.rows.as_ref().map(|r| r.iter().map(row).collect()),
            ..self.clone()
        }
    }

    fn mixed(&self, w: &[f64], extent: Extent) -> Vec<f64> {
        let [before, n, behind] = self.axis.split(extent);
        let mut current = w.to_vec();
        for stage in &self.stages {
            let b = stage.size;
            let place = |i: usize| stage.order.as_ref().map_or(i, |o| o[i] as usize);
            let mut next = vec![0f64; current.len()];
            for p in 0..before {
                for i in 0..n {
                    let (block, row) = (i / b, &stage.blocks[i * b..][..b]);
                    for q in 0..behind {
                        let sum: f64 = (0..b)
                            .map(|j| f64::from(row[j]) * current[(p * n + place(block * b + j)) * behind + q])
                            .sum();
                        next[(p * n + place(i)) * behind + q] = sum;
                    }
                }
            }
            current = next;
        }
        match &self.rows {
            Some(rows) => scaled(&current, Axis::Rows, rows, extent),
            None => current,
        }
    }
}

/// Every element times the factor of its place along an axis.
fn scaled(w: &[f64], axis: Axis, factors: &[f32], extent: Extent) -> Vec<f64> {
    let [_, n, behind] = axis.split(extent);
    w.iter().enumerate().map(|(i, v)| v * f64::from(factors[i / behind.max(1) % n])).collect()
}

/// x [before, n, behind] times m [n, rank] along its middle.
fn product(x: &[f64], [before, n, behind]: [usize; 3], m: &[f32], rank: usize) -> Vec<f64> {
    let mut out = vec![0f64; before * rank * behind];
    for p in 0..before {
        for i in 0..n {
            for r in 0..rank {
                let factor = f64::from(m[i * rank + r]);
                for q in 0..behind {
                    out[(p * rank + r) * behind + q] += x[(p * n + i) * behind + q] * factor;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_zero_gives_the_weight_and_half_lies_between() {
        let weight: Vec<f32> = (0..24).map(|i| i as f32 / 7.0 - 1.0).collect();
        let extent = Extent { rows: 4, columns: 3, taps: 2 };
        let rotation =
            Stage { size: 2, blocks: vec![0.6, -0.8, 0.8, 0.6, 0.0, 1.0, -1.0, 0.0], order: Some(vec![2, 0, 1, 3]) };
        let mixing = |by_stage| {
            let stages = vec![rotation.clone()];
            Change::Mixing(Mixing { axis: Axis::Rows, stages, rows: Some(vec![1.0, 2.0, 0.5, 1.0]), by_stage })
        };
        let forms = [
            Change::Scale { rows: Some(vec![1.0, 2.0, 3.0, 4.0]), columns: Some(vec![0.5, 1.0, 2.0]) },
            Change::Replace(vec![1.0; 24]),
            mixing(false),
            mixing(true),
            Change::Decomposed {
                inner: Box::new(Change::Replace(weight.clone())),
                magnitude: vec![1.0; 3],
                axis: Axis::Columns,
            },
        ];
        for form in forms {
            assert_eq!(form.applied(&weight, extent, 0.0), weight);
            let whole = form.applied(&weight, extent, 1.0);
            if form != mixing(true) {
                let half = form.applied(&weight, extent, 0.5);
                for ((w, h), f) in weight.iter().zip(half).zip(&whole) {
                    assert!((h - (w + f) / 2.0).abs() < 1e-6);
                }
            }
        }
        // Rows 2 and 0 meet in the first block: y2 = 0.6 x2 - 0.8 x0, y0 = 0.8 x2 + 0.6 x0.
        let turned = mixing(false).applied(&weight, extent, 1.0);
        assert!((turned[0] - (0.8 * weight[12] + 0.6 * weight[0])).abs() < 1e-6);
        assert!((turned[12] - 0.5 * (0.6 * weight[12] - 0.8 * weight[0])).abs() < 1e-6);
    }
}
