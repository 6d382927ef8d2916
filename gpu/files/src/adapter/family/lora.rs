//! LoRA (Hu et al., arXiv 2106.09685) and its convolutional form LoCon, with LyCORIS' Tucker variant (`lora_mid`,
//! Hyeon-Woo et al., arXiv 2108.06098) and peft's `lora_bias`. LCM-LoRA (arXiv 2311.05556) is an ordinary LoRA.

use super::{BiasUse, Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Change, Changes, Extent};
use crate::adapter::{Factors, Module};

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
            (".lora_B.bias", "up_bias"),
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

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        super::lora_variants::check(settings)?;
        let (u, d) = (group.need("up")?, group.need("down")?);
        let flat = |shape: &[usize]| matches!(shape, [_, _] | [_, _, 1] | [_, _, 1, 1]);
        if !flat(u) {
            return Err(format!("its up factor has shape {u:?}; expected [out, rank] or [out, rank, 1, 1]"));
        }
        if !(2..=4).contains(&d.len()) {
            return Err(format!("its down factor has shape {d:?}; expected [rank, in] or [rank, in, kh, kw]"));
        }
        let (outer, inner) = (u[1], d[0]);
        let mut shape = vec![u[0]];
        shape.extend(&d[1..]);
        if group.has("mid") {
            let m = group.shape("mid");
            if m.len() < 2 || m[0] != outer || m[1] != inner || !flat(d) {
                return Err(format!("its factors do not fit together: up {u:?}, mid {m:?}, down {d:?}"));
            }
            shape.truncate(2);
            shape.extend(&m[2..]);
        } else if outer != inner {
            return Err(format!("its factors have different ranks: up {u:?}, down {d:?}"));
        }
        if outer == 0 || inner == 0 {
            return Err("its rank is 0".into());
        }
        if group.has("up_bias") && group.shape("up_bias") != [u[0]] {
            return Err(format!("its bias has shape {:?}; expected [{}]", group.shape("up_bias"), u[0]));
        }
        let bias = if group.has("up_bias") { BiasUse::Needed } else { BiasUse::Untouched };
        Ok(Built { bias, ..Built::new(Fits::Whole(shape), Some(inner), settings.at(inner)) })
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let bias = values.get("up_bias").map(|b| Change::Add { values: b.data.clone(), scale: module.scale });
        Ok(Changes { weight: Some(Change::LowRank(factors(values, module.scale)?)), bias })
    }

    /// LoCon is what people call a LoRA on convolutions larger than 1x1.
    fn refine(&self, group: &Group) -> Option<&'static str> {
        let kernel = |role| group.shape(role).iter().skip(2).any(|k| *k > 1);
        (kernel("down") || kernel("mid")).then_some("locon")
    }
}

/// The factors of a module with `up`, `down` and perhaps `mid`.
fn factors(values: &Values, scale: f64) -> Result<Factors, String> {
    let (up, down) = (values.need("up")?, values.need("down")?);
    let rank = down.shape[0];
    match values.get("mid") {
        None => Factors::new(up.data.clone(), down.data.clone(), rank, scale),
        Some(mid) => {
            let taps = mid.shape.iter().skip(2).product();
            Factors::tucker(up.data.clone(), &mid.data, &down.data, [up.shape[1], rank, taps], scale)
        }
    }
}
