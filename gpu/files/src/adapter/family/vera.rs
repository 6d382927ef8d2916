//! VeRA: one pair of random matrices for all layers, and two vectors for each: D = (b o B) (d o A) (Kopiczko et al., arXiv 2310.11454), as
//! peft stores it. A layer takes the first columns of A and the first rows of B that it needs. Files saved without the matrices
//! (`save_projection` false) hold only a seed of torch's generator and are refused.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Change, Changes, Extent};
use crate::adapter::{Factors, Module};

pub(super) struct Vera;

impl Family for Vera {
    fn id(&self) -> &'static str {
        "vera"
    }

    fn label(&self) -> &'static str {
        "VeRA"
    }

    fn citation(&self) -> &'static str {
        "Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation, arXiv 2310.11454"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".vera_lambda_b", "lambda_b"), (".vera_lambda_d", "lambda_d"), (".vera_A", "vera_a"), (".vera_B", "vera_b")]
    }

    fn shared(&self) -> &'static [&'static str] {
        &["vera_a", "vera_b"]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("lambda_b") || group.has("lambda_d")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let (b, d) = (group.need("lambda_b")?, group.need("lambda_d")?);
        if !group.has("vera_a") || !group.has("vera_b") {
            return Err("the file lacks its random matrices; save it with peft's `save_projection=True`".into());
        }
        let (a, wide) = (group.shape("vera_a"), group.shape("vera_b"));
        match (b, d, a, wide) {
            (&[out], &[rank], &[r, _], &[most, s]) if rank > 0 && r == rank && s == rank && out <= most => {
                Ok(Built::new(Fits::Rows(out), Some(rank), 1.0))
            }
            _ => Err(format!("its vectors {b:?} and {d:?} do not fit its matrices {a:?} and {wide:?}")),
        }
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        let [b, d] = [&values.need("lambda_b")?.data, &values.need("lambda_d")?.data];
        let [a, wide] = [values.need("vera_a")?, values.need("vera_b")?];
        let (rank, most, width) = (d.len(), a.shape[1], extent.width());
        if width > most {
            return Err(format!("its random matrix has {most} columns, the weight {width}"));
        }
        let up = b.iter().zip(wide.data.chunks(rank)).flat_map(|(b, row)| row.iter().map(move |v| b * v)).collect();
        let down =
            d.iter().zip(a.data.chunks(most)).flat_map(|(d, row)| row[..width].iter().map(move |v| d * v)).collect();
        let factors = Factors::new(up, down, rank, module.scale)?;
        Ok(Changes { weight: Some(Change::LowRank(factors)), bias: None })
    }
}
