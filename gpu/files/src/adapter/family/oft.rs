//! OFT: orthogonal blocks (Qiu et al., arXiv 2306.07280).
//!
//! LyCORIS and kohya store `oft_blocks` [count, size, size] and turn a layer's outputs: Q = B - B^T, shrunk as a whole to alpha * out,
//! R = (I + Q) (I - Q)^-1, W' = R^T W in every block, then `rescale`. peft stores the triangles of Q (`oft_R`) and turns its inputs:
//! W' = W R^T, R = (I - Q) (I + Q)^-1 or, by default, the Neumann series of (I + Q) (I - Q)^-1; its configuration says which, and
//! whether one block serves all.

use super::orthogonal::Blocks;
use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Axis, Change, Changes, Extent, Mixing, Stage};

pub(super) struct Oft;

/// Edge of the blocks whose triangle has so many elements.
fn edge(triangle: usize) -> Option<usize> {
    let size = ((1.0 + 8.0 * triangle as f64).sqrt() as usize).div_ceil(2);
    (size.max(1)..=size + 1).find(|n| n * (n - 1) / 2 == triangle && *n > 1)
}

impl Family for Oft {
    fn id(&self) -> &'static str {
        "oft"
    }

    fn label(&self) -> &'static str {
        "OFT"
    }

    fn citation(&self) -> &'static str {
        "Qiu et al., Controlling Text-to-Image Diffusion by Orthogonal Finetuning, arXiv 2306.07280"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (".oft_blocks", "oft_blocks"),
            (".oft_diag", "oft_blocks"),
            (".oft_R.weight", "oft_r"),
            (".oft_R", "oft_r"),
            (".rescale", "rescale"),
        ]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("oft_blocks") || group.has("oft_r")
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        if group.has("oft_r") {
            let shape = group.shape("oft_r");
            let &[count, triangle] = shape else {
                return Err(format!("its blocks have shape {shape:?}; expected [count, elements of a triangle]"));
            };
            let size =
                edge(triangle).ok_or_else(|| format!("no square block has a triangle of {triangle} elements"))?;
            let shared = settings.flag("block_share", false);
            let fits = if shared { Fits::ColumnsBy(size) } else { Fits::Columns(count * size) };
            return Ok(Built::new(fits, Some(size), 1.0));
        }
        let shape = group.need("oft_blocks")?;
        let &[count, size, other] = shape else {
            return Err(format!("its blocks have shape {shape:?}; expected [count, size, size]"));
        };
        if size != other || size == 0 || count == 0 {
            return Err(format!("its blocks have shape {shape:?}; expected squares"));
        }
        check_rescale(group, count * size)?;
        Ok(Built::new(Fits::Rows(count * size), Some(size), 1.0))
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        let s = &module.settings;
        let mixing = if let Some(packed) = values.get("oft_r") {
            let size = module.rank.unwrap_or(1);
            let mut blocks = Blocks::from_triangles(&packed.data, size);
            if s.flag("coft", false) {
                blocks.constrain_each(s.number("eps", 6e-5) / (blocks.count() as f64).sqrt());
            }
            let turned = if s.flag("use_cayley_neumann", true) {
                blocks.neumann(s.number("num_cayley_neumann_terms", 5.0).clamp(1.0, 64.0) as usize)
            } else {
                blocks.cayley(true)?
            };
            // With a shared block the same one stands at every place.
            let repeats = extent.width() / turned.len().checked_div(size).unwrap_or(1).max(1);
            if repeats * turned.len() != extent.width() * size {
                return Err(format!(
                    "its {} blocks of {size} do not fill the weight's {} inputs",
                    blocks.count(),
                    extent.width()
                ));
            }
            let stages = vec![Stage { size, blocks: turned.repeat(repeats), order: None }];
            Mixing { axis: Axis::Width, stages, rows: None, by_stage: false }
        } else {
            let stored = values.need("oft_blocks")?;
            let size = stored.shape[1];
            let mut blocks = Blocks::skew(&stored.data, size, 1.0);
            blocks.constrain(module.alpha.unwrap_or(0.0) * (blocks.count() * size) as f64);
            let stages = vec![Stage { size, blocks: blocks.cayley(true)?, order: None }];
            Mixing { axis: Axis::Rows, stages, rows: values.get("rescale").map(|r| r.data.clone()), by_stage: false }
        };
        Ok(Changes { weight: Some(Change::Mixing(mixing)), bias: None })
    }
}

/// LyCORIS' factors of the rows: one for each.
pub(super) fn check_rescale(group: &Group, rows: usize) -> Result<(), String> {
    match group.get("rescale") {
        Some(slot) if slot.info.elements() != rows => {
            Err(format!("its rescale has shape {:?}; expected one factor for each of {rows} rows", slot.info.shape))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn edges_of_triangles() {
        for size in 2..200usize {
            assert_eq!(super::edge(size * (size - 1) / 2), Some(size));
        }
        assert_eq!(super::edge(2), None);
        assert_eq!(super::edge(0), None);
    }
}
