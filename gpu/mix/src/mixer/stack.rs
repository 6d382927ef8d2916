//! A quick look at a stack of adapters before it is used: whether it leaves the range they were trained for, and whether they work against each
//! other, block by block, from their factors alone.
//!
//! Inner products of low-rank changes need no weights: <U1 V1, U2 V2> = sum of (U1' U2) o (V1 V2'). The figures are those of
//! [`crate::understand`], with lengths in place of sums of magnitudes for what cancels. Changes that are no low-rank products are not looked at.

use std::sync::Arc;

use super::Mixer;
use crate::adapters::Part;
use crate::blocks;
use crate::low_rank::LowRank;
use crate::method::Facts;
use crate::understand::{against_line, range_line, strength_line};

/// Multiplications that a look may cost: some tenths of a second. Beyond, every n-th tensor stands for its block.
const MOST_WORK: usize = 1 << 30;

/// The inner product of two changes of one weight.
fn inner(a: &LowRank, b: &LowRank) -> f64 {
    let (mut across, mut along) = (vec![0f32; a.rank * b.rank], vec![0f32; a.rank * b.rank]);
    for (x, y) in a.up.chunks(a.rank).zip(b.up.chunks(b.rank)) {
        for (x, line) in x.iter().zip(across.chunks_mut(b.rank)) {
            line.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
        }
    }
    for (x, line) in a.down.chunks(a.width).zip(along.chunks_mut(b.rank)) {
        for (y, sum) in b.down.chunks(b.width).zip(line) {
            *sum = x.iter().zip(y).map(|(x, y)| x * y).sum();
        }
    }
    let sum: f64 = across.iter().zip(&along).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    sum * a.scale * b.scale
}

/// Inner products of all changes of a block, row by row: at weight 1, and at the recipe's weights.
struct Block {
    name: String,
    plain: Vec<f64>,
    weighted: Vec<f64>,
}

impl Block {
    /// What the figures of [`crate::understand::BlockFigures`] of these names are.
    fn figures(&self, count: usize) -> (f64, f64, f64) {
        let diagonal =
            |products: &[f64]| (0..count).map(|i| products[i * count + i].max(0.0).sqrt()).collect::<Vec<f64>>();
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let longest = diagonal(&self.plain).into_iter().fold(0.0, f64::max);
        let sum = self.weighted.iter().sum::<f64>().max(0.0).sqrt();
        let lengths = diagonal(&self.weighted);
        let (all, apart) = (lengths.iter().sum::<f64>(), lengths.iter().map(|l| l * l).sum::<f64>().sqrt());
        let lost = |left: f64| if all > 0.0 { 1.0 - left / all } else { 0.0 };
        (share(sum, longest), lost(sum), lost(apart))
    }
}

impl Mixer {
    /// What is to be said of the recipe's adapters together, a line each.
    pub(super) fn stack_lines(&self) -> Vec<String> {
        let used = &self.recipe.adapters;
        let mut lines: Vec<String> = used.iter().filter_map(|a| strength_line(&a.source.reference, a.weight)).collect();
        let count = self.adapters.len();
        if count < 2 || self.recipe.combine.is_some() {
            return lines;
        }
        let at = |i: usize, name: &str| match self.adapters[i].parts.get(name) {
            Some(Part::LowRank(factors)) => Some(factors),
            _ => None,
        };
        let names: Vec<&String> =
            self.base.tensors.keys().filter(|name| (0..count).any(|i| at(i, name).is_some())).collect();
        let cost = |name: &str| -> usize {
            let all: Vec<&LowRank> = (0..count).filter_map(|i| at(i, name)).collect();
            all.iter().flat_map(|a| all.iter().map(|b| a.rank * b.rank * (a.out + a.width) / 2)).sum()
        };
        let step = names.iter().map(|name| cost(name)).sum::<usize>().div_ceil(MOST_WORK).max(1);
        let names: Vec<&String> = names.into_iter().step_by(step).collect();
        // They depend on the files alone, weights do not.
        let sums: Vec<&str> = self.adapters.iter().map(|a| a.state.as_str()).collect();
        let beside: Vec<bool> = (0..count).map(|i| self.wants_beside(i)).collect();
        let key = format!("stack|{}|{sums:?}|{beside:?}", self.sum(&self.recipe.base));
        let known = self.cache.as_ref().and_then(|cache| cache.facts(&key));
        let facts = known.unwrap_or_else(|| {
            let mut numbers = Vec::with_capacity(names.len() * count * count);
            for name in &names {
                let of = |i: usize, j: usize| at(i, name).zip(at(j, name)).map_or(0.0, |(a, b)| inner(a, b));
                numbers.extend(
                    (0..count * count).map(|p| if p / count <= p % count { of(p / count, p % count) } else { 0.0 }),
                );
            }
            Arc::new(Facts { numbers, ..Facts::default() })
        });
        let mut blocks: Vec<Block> = Vec::new();
        for (name, products) in names.iter().zip(facts.numbers.chunks(count * count)) {
            let weight = |i: usize| self.adapters[i].weight(&used[i], name);
            let block = blocks::coarse(name);
            let place = blocks.iter().position(|b| b.name == block).unwrap_or_else(|| {
                let zeros = vec![0.0; count * count];
                blocks.push(Block { name: block, plain: zeros.clone(), weighted: zeros });
                blocks.len() - 1
            });
            for (p, _) in products.iter().enumerate() {
                let (i, j) = (p / count, p % count);
                let product = products[i.min(j) * count + i.max(j)];
                blocks[place].plain[p] += product;
                blocks[place].weighted[p] += weight(i) * weight(j) * product;
            }
        }
        if let Some(cache) = &self.cache {
            cache.keep_facts(key, facts);
        }
        let figures: Vec<(&str, (f64, f64, f64))> =
            blocks.iter().map(|b| (b.name.as_str(), b.figures(count))).collect();
        let range = figures.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        lines.extend(range.and_then(|(block, (range, ..))| range_line(block, *range)));
        let against = figures.iter().max_by(|a, b| (a.1.1 - a.1.2).total_cmp(&(b.1.1 - b.1.2)));
        lines.extend(against.and_then(|(block, (_, lost, chance))| against_line(block, *lost, *chance)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::low_rank::add_low_rank_reference;
    use crate::testing::random;

    #[test]
    fn inner_products_are_those_of_the_changes() {
        let low = |rank: usize, seed| {
            LowRank::new(random(7 * rank, seed), random(rank * 18, seed + 1), 7, rank, 0.5).expect("fits")
        };
        let (a, b) = (low(3, 1), low(4, 5));
        let whole = |f: &LowRank| add_low_rank_reference(&[0.0; 7 * 18], &[(f, 1.0)]);
        let expected: f64 = whole(&a).iter().zip(whole(&b)).map(|(x, y)| f64::from(*x) * f64::from(y)).sum();
        // Sums of 126 products of f32 below 4.
        assert!((inner(&a, &b) - expected).abs() < 1e-4, "{} {expected}", inner(&a, &b));
    }

    #[test]
    fn opposite_changes_cancel_and_equal_ones_add_up() {
        let block = |cosine: f64, weights: [f64; 2]| {
            let plain = vec![4.0, 4.0 * cosine, 4.0 * cosine, 4.0];
            let weighted = plain.iter().enumerate().map(|(p, v)| weights[p / 2] * weights[p % 2] * v).collect();
            Block { name: "unet.mid".into(), plain, weighted }.figures(2)
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let (range, lost, chance) = block(1.0, [1.0, 1.0]);
        assert!(near(range, 2.0) && near(lost, 0.0) && near(chance, 1.0 - 0.5f64.sqrt()));
        assert!(range_line("unet.mid", range).is_some() && against_line("unet.mid", lost, chance).is_none());
        let (range, lost, chance) = block(-0.5, [1.0, 1.0]);
        assert!(near(range, 1.0) && near(lost, 0.5));
        assert!(range_line("unet.mid", range).is_none() && against_line("unet.mid", lost, chance).is_some());
        let (range, lost, chance) = block(0.0, [0.5, 0.5]);
        assert!(near(lost, chance) && range_line("unet.mid", range).is_none());
    }
}
