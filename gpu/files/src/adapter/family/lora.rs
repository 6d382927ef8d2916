//! LoRA (Hu et al., arXiv 2106.09685) and its convolutional form LoCon, with LyCORIS' Tucker variant (`lora_mid`,
//! Hyeon-Woo et al., arXiv 2108.06098).

use super::{Built, Family, Group, Scaling};
use crate::adapter::Delta;

pub(super) struct Lora;

impl Family for Lora {
    fn id(&self) -> &'static str {
        "lora"
    }

    fn label(&self) -> &'static str {
        "LoRA"
    }

    fn citation(&self) -> &'static str {
        "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (".lora_up.weight", "up"),
            (".lora_down.weight", "down"),
            (".lora_mid.weight", "mid"),
            (".lora_B.weight", "up"),
            (".lora_A.weight", "down"),
            (".lora_B", "up"),
            (".lora_A", "down"),
            (".lora.up.weight", "up"),
            (".lora.down.weight", "down"),
            ("_lora.up.weight", "up"),
            ("_lora.down.weight", "down"),
            (".lora_linear_layer.up.weight", "up"),
            (".lora_linear_layer.down.weight", "down"),
        ]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("up") && group.has("down")
    }

    fn build(&self, group: &Group, scaling: &Scaling) -> Result<Built, String> {
        let (Some(up), Some(down)) = (group.get("up"), group.get("down")) else {
            return Err("one of its two factors is missing".into());
        };
        let (u, d) = (&up.info.shape, &down.info.shape);
        let flat = |shape: &[usize]| matches!(shape, [_, _] | [_, _, 1] | [_, _, 1, 1]);
        if !flat(u) {
            return Err(format!("its up factor has shape {u:?}; expected [out, rank] or [out, rank, 1, 1]"));
        }
        if !(2..=4).contains(&d.len()) {
            return Err(format!("its down factor has shape {d:?}; expected [rank, in] or [rank, in, kh, kw]"));
        }
        let (outer, inner) = (u[1], d[0]);
        if let Some(mid) = group.get("mid") {
            let m = &mid.info.shape;
            if m.len() < 2 || m[0] != outer || m[1] != inner || !flat(d) {
                return Err(format!("its factors do not fit together: up {u:?}, mid {m:?}, down {d:?}"));
            }
        } else if outer != inner {
            return Err(format!("its factors have different ranks: up {u:?}, down {d:?}"));
        }
        if outer == 0 || inner == 0 {
            return Err("its rank is 0".into());
        }
        let delta = Delta::LowRank { up: up.clone(), down: down.clone(), mid: group.get("mid").cloned() };
        Ok(Built { delta, rank: Some(inner), scale: scaling.at(inner) })
    }

    /// LoCon is what people call a LoRA on convolutions larger than 1x1.
    fn refine(&self, built: &Built) -> Option<&'static str> {
        let Delta::LowRank { down, mid, .. } = &built.delta else { return None };
        let kernel = |shape: &[usize]| shape.iter().skip(2).any(|k| *k > 1);
        let spatial = kernel(&down.info.shape) || mid.as_ref().is_some_and(|m| kernel(&m.info.shape));
        spatial.then_some("locon")
    }
}
