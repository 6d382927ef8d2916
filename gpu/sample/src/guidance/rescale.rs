//! Guidance rescale: the guided prediction brought back to the spread of the conditional one.

use super::{Guidance, GuideOp, Step};
use crate::{Info, Result};

/// Lin et al. 2023, section 3.4; diffusers' rescale_noise_cfg. Its strength is a flag of its own (`--cfg-rescale`).
pub struct Rescale;

impl Guidance for Rescale {
    fn info(&self) -> Info {
        Info {
            name: "cfg_rescale",
            label: "Guidance rescale",
            citation: "Lin et al. 2023, arXiv 2305.08891, section 3.4",
            knobs: &[],
            aliases: &[],
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<()> {
        let phi = step.ask.rescale;
        if phi > 0.0
            && step.is_guided()
            && let Some(guided) = step.guided.take()
        {
            let x = step.own(&guided);
            let like = step.hold(&step.cond.clone());
            step.ops.push(GuideOp::Rescale { x, like, phi });
            step.guided = Some(vec![(x, 1.0)]);
        }
        Ok(())
    }
}
