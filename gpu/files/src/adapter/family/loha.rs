//! LoHa: the element-wise product of two low-rank products, with or without Tucker's middle (Hyeon-Woo et al., FedPara, arXiv 2108.06098;
//! LyCORIS, arXiv 2309.14859). Scale alpha / rank, once, as LyCORIS and peft compute while they train and run; LyCORIS 4.1's
//! `get_merged_weight` multiplies it twice (LyCORIS issue 216).

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Change, Changes, Extent};
use crate::adapter::{Factors, Module};

pub(super) struct Loha;

impl Family for Loha {
    fn id(&self) -> &'static str {
        "loha"
    }

    fn label(&self) -> &'static str {
        "LoHa"
    }

    fn citation(&self) -> &'static str {
        "Hyeon-Woo et al., FedPara, arXiv 2108.06098; LyCORIS, arXiv 2309.14859"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (".hada_w1_a", "w1_a"),
            (".hada_w1_b", "w1_b"),
            (".hada_w2_a", "w2_a"),
            (".hada_w2_b", "w2_b"),
            (".hada_t1", "t1"),
            (".hada_t2", "t2"),
        ]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("w1_a") || group.has("w2_a")
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        let half = |a: &str, b: &str, t: &str| -> Result<(Fits, usize), String> {
            let (a, b) = (group.need(a)?, group.need(b)?);
            let (&[a0, a1], &[b0, b1]) = (a, b) else {
                return Err(format!("its factors have shapes {a:?} and {b:?}; expected matrices"));
            };
            let t = group.shape(t);
            let fits = match t {
                [] => a1 == b0,
                [m, n, ..] => *m == a0 && *n == b0,
                _ => false,
            };
            if !fits || b0 == 0 {
                return Err(format!("its factors do not fit together: {a:?}, {b:?}, middle {t:?}"));
            }
            if t.is_empty() {
                return Ok((Fits::Matrix(a0, b1), b0));
            }
            let mut shape = vec![a1, b1];
            shape.extend(&t[2..]);
            Ok((Fits::Whole(shape), b0))
        };
        let (first, rank) = half("w1_a", "w1_b", "t1")?;
        let (second, _) = half("w2_a", "w2_b", "t2")?;
        if first != second {
            return Err(format!("its two halves differ in size: {:?} and {:?}", first.shape(), second.shape()));
        }
        Ok(Built::new(first, Some(rank), settings.at(rank)))
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let half = |a: &str, b: &str, t: &str, scale: f64| -> Result<Factors, String> {
            let (a, b) = (values.need(a)?, values.need(b)?);
            match values.get(t) {
                None => Factors::new(a.data.clone(), b.data.clone(), b.shape[0], scale),
                // With a middle the first factor lies transposed: [rank, out].
                Some(t) => {
                    let taps = t.shape.iter().skip(2).product();
                    Factors::tucker(a.transposed(), &t.data, &b.data, [a.shape[0], b.shape[0], taps], scale)
                }
            }
        };
        let change = Change::Hadamard(half("w1_a", "w1_b", "t1", module.scale)?, half("w2_a", "w2_b", "t2", 1.0)?);
        Ok(Changes { weight: Some(change), bias: None })
    }
}
