//! Kinds of adapters. To add one: a file here that implements [`Family`], and its line in [`families`].

pub mod bitdelta;
mod boft;
mod dora;
mod full;
mod glora;
mod hra;
mod ia3;
mod loha;
mod lokr;
mod lora;
mod lora_embedding;
mod lora_variants;
mod norm;
mod oft;
mod orthogonal;
mod recognised;
mod resadapter;
mod road;
mod saved;
mod shira;
mod vera;

use super::change::{Changes, Extent};
use super::{Module, Slot};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::sync::Arc;

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

    /// Checks the shapes of one module's tensors. `Err` is the reason why they cannot be applied to any weight.
    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String>;

    /// What a module does to a weight of that shape, from its numbers. `Err` is the reason why it cannot.
    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String>;

    /// Whether it reads a tensor of that role. A module that has another is not applied: half of it would be wrong.
    fn takes(&self, _group: &Group, role: &str) -> bool {
        self.endings().iter().any(|(_, own)| *own == role)
    }

    /// Roles that stand once in a file for all of its modules.
    fn shared(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it only ever comes with modules of another kind: alone its keys are those of ordinary weights.
    fn is_companion(&self) -> bool {
        false
    }

    /// Whether its changes are applied; otherwise it is recognised, named and refused.
    fn is_applied(&self) -> bool {
        true
    }

    /// A narrower type for reports, where one module makes the whole file that type (`locon` for `lora`).
    fn refine(&self, _group: &Group) -> Option<&'static str> {
        None
    }
}

/// The tensors of one module, by role.
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// Its shape; empty where there is no such tensor.
    pub fn shape(&self, role: &str) -> &[usize] {
        self.get(role).map_or(&[], |s| &s.info.shape)
    }

    /// Its shape. `Err`: there is no such tensor.
    pub fn need(&self, role: &str) -> Result<&[usize], String> {
        self.get(role).map(|s| s.info.shape.as_slice()).ok_or_else(|| missing(role))
    }
}

fn missing(role: &str) -> String {
    format!("its tensor `{role}` is missing")
}

/// A stored tensor's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub data: Vec<f32>,
}

impl Array {
    /// The transpose of a matrix [first dimension, the rest].
    pub fn transposed(&self) -> Vec<f32> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let columns = self.data.len().checked_div(rows).unwrap_or(0);
        (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| self.data[i]).collect()
    }
}

/// The numbers of one module's tensors, by role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Arrays by role.
    pub arrays: IndexMap<&'static str, Array>,
}

impl Values {
    /// The array of that role.
    pub fn get(&self, role: &str) -> Option<&Array> {
        self.arrays.get(role)
    }

    /// The array of that role. `Err`: there is none.
    pub fn need(&self, role: &str) -> Result<&Array, String> {
        self.get(role).ok_or_else(|| missing(role))
    }
}

/// What determines a module's scale, and what peft's configuration says beside the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Alpha, from the file or from settings beside it; without one the scale is 1.
    pub alpha: Option<f64>,
    /// Divide by the root of the rank instead of by the rank (rsLoRA, arXiv 2312.03732).
    pub rank_stabilised: bool,
    /// The rank that peft's configuration states.
    pub rank: Option<f64>,
    /// All fields of peft's configuration.
    pub peft: Option<Arc<Map<String, Value>>>,
}

impl Settings {
    /// The scale at a rank.
    pub fn at(&self, rank: usize) -> f64 {
        match self.alpha {
            None => 1.0,
            Some(alpha) if self.rank_stabilised => alpha / (rank as f64).sqrt(),
            Some(alpha) => alpha / rank as f64,
        }
    }

    /// A field of peft's configuration.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.peft.as_ref()?.get(name).filter(|v| !v.is_null())
    }

    /// A switch of peft's configuration.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.field(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A number of peft's configuration.
    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.field(name).and_then(Value::as_f64).filter(|v| v.is_finite()).unwrap_or(default)
    }
}

/// Which weights a module can be applied to, as far as the shapes of its own tensors tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fits {
    /// Those of this shape, up to dimensions of one behind the second.
    Whole(Vec<usize>),
    /// Those that are this as a matrix [rows, columns * taps].
    Matrix(usize, usize),
    /// Those with so many rows.
    Rows(usize),
    /// Those with so many columns, taps counted or not.
    Columns(usize),
    /// Those whose columns, taps counted, are a multiple.
    ColumnsBy(usize),
    /// Those with so many rows, or so many columns.
    RowsOrColumns(usize),
    /// Those whose rows, in bits, fill so many bytes: rows, bytes a row.
    Packed(usize, usize),
    /// All of them, until the numbers are read.
    Any,
}

impl Fits {
    /// Whether a weight of that shape is one of them.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        let e = Extent::of(shape);
        let matrix = shape.len() >= 2;
        match *self {
            Fits::Whole(ref own) => own.len().min(shape.len()) >= 1 && plain(own) == plain(shape),
            Fits::Matrix(rows, width) => matrix && (e.rows, e.width()) == (rows, width),
            Fits::Rows(rows) => e.rows == rows,
            Fits::Columns(n) => matrix && (e.columns == n || e.width() == n),
            Fits::ColumnsBy(n) => matrix && n > 0 && e.width().is_multiple_of(n),
            Fits::RowsOrColumns(n) => e.rows == n || matrix && e.columns == n,
            Fits::Packed(rows, bytes) => matrix && e.rows == rows && e.width().div_ceil(8) == bytes,
            Fits::Any => true,
        }
    }

    /// The shape that a report gives for it.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Fits::Whole(shape) => shape.clone(),
            Fits::Matrix(rows, width) => vec![*rows, *width],
            Fits::Packed(rows, bytes) => vec![*rows, 8 * bytes],
            Fits::Rows(n) | Fits::Columns(n) | Fits::ColumnsBy(n) | Fits::RowsOrColumns(n) => vec![*n],
            Fits::Any => Vec::new(),
        }
    }

    /// The input features that it is made for, where they are known.
    pub fn columns(&self) -> Option<usize> {
        match self {
            Fits::Whole(shape) => shape.get(1).copied(),
            Fits::Matrix(_, n) | Fits::Columns(n) => Some(*n),
            _ => None,
        }
    }
}

/// A shape without dimensions of one behind the second: [o, 1] is not [o], but [o, i, 1, 1] is [o, i].
fn plain(shape: &[usize]) -> &[usize] {
    let end = shape.iter().rposition(|d| *d != 1).map_or(0, |i| i + 1).max(2).min(shape.len());
    &shape[..end]
}

/// Whether a module also changes the bias beside its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BiasUse {
    /// No.
    #[default]
    Untouched,
    /// Where there is one.
    IfThere,
    /// It holds numbers for one.
    Needed,
}

/// A module whose tensors fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// Which weights it fits.
    pub fits: Fits,
    /// Rank, if there is such a thing.
    pub rank: Option<usize>,
    /// Scale of the delta.
    pub scale: f64,
    /// What it does to the bias.
    pub bias: BiasUse,
}

impl Built {
    fn new(fits: Fits, rank: Option<usize>, scale: f64) -> Built {
        Built { fits, rank, scale, bias: BiasUse::Untouched }
    }
}

/// All kinds, those with the most telling tensors first.
pub fn families() -> &'static [&'static dyn Family] {
    &FAMILIES
}

// A DoRA is another module with one tensor more, so it must be asked before those; so must AdaLoRA.
static FAMILIES: [&dyn Family; 31] = [
    &dora::Dora,
    &recognised::ADALORA,
    &recognised::EMBEDDING,
    &loha::Loha,
    &lokr::Lokr,
    &glora::Glora,
    &boft::Boft,
    &oft::Oft,
    &ia3::Ia3,
    &shira::Shira,
    &vera::Vera,
    &hra::Hra,
    &road::Road,
    &bitdelta::BitDelta,
    &lora_embedding::LoraEmbedding,
    &lora::Lora,
    &norm::Norm,
    &full::Full,
    &saved::Saved,
    &resadapter::ResAdapter,
    &recognised::OLD_OFT,
    &recognised::FOURIERFT,
    &recognised::WAVEFT,
    &recognised::VBLORA,
    &recognised::RANDLORA,
    &recognised::C3A,
    &recognised::DELORA,
    &recognised::MISS,
    &recognised::GRALORA,
    &recognised::TLORA,
    &recognised::LN_TUNING,
];

/// The kind of that identifier.
pub fn family(id: &str) -> Option<&'static dyn Family> {
    families().iter().copied().find(|f| f.id() == id)
}

/// Role of the tensor that states alpha, for every family.
pub(super) const ALPHA: &str = "alpha";
/// Role of a difference for the bias, for every family.
pub(super) const BIAS: &str = "diff_b";
/// Role of the shape that a weight should be padded to first (ComfyUI), for every family.
pub(super) const RESHAPE: &str = "reshape_weight";
/// Role of a bias that replaces the layer's own (peft's `bias="all"` and `"lora_only"`), for every family.
pub(super) const WHOLE_BIAS: &str = "bias";

/// Endings that ordinary weights may have too: they do not make a file an adapter.
const ORDINARY: [&str; 7] = [".alpha", ".mask", ".coeff", ".rescale", ".weight", ".bias", ".diff"];

/// Splits a key into module name and role. The last item tells whether no checkpoint would have such a key.
pub(super) fn split_key(key: &str) -> Option<(&str, &'static str, bool)> {
    // peft keeps the adapter's own name between: `.lora_A.default.weight`.
    if let Some((rest, name)) = key.strip_suffix(".weight").and_then(|k| k.rsplit_once('.'))
        && !matches!(name, "lora_A" | "lora_B" | "lora_magnitude_vector")
    {
        for (ending, role) in [(".lora_A", "down"), (".lora_B", "up"), (".lora_magnitude_vector", "magnitude")] {
            if let Some(module) = rest.strip_suffix(ending).filter(|m| !m.is_empty()) {
                return Some((module, role, true));
            }
        }
    }
    // The layer that peft has wrapped.
    for (ending, role) in [(".base_layer.weight", "weight"), (".base_layer.bias", WHOLE_BIAS)] {
        if let Some(module) = key.strip_suffix(ending).filter(|m| !m.is_empty()) {
            return Some((module, role, true));
        }
    }
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
                offer(module, role, !ORDINARY.contains(ending), module.len());
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
            ("m.dora_scale", "m", "dora_scale"),
            ("m.lora_magnitude_vector", "m", "magnitude"),
            ("m.lora_magnitude_vector.weight", "m", "magnitude"),
            ("m.lora_magnitude_vector.default.weight", "m", "magnitude"),
            ("m.oft_R.weight", "m", "oft_r"),
            ("base_model.vera_A", "base_model", "vera_a"),
            ("base_model.model.a.b.base_layer.bias", "base_model.model.a.b", "bias"),
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

    #[test]
    fn shapes_are_compared_up_to_trailing_ones() {
        for (fits, shape, right) in [
            (Fits::Whole(vec![4, 3, 1, 1]), &[4, 3][..], true),
            (Fits::Whole(vec![4]), &[4, 1], false),
            (Fits::Whole(vec![4]), &[4], true),
            (Fits::Matrix(4, 27), &[4, 3, 3, 3], true),
            (Fits::Rows(4), &[4], true),
            (Fits::Columns(27), &[4, 3, 3, 3], true),
            (Fits::Columns(3), &[4, 3, 3, 3], true),
            (Fits::Columns(4), &[4], false),
            (Fits::Packed(4, 4), &[4, 27], true),
            (Fits::Packed(4, 4), &[4, 33], false),
        ] {
            assert_eq!(fits.accepts(shape), right, "{fits:?} {shape:?}");
        }
    }
}
