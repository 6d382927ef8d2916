//! How well an adapter fits a model: every module is matched, unmatched or mismatched, and where something is wrong one
//! line says why.

use super::facts::stated_family;
use super::family::split_key;
use super::open::NOT_READ;
use super::targets::Targets;
use super::{Adapter, BiasUse};
use crate::checkpoint::{Checkpoint, ModelFamily};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What a report puts behind the name of a module whose bias has no place.
const NO_BIAS: &str = " (its bias: this model's layer has none)";

/// A module and the weight it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Key in [`Adapter::modules`].
    pub module: String,
    /// Canonical name of the weight, e.g. `unet.conv_in.weight`.
    pub weight: String,
}

/// A module whose weight exists but has another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The module's name in the file.
    pub key: String,
    /// Shape of the model's weight.
    pub expected: Vec<usize>,
    /// Shape of the change in the file.
    pub found: Vec<usize>,
}

/// What of an adapter fits a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitReport {
    /// The model's name.
    pub against: String,
    /// Modules that fit.
    pub matched: Vec<Match>,
    /// Names in the file that mean nothing in this model.
    pub unmatched: Vec<String>,
    /// Modules whose shape is another.
    pub mismatched: Vec<Mismatch>,
    /// Why something does not fit, in one line.
    pub cause: Option<String>,
}

impl FitReport {
    /// The `fit` object of `admix inspect --json`.
    pub fn to_json(&self) -> Value {
        let mismatched: Vec<Value> =
            self.mismatched.iter().map(|m| json!({ "key": m.key, "expected": m.expected, "found": m.found })).collect();
        json!({
            "against": self.against,
            "matched": self.matched.len(),
            "unmatched": self.unmatched,
            "mismatched": mismatched,
            "cause": self.cause
        })
    }

    /// An error if nothing of the adapter fits.
    pub fn require_any(&self, adapter: &Adapter) -> Result<()> {
        if !self.matched.is_empty() {
            return Ok(());
        }
        let cause = self.cause.as_deref().unwrap_or("its names and this model's have nothing in common");
        let count = adapter.modules.len();
        let why = format!("none of its {count} modules fits `{}`: {cause}", self.against);
        Err(Error::Mismatch { file: adapter.name.clone(), why })
    }
}

impl Adapter {
    /// Holds the adapter against a model.
    pub fn fit(&self, model: &Checkpoint) -> FitReport {
        self.fit_targets(&Targets::of(model))
    }

    /// As [`Adapter::fit`], with a table that serves many adapters.
    pub fn fit_targets(&self, targets: &Targets) -> FitReport {
        let (mut matched, mut mismatched) = (Vec::new(), Vec::new());
        let mut unmatched = Vec::new();
        let mut taken: HashMap<&str, &str> = HashMap::new();
        for (key, module) in &self.modules {
            // A textual inversion adds rows to the token table of its encoder.
            let table = match (&module.component, module.family) {
                (Some(c), "embedding") => Some(format!("{c}.text_model.embeddings.token_embedding")),
                _ => None,
            };
            let name = table.as_deref().unwrap_or(&module.name);
            let Some((weight, shape)) = targets.find(name, module.component.as_deref()) else {
                unmatched.push(module.name.clone());
                continue;
            };
            if !module.fits.accepts(shape) {
                let found = module.fits.shape();
                mismatched.push(Mismatch { key: module.name.clone(), expected: shape.to_vec(), found });
            } else if taken.insert(weight, key).is_some() {
                // Two spellings of one weight in one file: the second would be applied on top of the first.
                unmatched.push(module.name.clone());
            } else {
                if module.bias == BiasUse::Needed && !targets.has_bias(weight) {
                    unmatched.push(format!("{}{NO_BIAS}", module.name));
                }
                matched.push(Match { module: key.clone(), weight: weight.to_owned() });
            }
        }
        unmatched.extend(self.stray.iter().cloned());
        let cause = cause(self, targets, matched.len(), &unmatched, &mismatched);
        FitReport { against: targets.name.clone(), matched, unmatched, mismatched, cause }
    }
}

fn cause(
    adapter: &Adapter,
    targets: &Targets,
    matched: usize,
    unmatched: &[String],
    mismatched: &[Mismatch],
) -> Option<String> {
    let is_text = |name: &str| {
        ["lora_te", "text_encoder", "text_model", "lycoris_te", "clip_l.", "clip_g.", "clip_h."]
            .iter()
            .any(|p| name.contains(p))
    };
    let all_text = adapter.modules.values().all(|m| is_text(&m.name));
    if unmatched.is_empty() && mismatched.is_empty() {
        return (all_text && adapter.kind != "embedding").then(|| "it changes the text encoder only".to_owned());
    }
    if adapter.kind == "embedding" && mismatched.is_empty() && unmatched.iter().all(|n| adapter.stray.contains(n)) {
        return Some(format!(
            "{} of its tensors are no rows for a text encoder, e.g. `{}`",
            unmatched.len(),
            unmatched.first()?
        ));
    }
    if adapter.kind == "embedding" {
        return Some(match mismatched.first() {
            Some(m) => {
                let (found, own) = (m.found.first().copied().unwrap_or(0), m.expected.last().copied().unwrap_or(0));
                let made_for = super::embedding::made_for(found);
                format!("its rows are {found} wide{made_for}; this model's text encoder has {own}")
            }
            None => "this model's file lacks a text encoder that the textual inversion has rows for".into(),
        });
    }
    let model = match targets.context {
        Some(width) => format!("this model is {} ({width})", targets.family.label()),
        None => "this model has no U-Net".into(),
    };
    if let Some(width) = context_width(adapter)
        && Some(width) != targets.context
    {
        let made_for = match width {
            768 => "SD 1.x ",
            1024 => "SD 2.x ",
            2048 => "SDXL ",
            _ => "another model ",
        };
        return Some(format!("made for {made_for}(cross-attention {width}); {model}"));
    }
    let stated = stated_family(&adapter.metadata);
    if let Some((family, words)) = stated
        && family != targets.family
        && targets.family != ModelFamily::Other
    {
        return Some(format!("made for {} (its metadata says `{words}`); {model}", family.label()));
    }
    if matched == 0
        && let Some(made_for) = adapter.modules.values().find_map(|m| other_network(&m.name))
    {
        return Some(format!("made for {made_for}; {model}"));
    }
    if all_text && !targets.has_text {
        return Some("it changes only the text encoder, which this model's file does not have".into());
    }
    let text_left = unmatched.iter().filter(|n| is_text(n)).count();
    if !targets.has_text && text_left == unmatched.len() && mismatched.is_empty() {
        return Some("its text-encoder part has no place: this model's file has no text encoder".into());
    }
    if let [m] = mismatched
        && let ([o, own, ..], [f, theirs, ..]) = (&m.expected[..], &m.found[..])
        && o == f
        && targets.find(&m.key, None).is_some_and(|(weight, _)| weight == "unet.conv_in.weight")
    {
        let kind = |channels: usize| match channels {
            4 => " (text to picture)",
            8 => " (pix2pix)",
            9 => " (inpainting)",
            _ => "",
        };
        return Some(format!(
            "`{}` is made for a U-Net that reads {theirs} channels{}; this one reads {own}{}",
            m.key,
            kind(*theirs),
            kind(*own)
        ));
    }
    if let Some(m) = mismatched.first() {
        let n = mismatched.len();
        return Some(format!(
            "made for a model of other widths: {n} modules differ, e.g. `{}` is {:?} where this model has {:?}",
            m.key, m.found, m.expected
        ));
    }
    if let Some(lcm) = unmatched.iter().find(|n| n.contains("cond_proj")) {
        return Some(format!("`{lcm}` belongs to an LCM model's guidance embedding, which this model lacks"));
    }
    // Names that mean nothing here say most; then come those that do and were not used all the same.
    let (known, strange): (Vec<_>, Vec<_>) = unmatched.iter().partition(|name| left_over(name, targets).is_some());
    match strange.first() {
        Some(first) if matched == 0 => Some(format!("none of its names (e.g. `{first}`) is known in this model")),
        Some(first) => Some(format!("{} of its names are not in this model, e.g. `{first}`", strange.len())),
        None => left_over(known.first()?, targets),
    }
}

/// The other kind of network that a module's name belongs to, where that is known.
fn other_network(name: &str) -> Option<&'static str> {
    const TRANSFORMER: &str = "a diffusion transformer (FLUX, SD 3 or alike)";
    const MARKS: [(&str, &str); 9] = [
        ("motion_modules", "the motion modules of AnimateDiff"),
        ("lora_prior_unet_", "Stable Cascade"),
        ("diffusion_model.blocks.", "a video transformer (Wan or alike)"),
        ("lora_unet_blocks_", "a video transformer (Wan or alike)"),
        ("transformer_blocks_0_attn_", TRANSFORMER),
        ("double_blocks", TRANSFORMER),
        ("single_transformer_blocks", TRANSFORMER),
        ("joint_blocks", TRANSFORMER),
        ("transformer.", TRANSFORMER),
    ];
    if name.contains("attentions") || name.starts_with("text_encoders.") {
        return None;
    }
    MARKS.iter().find(|(mark, _)| name.contains(mark)).map(|(_, label)| *label)
}

/// Why a name was not used although it is none that this model lacks.
fn left_over(name: &str, targets: &Targets) -> Option<String> {
    if let Some(file) = name.strip_suffix(NOT_READ) {
        return Some(format!("`{file}` lies in the same folder and was not read; name it by itself"));
    }
    if let Some(module) = name.strip_suffix(NO_BIAS) {
        return Some(format!("`{module}` changes a bias, which this model's layer does not have"));
    }
    if let Some((weight, _)) = targets.find(name, None) {
        return Some(format!("`{name}` is a second spelling of a layer that the file changes already (`{weight}`)"));
    }
    let (module, ..) = split_key(name)?;
    let (weight, _) = targets.find(module, None)?;
    Some(format!(
        "`{name}` belongs to a layer of this model (`{weight}`), but the file lacks the tensors that go with it"
    ))
}

/// The width of the text embedding that the adapter's cross-attention expects.
fn context_width(adapter: &Adapter) -> Option<usize> {
    adapter.modules.values().find_map(|m| {
        let cross = m.name.contains("attn2") && (m.name.ends_with("to_k") || m.name.ends_with("to_v"));
        cross.then(|| m.fits.columns()).flatten()
    })
}

impl Adapter {
    /// The class of models it was made for: from its metadata, else from the width of its cross-attention.
    pub fn stated_family(&self) -> Option<ModelFamily> {
        stated_family(&self.metadata).map(|(f, _)| f).or_else(|| match context_width(self)? {
            768 => Some(ModelFamily::Sd1),
            1024 => Some(ModelFamily::Sd2),
            2048 => Some(ModelFamily::Sdxl),
            _ => None,
        })
    }
}
