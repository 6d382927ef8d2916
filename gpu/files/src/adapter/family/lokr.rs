//! LoKr: a Kronecker product whose sides are whole, low-rank or Tucker products (Edalati et al., KronA, arXiv 2212.10650; LyCORIS,
//! arXiv 2309.14859). The rank is that of the side that has one. With two whole sides LyCORIS' scale is 1, peft's is alpha / r of its
//! configuration.

use super::{Array, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Change, Changes, Extent};
use crate::adapter::{Factors, Module};

pub(super) struct Lokr;

impl Family for Lokr {
    fn id(&self) -> &'static str {
        "lokr"
    }

    fn label(&self) -> &'static str {
        "LoKr"
    }

    fn citation(&self) -> &'static str {
        "Edalati et al., KronA, arXiv 2212.10650; LyCORIS, arXiv 2309.14859"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (".lokr_w1", "w1"),
            (".lokr_w2", "w2"),
            (".lokr_w1_a", "lokr_w1_a"),
            (".lokr_w1_b", "lokr_w1_b"),
            (".lokr_w2_a", "lokr_w2_a"),
            (".lokr_w2_b", "lokr_w2_b"),
            (".lokr_t2", "lokr_t2"),
        ]
    }

    fn claims(&self, group: &Group) -> bool {
        ["w1", "w2", "lokr_w1_a", "lokr_w2_a"].iter().any(|r| group.has(r))
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        let (mut rank, mut ranks) = (None, Vec::new());
        let mut side = |whole: &str, a: &str, b: &str, t: &str| -> Result<[usize; 2], String> {
            if group.has(whole) {
                return match group.shape(whole) {
                    [rows, rest @ ..] if !rest.is_empty() => Ok([*rows, rest.iter().product()]),
                    other => Err(format!("its side `{whole}` has shape {other:?}; expected a matrix")),
                };
            }
            let (a, b, t) = (group.need(a)?, group.need(b)?, group.shape(t));
            let (&[a0, a1], &[b0, ref columns @ ..]) = (a, b) else {
                return Err(format!("its factors have shapes {a:?} and {b:?}; expected matrices"));
            };
            let columns: usize = columns.iter().product();
            rank = rank.or(Some(b0));
            ranks.push(b0);
            match t {
                [] if a1 == b0 => Ok([a0, columns]),
                [m, n, taps @ ..] if *m == a0 && *n == b0 => Ok([a1, columns * taps.iter().product::<usize>()]),
                _ => Err(format!("its factors do not fit together: {a:?}, {b:?}, middle {t:?}")),
            }
        };
        let [a, c] = side("w1", "lokr_w1_a", "lokr_w1_b", "")?;
        let [b, d] = side("w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")?;
        if [a, b, c, d].contains(&0) || ranks.contains(&0) {
            return Err("one of its sides is empty".into());
        }
        let scale = match (rank, settings.rank, settings.alpha) {
            // peft's scale is of its stated rank even where that exceeds what a factor holds.
            (_, Some(rank), Some(alpha)) if rank > 0.0 => alpha / rank,
            (Some(rank), ..) => settings.at(rank),
            _ => 1.0,
        };
        Ok(Built::new(Fits::Matrix(a * b, c * d), rank, scale))
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        type Side = ((Vec<f32>, [usize; 2]), Option<Factors>);
        let side = |whole: &str, a: &str, b: &str, t: &str| -> Result<Side, String> {
            let sized = |values: Vec<f32>, rows: usize| {
                let columns = values.len().checked_div(rows).unwrap_or(0);
                (values, [rows, columns])
            };
            if let Some(Array { shape, data }) = values.get(whole) {
                return Ok((sized(data.clone(), shape[0]), None));
            }
            let (a, b) = (values.need(a)?, values.need(b)?);
            let factors = match values.get(t) {
                None => Factors::new(a.data.clone(), b.data.clone(), b.shape[0], 1.0)?,
                Some(t) => {
                    let taps = t.shape.iter().skip(2).product();
                    Factors::tucker(a.transposed(), &t.data, &b.data, [a.shape[0], b.shape[0], taps], 1.0)?
                }
            };
            Ok((sized(factors.delta(), factors.out), Some(factors)))
        };
        let (first, one) = side("w1", "lokr_w1_a", "lokr_w1_b", "")?;
        let (second, two) = side("w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")?;
        Ok(Changes {
            weight: Some(Change::Kronecker { first, second, scale: module.scale, factors: [one, two] }),
            bias: None,
        })
    }
}
