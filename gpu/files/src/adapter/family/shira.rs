//! SHiRA: a few elements of the weight changed (Bhardwaj et al., arXiv 2406.13175), as peft stores it: `shira_weight` [n] and
//! `shira_indices` [2, n], rows above columns, as integers or floats. Elements named twice add up.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};
use crate::dtype::DType;
use std::collections::BTreeMap;

pub(super) struct Shira;

impl Family for Shira {
    fn id(&self) -> &'static str {
        "shira"
    }

    fn label(&self) -> &'static str {
        "SHiRA"
    }

    fn citation(&self) -> &'static str {
        "Bhardwaj et al., Sparse High Rank Adapters, arXiv 2406.13175"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".shira_weight", "shira_weight"), (".shira_indices", "shira_indices")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("shira_weight")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let (weight, indices) = (group.need("shira_weight")?, group.need("shira_indices")?);
        match (weight, indices) {
            (&[n], &[2, m]) if n == m => Ok(Built::new(Fits::Any, None, 1.0)),
            _ => Err(format!("its values and places have shapes {weight:?} and {indices:?}; expected [n] and [2, n]")),
        }
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        if let Some(places) = module.group.get("shira_indices")
            && let Some(exact) = whole_up_to(places.info.dtype)
            && extent.rows.max(extent.width()) > exact
        {
            let (dtype, rows, width) = (places.info.dtype.name(), extent.rows, extent.width());
            return Err(format!(
                "its places are stored as {dtype}, which tells whole numbers apart up to {exact} only; the weight is [{rows}, {width}]"
            ));
        }
        let (weight, indices) = (&values.need("shira_weight")?.data, &values.need("shira_indices")?.data);
        let (rows, columns) = indices.split_at(weight.len());
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        for ((row, column), value) in rows.iter().zip(columns).zip(weight) {
            let whole = |v: f32, limit: usize| (v >= 0.0 && v.fract() == 0.0 && v < limit as f32).then_some(v as usize);
            let (Some(r), Some(c)) = (whole(*row, extent.rows), whole(*column, extent.width())) else {
                let (rows, width) = (extent.rows, extent.width());
                return Err(format!("it changes the element [{row}, {column}] of a weight of [{rows}, {width}]"));
            };
            *sums.entry((r * extent.width() + c) as u32).or_default() += f64::from(*value) * module.scale;
        }
        let (at, values) = sums.into_iter().map(|(i, v)| (i, v as f32)).unzip();
        Ok(Changes { weight: Some(Change::Sparse { at, values }), bias: None })
    }
}

/// The whole numbers below which none is missing, for types that soon miss some.
fn whole_up_to(dtype: DType) -> Option<usize> {
    match dtype {
        DType::F16 => Some(1 << 11),
        DType::BF16 => Some(1 << 8),
        DType::F8E4M3 => Some(1 << 4),
        DType::F8E5M2 => Some(1 << 3),
        _ => None,
    }
}
