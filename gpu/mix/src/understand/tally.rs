//! Sums over the changes of several ingredients, and the figures that follow from them.

use serde::Serialize;

/// Densities for which the energy that a trim keeps is told.
pub const DENSITIES: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// Bins of magnitudes: the upper 16 bits of an f32 without its sign, so that magnitudes of one bin differ by less than 1 %.
const BINS: usize = 1 << 15;

/// The figures of a block, or of all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockFigures {
    /// Its name in recipes, `all` for everything.
    pub block: String,
    /// Elements of the tensors that an ingredient changes.
    pub elements: u64,
    /// Length (Frobenius norm) of the base's tensors there.
    pub base: f64,
    /// Length of each ingredient's change at weight 1.
    pub norms: Vec<f64>,
    /// Length of the sum at the recipe's weights.
    pub sum: f64,
    /// That length, relative to the longest change at weight 1: 1 is what an ingredient was trained to.
    pub range: f64,
    /// Part of the changes, at the recipe's weights, that cancels: 1 - sum |total| / sum of all |change|. 0: none does.
    pub interference: f64,
    /// The same for changes of these lengths that have nothing to do with each other.
    pub chance: f64,
    /// Every pair of ingredients.
    pub pairs: Vec<Pair>,
    /// For each ingredient, the part of its squared length that a trim to each of [`DENSITIES`] keeps, tensor by tensor; within 0.01.
    pub kept: Vec<[f64; DENSITIES.len()]>,
}

/// How two changes lie to each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The first ingredient's number.
    pub a: usize,
    /// The second's.
    pub b: usize,
    /// Cosine of the angle between them, at weight 1; 0 where one is zero.
    pub cosine: f64,
    /// Of the elements that both change, the part in which they agree on the sign (1/2 by chance, 0 where there are none).
    pub agreement: f64,
}

/// The sums of a block.
pub(super) struct Tally {
    block: String,
    elements: u64,
    base: f64,
    /// Inner products, row by row, both halves.
    products: Vec<f64>,
    /// Elements that both change, and those of the same sign, for i < j at i n + j.
    both: Vec<[u64; 2]>,
    sum: f64,
    total: f64,
    /// Sum of all |change| at the weights, and of each ingredient's squared change at them.
    parts: f64,
    weighted: Vec<f64>,
    kept: Vec<[f64; DENSITIES.len()]>,
    bins: Vec<[f64; 2]>,
}

impl Tally {
    /// Of `count` ingredients.
    pub fn new(block: &str, count: usize) -> Tally {
        Tally {
            block: block.into(),
            elements: 0,
            base: 0.0,
            products: vec![0.0; count * count],
            both: vec![[0; 2]; count * count],
            sum: 0.0,
            total: 0.0,
            parts: 0.0,
            weighted: vec![0.0; count],
            kept: vec![[0.0; DENSITIES.len()]; count],
            bins: Vec::new(),
        }
    }

    /// The block's name.
    pub fn block(&self) -> &str {
        &self.block
    }

    /// True where an ingredient changes anything.
    pub fn is_changed(&self) -> bool {
        let count = self.weighted.len();
        (0..count).any(|i| self.products[i * count + i] > 0.0)
    }

    /// Adds a tensor: the base's values, the changes at weight 1, the weights.
    pub fn add(&mut self, base: &[f32], changes: &[Option<Vec<f32>>], weights: &[f64]) {
        let there: Vec<(usize, &[f32])> =
            changes.iter().enumerate().filter_map(|(i, c)| Some((i, c.as_deref()?))).collect();
        let count = changes.len();
        self.elements += base.len() as u64;
        self.base += base.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        for (at, (i, a)) in there.iter().enumerate() {
            for (j, b) in &there[at..] {
                let (mut dot, mut both, mut same) = (0f64, 0u64, 0u64);
                for (x, y) in a.iter().zip(*b) {
                    let product = f64::from(*x) * f64::from(*y);
                    dot += product;
                    both += u64::from(product != 0.0);
                    same += u64::from(product > 0.0);
                }
                self.products[i * count + j] += dot;
                if i != j {
                    self.products[j * count + i] += dot;
                    self.both[i * count + j][0] += both;
                    self.both[i * count + j][1] += same;
                }
            }
            self.weighted[*i] += weights[*i].powi(2) * a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            self.trim(*i, a);
        }
        for e in 0..base.len() {
            let (mut sum, mut parts) = (0f64, 0f64);
            for (i, change) in &there {
                let change = weights[*i] * f64::from(change[e]);
                sum += change;
                parts += change.abs();
            }
            self.sum += sum * sum;
            self.total += sum.abs();
            self.parts += parts;
        }
    }

    /// The energy that a trim of one tensor keeps: a histogram of magnitudes, the largest first, the last bin in part.
    fn trim(&mut self, i: usize, change: &[f32]) {
        self.bins.clear();
        self.bins.resize(BINS, [0.0; 2]);
        for v in change {
            let bin = &mut self.bins[(v.abs().to_bits() >> 16) as usize];
            bin[0] += 1.0;
            bin[1] += f64::from(*v).powi(2);
        }
        let wanted = DENSITIES.map(|d| (d * change.len() as f64).floor().max(1.0));
        let (mut number, mut energy, mut next) = (0.0, 0.0, 0);
        for bin in self.bins.iter().rev().filter(|b| b[0] > 0.0) {
            while next < wanted.len() && number + bin[0] >= wanted[next] {
                self.kept[i][next] += energy + bin[1] * (wanted[next] - number) / bin[0];
                next += 1;
            }
            number += bin[0];
            energy += bin[1];
        }
    }

    /// What follows.
    pub fn figures(&self) -> BlockFigures {
        let count = self.weighted.len();
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let norms: Vec<f64> = (0..count).map(|i| self.products[i * count + i].sqrt()).collect();
        let mut pairs = Vec::new();
        for a in 0..count {
            for b in a + 1..count {
                let [both, same] = self.both[a * count + b];
                pairs.push(Pair {
                    a,
                    b,
                    cosine: share(self.products[a * count + b], norms[a] * norms[b]),
                    agreement: share(same as f64, both as f64),
                });
            }
        }
        let longest = norms.iter().copied().fold(0.0, f64::max);
        let lengths: Vec<f64> = self.weighted.iter().map(|w| w.sqrt()).collect();
        // Of independent changes the squares add up: what is left is the length of the sum of squares, of the sum of lengths.
        let chance = 1.0 - share(self.weighted.iter().sum::<f64>().sqrt(), lengths.iter().sum::<f64>());
        BlockFigures {
            block: self.block.clone(),
            elements: self.elements,
            base: self.base.sqrt(),
            sum: self.sum.sqrt(),
            range: share(self.sum.sqrt(), longest),
            interference: if self.parts > 0.0 { 1.0 - self.total / self.parts } else { 0.0 },
            chance: if self.parts > 0.0 { chance } else { 0.0 },
            pairs,
            kept: (0..count).map(|i| self.kept[i].map(|k| share(k, norms[i].powi(2)))).collect(),
            norms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn near(a: f64, b: f64, most: f64) -> bool {
        (a - b).abs() <= most
    }

    /// Against the definitions, written out, over two tensors of which one is left alone by the second ingredient.
    #[test]
    fn figures_are_their_definitions() {
        let (base, a, b) = (random(3001, 1), random(3001, 2), random(3001, 3));
        let (base2, a2) = (random(70, 4), random(70, 5));
        let mut tally = Tally::new("unet.mid", 2);
        tally.add(&base, &[Some(a.clone()), Some(b.clone())], &[0.5, 2.0]);
        tally.add(&base2, &[Some(a2.clone()), None], &[0.5, 2.0]);
        let found = tally.figures();
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let (a, b, a2) = (wide(&a), wide(&b), wide(&a2));
        let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        let norms = [(square(&a) + square(&a2)).sqrt(), square(&b).sqrt()];
        assert!(near(found.norms[0], norms[0], 1e-9) && near(found.norms[1], norms[1], 1e-9));
        let dot: f64 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
        assert!(near(found.pairs[0].cosine, dot / norms[0] / norms[1], 1e-12));
        let same = a.iter().zip(&b).filter(|(x, y)| **x * **y > 0.0).count() as f64;
        assert!(near(found.pairs[0].agreement, same / 3001.0, 1e-3));
        let total: Vec<f64> =
            a.iter().zip(&b).map(|(x, y)| 0.5 * x + 2.0 * y).chain(a2.iter().map(|x| 0.5 * x)).collect();
        assert!(near(found.sum, square(&total).sqrt(), 1e-9));
        assert!(near(found.range, square(&total).sqrt() / norms[0].max(norms[1]), 1e-9));
        let parts: f64 =
            a.iter().chain(&a2).map(|x| 0.5 * x.abs()).sum::<f64>() + b.iter().map(|x| 2.0 * x.abs()).sum::<f64>();
        let left: f64 = total.iter().map(|x| x.abs()).sum();
        assert!(near(found.interference, 1.0 - left / parts, 1e-12));
        // The energy of a trim, by sorting.
        for (d, density) in DENSITIES.iter().enumerate() {
            let kept = |v: &[f64]| {
                let mut v = v.to_vec();
                v.sort_by(|x, y| y.abs().total_cmp(&x.abs()));
                square(&v[..(density * v.len() as f64) as usize])
            };
            assert!(near(found.kept[0][d], (kept(&a) + kept(&a2)) / norms[0].powi(2), 0.01), "{density}");
        }
    }

    /// Equal changes lose nothing, opposite ones everything, unrelated ones what `chance` says.
    #[test]
    fn interference_tells_the_three_cases_apart() {
        let of = |a: Vec<f32>, b: Vec<f32>| {
            let mut tally = Tally::new("all", 2);
            tally.add(&vec![0.0; a.len()], &[Some(a), Some(b)], &[1.0, 1.0]);
            tally.figures()
        };
        // Sums of uniform numbers are nearly normal.
        let normal = |seed: u32| -> Vec<f32> {
            let parts: Vec<Vec<f32>> = (0..6).map(|i| random(20_000, seed + i)).collect();
            (0..20_000).map(|e| parts.iter().map(|p| p[e]).sum()).collect()
        };
        let a = normal(1);
        let same = of(a.clone(), a.clone());
        assert!(near(same.interference, 0.0, 1e-12) && near(same.range, 2.0, 1e-9));
        let against = of(a.clone(), a.iter().map(|v| -v).collect());
        assert!(near(against.interference, 1.0, 1e-12) && near(against.pairs[0].cosine, -1.0, 1e-9));
        let unrelated = of(a, normal(50));
        assert!(near(unrelated.interference, unrelated.chance, 0.01), "{unrelated:?}");
        assert!(near(unrelated.chance, 1.0 - 0.5f64.sqrt(), 0.01));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let mut tally = Tally::new("all", 2);
        tally.add(&[], &[Some(Vec::new()), None], &[1.0, 1.0]);
        tally.add(&[1.0], &[Some(vec![0.0]), Some(vec![0.0])], &[1.0, 1.0]);
        let found = tally.figures();
        let numbers = [found.range, found.interference, found.chance, found.pairs[0].cosine, found.kept[0][0]];
        assert!(numbers.iter().all(|v| *v == 0.0), "{found:?}");
        assert!(!tally.is_changed());
    }
}
