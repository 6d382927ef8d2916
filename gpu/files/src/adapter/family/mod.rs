//! Kinds of adapters. To add one: a file here that implements [`Family`], and its line in [`families`].

mod lora;
mod recognised;

use super::{Delta, Slot};
use indexmap::IndexMap;

/// A kind of change to a weight.
pub trait Family: Sync {
    /// Identifier, as reports name the type: `lora`, `loha`, ...
    fn id(&self) -> &'static str;

    /// Name in sentences.
    fn label(&self) -> &'static str;

    /// The paper or file format.
    fn citation(&self) -> &'static str;

    /// Endings of keys that belong to it, each with the role that the tensor plays. What is before the ending is the
    /// module's name. Of all families' endings the longest that fits counts.
    fn endings(&self) -> &'static [(&'static str, &'static str)];

    /// Whether a module with these tensors is of this kind. The first family in the registry to say so has it.
    fn claims(&self, group: &Group) -> bool;

    /// Checks the tensors of one module and says how they change its weight. `Err` is the reason why they cannot.
    fn build(&self, group: &Group, scaling: &Scaling) -> Result<Built, String>;

    /// Whether its changes are applied; otherwise it is recognised, named and refused.
    fn is_applied(&self) -> bool {
        true
    }

    /// A narrower type for reports, where one module makes the whole file that type (`locon` for `lora`).
    fn refine(&self, _built: &Built) -> Option<&'static str> {
        None
    }
}

/// The tensors of one module, by role.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Tensors by role.
    pub slots: IndexMap<&'static str, Slot>,
}

impl Group {
    /// Whether there is a tensor of that role.
    pub fn has(&self, role: &str) -> bool {
        self.slots.contains_key(role)
    }

    /// The tensor of that role.
    pub fn get(&self, role: &str) -> Option<&Slot> {
        self.slots.get(role)
    }
}

/// What determines a module's scale.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaling {
    /// Alpha, from the file or from settings beside it; without one the scale is 1.
    pub alpha: Option<f64>,
    /// Divide by the root of the rank instead of by the rank (rsLoRA, arXiv 2312.03732).
    pub rank_stabilised: bool,
}

impl Scaling {
    /// The scale at a rank.
    pub fn at(&self, rank: usize) -> f64 {
        match self.alpha {
            None => 1.0,
            Some(alpha) if self.rank_stabilised => alpha / (rank as f64).sqrt(),
            Some(alpha) => alpha / rank as f64,
        }
    }
}

/// A module that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// How it changes the weight.
    pub delta: Delta,
    /// Rank, if there is such a thing.
    pub rank: Option<usize>,
    /// Scale of the delta.
    pub scale: f64,
}

/// All kinds, those with the most telling tensors first.
pub fn families() -> &'static [&'static dyn Family] {
    &FAMILIES
}

// DoRA is a LoRA with one tensor more, so it must be asked before LoRA.
static FAMILIES: [&dyn Family; 16] = [
    &recognised::DORA,
    &recognised::LOHA,
    &recognised::LOKR,
    &recognised::GLORA,
    &recognised::BOFT,
    &recognised::OFT,
    &recognised::IA3,
    &recognised::SHIRA,
    &recognised::VERA,
    &recognised::HRA,
    &recognised::BITDELTA,
    &recognised::LORA_EMBEDDING,
    &lora::Lora,
    &recognised::FULL,
    &recognised::NORM,
    &recognised::EMBEDDING,
];

/// The kind of that identifier.
pub fn family(id: &str) -> Option<&'static dyn Family> {
    families().iter().copied().find(|f| f.id() == id)
}

/// Role of the tensor that states alpha, for every family.
pub(super) const ALPHA: &str = "alpha";

/// Splits a key into module name and role. The last item tells whether no checkpoint would have such a key.
pub(super) fn split_key(key: &str) -> Option<(&str, &'static str, bool)> {
    let mut best: Option<(&str, &'static str, bool)> = None;
    let mut offer = |module: &str, role: &'static str, telling: bool, at: usize| {
        if !module.is_empty() && best.is_none_or(|(m, ..)| at < m.len()) {
            best = Some((&key[..at], role, telling));
        }
    };
    if let Some(module) = key.strip_suffix(".alpha") {
        offer(module, ALPHA, true, module.len());
    }
    for f in families() {
        for (ending, role) in f.endings() {
            if let Some(module) = key.strip_suffix(ending) {
                offer(module, role, !recognised::ORDINARY.contains(ending), module.len());
            }
        }
    }
    // peft keeps the adapter's own name between: `.lora_A.default.weight`.
    if best.is_none()
        && let Some((rest, _name)) = key.strip_suffix(".weight").and_then(|k| k.rsplit_once('.'))
    {
        for (ending, role) in [(".lora_A", "down"), (".lora_B", "up"), (".lora_magnitude_vector", "magnitude")] {
            if let Some(module) = rest.strip_suffix(ending) {
                return Some((module, role, true));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_into_module_and_role() {
        for (key, module, role) in [
            ("lora_unet_a_b.lora_up.weight", "lora_unet_a_b", "up"),
            ("lora_unet_a_b.alpha", "lora_unet_a_b", "alpha"),
            ("base_model.model.a.b.lora_A.weight", "base_model.model.a.b", "down"),
            ("a.b.lora_B.default.weight", "a.b", "up"),
            ("a.b.lora_B.default_0.weight", "a.b", "up"),
            ("unet.a.attn1.processor.to_q_lora.down.weight", "unet.a.attn1.processor.to_q", "down"),
            ("te.q_proj.lora_linear_layer.up.weight", "te.q_proj", "up"),
            ("unet.to_q.lora.down.weight", "unet.to_q", "down"),
            ("m.lora_mid.weight", "m", "mid"),
            ("m.hada_w1_a", "m", "w1_a"),
            ("m.lokr_w2", "m", "w2"),
            ("m.dora_scale", "m", "magnitude"),
            ("m.lora_magnitude_vector", "m", "magnitude"),
            ("m.lora_magnitude_vector.default.weight", "m", "magnitude"),
        ] {
            let (m, r, telling) = split_key(key).expect(key);
            assert_eq!((m, r, telling), (module, role, true), "{key}");
        }
        for key in ["unet.conv_in.weight", ".lora_up.weight", "", "alpha", "a.b.weight"] {
            assert!(split_key(key).is_none_or(|s| !s.2), "{key}");
        }
    }

    #[test]
    fn identifiers_are_unique() {
        let mut ids: Vec<_> = families().iter().map(|f| f.id()).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
