//! GLoRA as LyCORIS has it: W' = W + s (W A1 A2 + B1 B2) (Chavan et al., arXiv 2306.07967). An older layout stores every factor the other
//! way round; it is told by its shapes, as ComfyUI does.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Axis, Change, Changes, Extent, Through};
use crate::adapter::{Factors, Module};

pub(super) struct Glora;

/// Older layout: a1 [rank, in], a2 [in, rank], b1 [rank, in], b2 [out, rank]. Between equally many inputs and outputs both layouts' shapes
/// chain; there the smaller dimension is the rank.
fn is_old(a1: &[usize], a2: &[usize], b1: &[usize], b2: &[usize]) -> bool {
    let chain = |all: [Option<&usize>; 4]| all.iter().all(|d| *d == all[0]);
    let old = chain([b2.get(1), b1.first(), a1.first(), a2.get(1)]);
    let new = chain([b2.first(), b1.get(1), a1.get(1), a2.first()]);
    old && (!new || a2.first() > a2.get(1))
}

impl Family for Glora {
    fn id(&self) -> &'static str {
        "glora"
    }

    fn label(&self) -> &'static str {
        "GLoRA"
    }

    fn citation(&self) -> &'static str {
        "Chavan et al., One-for-All: Generalized LoRA, arXiv 2306.07967"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".a1.weight", "a1"), (".a2.weight", "a2"), (".b1.weight", "b1"), (".b2.weight", "b2"), (".bm.weight", "bm")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("a1") && group.has("a2")
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        let [a1, a2, b1, b2] = [group.need("a1")?, group.need("a2")?, group.need("b1")?, group.need("b2")?];
        let narrow = |s: &[usize]| s.len() >= 2 && s[2..].iter().all(|d| *d == 1) && !s.contains(&0);
        let wrong = || format!("its factors do not fit together: a1 {a1:?}, a2 {a2:?}, b1 {b1:?}, b2 {b2:?}");
        if ![a1, a2].iter().all(|s| narrow(s)) || [b1, b2].iter().any(|s| s.len() < 2 || s.contains(&0)) {
            return Err(wrong());
        }
        let old = is_old(a1, a2, b1, b2);
        let ([p, q], [up, down]) = if old { ([a2, a1], [b2, b1]) } else { ([a1, a2], [b1, b2]) };
        if p[1] != q[0] || p[0] != q[1] || up[1] != *group.shape("bm").first().unwrap_or(&down[0]) {
            return Err(wrong());
        }
        let rank = q[0];
        let mut shape = vec![up[0], down[1]];
        match group.shape("bm") {
            [] => shape.extend(&down[2..]),
            [_, n, taps @ ..] if *n == down[0] => shape.extend(taps),
            _ => return Err(wrong()),
        }
        if p[0] != shape[1] {
            return Err(wrong());
        }
        Ok(Built::new(Fits::Whole(shape), Some(rank), settings.at(rank)))
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let [a1, a2, b1, b2] = [values.need("a1")?, values.need("a2")?, values.need("b1")?, values.need("b2")?];
        let old = is_old(&a1.shape, &a2.shape, &b1.shape, &b2.shape);
        let ([p, q], [up, down]) = if old { ([a2, a1], [b2, b1]) } else { ([a1, a2], [b1, b2]) };
        let plus = match values.get("bm") {
            None => Factors::new(up.data.clone(), down.data.clone(), down.shape[0], module.scale)?,
            Some(bm) => {
                let sizes = [bm.shape[0], bm.shape[1], bm.shape.iter().skip(2).product()];
                Factors::tucker(up.data.clone(), &bm.data, &down.data, sizes, module.scale)?
            }
        };
        let through = Through {
            axis: Axis::Columns,
            rank: q.shape[0],
            into: p.data.clone(),
            back: q.data.clone(),
            scale: module.scale,
            plus: Some(plus),
        };
        Ok(Changes { weight: Some(Change::Through(through)), bias: None })
    }
}
