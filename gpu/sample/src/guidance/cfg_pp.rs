//! CFG++: noise is put back as the unconditional branch sees it.

use super::{Guidance, Step};
use crate::{Info, Knob, Result};

/// Chung et al. 2024. The solver follows the unconditional estimate, and each step ends with the guidance of its first evaluation, scale (cond -
/// uncond), added: with Euler, ancestral Euler and gradient estimation that is what ComfyUI's samplers of those names with `_cfg_pp` do. DPM++ 2M and 2S
/// and RES multistep differ a little there, and do so here too ([`crate::names`] has all names). The scale is then between 0 and 1 or a little more.
pub struct CfgPp;

/// On or off; the plan of the solver reads it.
pub const CFG_PP: Knob = Knob::choice(
    "cfg_pp",
    "CFG++",
    &["off", "on"],
    "follow the unconditional estimate and add guidance at each step's end; use CFG 0.6 to 1.5",
);

impl Guidance for CfgPp {
    fn info(&self) -> Info {
        Info {
            name: "cfg_pp",
            label: "CFG++",
            citation: "Chung et al. 2024, arXiv 2406.08070; ComfyUI sample_euler_cfg_pp",
            knobs: &[CFG_PP],
            aliases: &["cfg++"],
        }
    }

    /// [`crate::plan::Builder`] does it.
    fn apply(&self, _: &mut Step<'_>) -> Result<()> {
        Ok(())
    }
}
