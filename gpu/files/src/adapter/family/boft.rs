//! BOFT: orthogonal butterflies (Liu et al., arXiv 2311.06243).
//!
//! LyCORIS stores `oft_blocks` [stages, count, size, size] and turns a layer's outputs; at a strength every stage is blended with the
//! identity (lycoris/functional/boft.py). peft stores `boft_R` of the same shape and `boft_s`, and turns its inputs; its skew matrices are
//! (B - B^T) / 2 and its permutations those of `block_butterfly_perm`.

use super::oft::check_rescale;
use super::orthogonal::Blocks;
use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Axis, Change, Changes, Extent, Mixing, Stage};

pub(super) struct Boft;

impl Family for Boft {
    fn id(&self) -> &'static str {
        "boft"
    }

    fn label(&self) -> &'static str {
        "BOFT"
    }

    fn citation(&self) -> &'static str {
        "Liu et al., Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization, arXiv 2311.06243"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".boft_R", "boft_r"), (".boft_S", "boft_s"), (".boft_s", "boft_s")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("boft_r") || group.shape("oft_blocks").len() == 4
    }

    fn takes(&self, _: &Group, role: &str) -> bool {
        matches!(role, "boft_r" | "boft_s" | "oft_blocks" | "rescale")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let peft = group.has("boft_r");
        let shape = group.need(if peft { "boft_r" } else { "oft_blocks" })?;
        let &[stages, count, size, other] = shape else {
            return Err(format!("its blocks have shape {shape:?}; expected [stages, count, size, size]"));
        };
        if size != other || stages * count * size == 0 {
            return Err(format!("its blocks have shape {shape:?}; expected squares"));
        }
        // Stage i pairs half blocks 2^i apart, so 2^i of them must fit.
        if stages > 1 && (size % 2 != 0 || stages > 30 || !count.is_multiple_of(1 << (stages - 1))) {
            return Err(format!("{count} blocks of {size} make no butterfly of {stages} stages"));
        }
        if peft {
            return Ok(Built::new(Fits::Columns(count * size), Some(size), 1.0));
        }
        check_rescale(group, count * size)?;
        Ok(Built::new(Fits::Rows(count * size), Some(size), 1.0))
    }

    fn changes(&self, values: &Values, _: &Module, extent: Extent) -> Result<Changes, String> {
        let peft = values.get("boft_r");
        let stored = peft.map_or_else(|| values.need("oft_blocks"), Ok)?;
        let &[count, blocks, size, _] = &stored.shape[..] else { return Err("its blocks have a wrong shape".into()) };
        let n = blocks * size;
        let expected = if peft.is_some() { extent.width() } else { extent.rows };
        if n != expected {
            return Err(format!("its butterfly spans {n}, the weight {expected}"));
        }
        let mut skew = Blocks::skew(&stored.data, size, if peft.is_some() { 0.5 } else { 1.0 });
        let rows = if peft.is_some() {
            values.get("boft_s").map(|s| s.data.clone())
        } else {
            skew.constrain(values.get("alpha").and_then(|a| a.data.first()).map_or(0.0, |a| f64::from(*a) * n as f64));
            values.get("rescale").map(|r| r.data.clone())
        };
        if let Some(rows) = rows.as_ref().filter(|r| r.len() != extent.rows) {
            return Err(format!("it has {} factors for the weight's {} rows", rows.len(), extent.rows));
        }
        // peft: (I - S) (I + S)^-1, LyCORIS: (I + Q) (I - Q)^-1.
        let turned = skew.cayley(peft.is_some())?;
        let stages = turned.chunks_exact(n * size).enumerate().map(|(i, turned)| {
            let order =
                if peft.is_some() { peft_order(n, blocks, size, i, count) } else { Some(lycoris_order(n, size, i)) };
            Stage { size, blocks: turned.to_vec(), order }
        });
        let axis = if peft.is_some() { Axis::Width } else { Axis::Rows };
        let mixing = Mixing { axis, stages: stages.collect(), rows, by_stage: peft.is_none() };
        Ok(Changes { weight: Some(Change::Mixing(mixing)), bias: None })
    }
}

/// LyCORIS: elements (c, g, k) in the order (c, k, g), with two groups g and k = 2^stage size / 2.
fn lycoris_order(n: usize, size: usize, stage: usize) -> Vec<u32> {
    let k = ((1usize << stage) * (size / 2)).max(1);
    if size < 2 {
        return (0..n as u32).collect();
    }
    let place = |l: usize| l / (2 * k) * 2 * k + l % 2 * k + l % (2 * k) / 2;
    (0..n).map(|l| place(l) as u32).collect()
}

/// peft's `block_butterfly_perm(n, blocks / 2^stage, size / 2, stages - 1)`, inverted: in every stretch of n / blocks 2^stage the even half
/// blocks come first.
fn peft_order(n: usize, blocks: usize, size: usize, stage: usize, stages: usize) -> Option<Vec<u32>> {
    if stages < 2 {
        return None;
    }
    let (half, stretch) = (size / 2, n / (blocks >> stage).max(1));
    let steps = stretch / half;
    let sorted: Vec<usize> = (0..steps).step_by(2).chain((1..steps).step_by(2)).collect();
    let mut order = vec![0u32; n];
    for i in 0..n {
        let (start, within) = (i / stretch * stretch, i % stretch);
        order[start + sorted[within / half] * half + within % half] = i as u32;
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_permutations() {
        for stage in 0..3 {
            for order in [lycoris_order(32, 4, stage), peft_order(32, 8, 4, stage, 3).unwrap()] {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..32).collect::<Vec<u32>>(), "{order:?}");
            }
        }
        // Half blocks of two: stage 0 leaves blocks of four whole.
        assert_eq!(peft_order(16, 4, 4, 1, 2).unwrap()[..8], [0, 1, 4, 5, 2, 3, 6, 7]);
    }
}
