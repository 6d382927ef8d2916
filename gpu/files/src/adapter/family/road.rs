//! RoAd: 2D rotations with lengths of a layer's outputs, the bias included (Liao and Monz, arXiv 2409.00119), as peft stores it
//! (`road_theta`, `road_alpha`). The variant (1, 2 or 4 parameters a row pair) is told by the count; the group size is in peft's
//! configuration, 64 without one.

use super::{BiasUse, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Axis, Change, Changes, Extent, Mixing, Stage};

pub(super) struct Road;

impl Family for Road {
    fn id(&self) -> &'static str {
        "road"
    }

    fn label(&self) -> &'static str {
        "RoAd"
    }

    fn citation(&self) -> &'static str {
        "Liao and Monz, 3-in-1: 2D Rotary Adaptation for Efficient Finetuning, arXiv 2409.00119"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".road_theta", "road_theta"), (".road_alpha", "road_alpha")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("road_theta")
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        let (theta, alpha) = (group.need("road_theta")?, group.need("road_alpha")?);
        let (&[n], &[m]) = (theta, alpha) else {
            return Err(format!("its angles and lengths have shapes {theta:?} and {alpha:?}; expected vectors"));
        };
        if n != m || n == 0 {
            return Err(format!("it has {n} angles and {m} lengths"));
        }
        let fits = match settings.field("variant").and_then(|v| v.as_str()) {
            Some("road_1") => Fits::Rows(2 * n),
            Some("road_2") => Fits::Rows(n),
            Some("road_4") => Fits::Rows(n / 2),
            _ => Fits::Any,
        };
        Ok(Built { bias: BiasUse::IfThere, ..Built::new(fits, None, 1.0) })
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        let (theta, alpha) = (&values.need("road_theta")?.data, &values.need("road_alpha")?.data);
        let (rows, group) = (extent.rows, module.settings.number("group_size", 64.0) as usize);
        let half = group / 2;
        if group == 0 || group % 2 != 0 || rows % group != 0 {
            return Err(format!("its groups of {group} do not divide the weight's {rows} rows"));
        }
        // Where the parameter of a row lies: for its own value, and for its partner's.
        let places = |row: usize| -> Option<[usize; 2]> {
            let (block, within) = (row / group, row % group);
            if 2 * theta.len() == rows {
                Some([block * half + within % half; 2])
            } else if theta.len() == rows {
                Some([row; 2])
            } else if theta.len() == 2 * rows {
                Some([2 * block * group + within, (2 * block + 1) * group + within])
            } else {
                None
            }
        };
        let mut blocks = Vec::with_capacity(2 * rows);
        let mut order = Vec::with_capacity(rows);
        for first in (0..rows).filter(|r| r % group < half) {
            let second = first + half;
            let count = || format!("it has {} angles for the weight's {rows} rows", theta.len());
            let [a, b] = [places(first).ok_or_else(count)?, places(second).ok_or_else(count)?];
            let cos = |i: usize| alpha[i] as f64 * f64::from(theta[i]).cos();
            let sin = |i: usize| alpha[i] as f64 * f64::from(theta[i]).sin();
            blocks.extend([cos(a[0]), -sin(a[1]), sin(b[1]), cos(b[0])].map(|v| v as f32));
            order.extend([first as u32, second as u32]);
        }
        let stages = vec![Stage { size: 2, blocks, order: Some(order) }];
        let change = Change::Mixing(Mixing { axis: Axis::Rows, stages, rows: None, by_stage: false });
        Ok(Changes { weight: Some(change.clone()), bias: Some(change) })
    }
}
