//! DoRA (Liu et al., arXiv 2402.09353): a change of the weight's direction, and lengths apart from it: V = W + D, W' = m V / |V|.
//!
//! LyCORIS and kohya write `dora_scale`, shaped like the dimension that keeps its length: [out, 1, ..] for each output, or (old LyCORIS)
//! [1, in, ..] for each input. peft writes `lora_magnitude_vector`, always for each output. Any change can be the direction: LyCORIS
//! has DoRA on LoHa and LoKr. Strengths mean W + s (W' - W) here, so that 0 gives W; tools differ (tests/golden/README.md).

use super::{Built, Family, Group, Settings, Values, families};
use crate::adapter::Module;
use crate::adapter::change::{Axis, Change, Changes, Extent};

pub(super) struct Dora;

const ROLES: [&str; 2] = ["dora_scale", "magnitude"];

/// The family of the direction.
fn inner(group: &Group) -> Option<&'static dyn Family> {
    let mut rest = group.clone();
    ROLES.iter().for_each(|r| {
        rest.slots.shift_remove(r);
    });
    let found = families().iter().copied().find(|f| f.id() != Dora.id() && f.claims(&rest));
    found.filter(|f| f.is_applied() && !f.is_companion())
}

impl Family for Dora {
    fn id(&self) -> &'static str {
        "dora"
    }

    fn label(&self) -> &'static str {
        "DoRA"
    }

    fn citation(&self) -> &'static str {
        "Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv 2402.09353"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (".dora_scale", "dora_scale"),
            (".lora_magnitude_vector", "magnitude"),
            (".lora_magnitude_vector.weight", "magnitude"),
        ]
    }

    fn claims(&self, group: &Group) -> bool {
        ROLES.iter().any(|r| group.has(r))
    }

    fn takes(&self, group: &Group, role: &str) -> bool {
        ROLES.contains(&role) || inner(group).is_some_and(|inner| inner.takes(group, role))
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        let inner = inner(group).ok_or("it has lengths (DoRA), but no change of direction beside them")?;
        inner.build(group, settings)
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        let inner = inner(&module.group).ok_or("it has no change of direction")?;
        let mut changes = inner.changes(values, module, extent)?;
        let direction = changes.weight.take().ok_or("its change of direction is missing")?;
        let (magnitude, axis) = match (values.get("dora_scale"), values.get("magnitude")) {
            (Some(m), _) if m.shape.first() == Some(&extent.rows) => (m, Axis::Rows),
            (Some(m), _) => (m, Axis::Columns),
            (None, Some(m)) => (m, Axis::Rows),
            (None, None) => return Err("its lengths are missing".into()),
        };
        let expected = if axis == Axis::Rows { extent.rows } else { extent.columns };
        if magnitude.data.len() != expected {
            let (rows, columns) = (extent.rows, extent.columns);
            return Err(format!(
                "its lengths have shape {:?}; the weight has {rows} rows, {columns} columns",
                magnitude.shape
            ));
        }
        let decomposed = Change::Decomposed { inner: Box::new(direction), magnitude: magnitude.data.clone(), axis };
        Ok(Changes { weight: Some(decomposed), ..changes })
    }
}
