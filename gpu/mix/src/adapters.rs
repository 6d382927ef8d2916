//! Adapters, opened against a base: changes by tensor name, and a report of what fits.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::Checkpoint;
use admix_files::adapter::{Adapter, BiasUse, Change, Factors, FitReport, Module};

use crate::beside::{SideForm, is_layer};
use crate::low_rank::LowRank;
use crate::mixer::AdapterReport;
use crate::recipe::AdapterUse;
use crate::{MixError, blocks};

/// What an adapter does to one tensor.
pub(crate) enum Part {
    /// Factors: merged, or run beside the weight.
    LowRank(LowRank),
    /// Another form, which is computed from the weight itself and merged.
    Change(Change),
    /// One that can run beside the weight all the same.
    Beside {
        /// For when it is merged.
        change: Change,
        /// How it runs beside the weight; none yet where that depends on the weight (see [`crate::Mixer::settled`]).
        form: Option<SideForm>,
    },
    /// One as large as the weight: read again whenever it is needed.
    Stored {
        /// Key of the module.
        module: String,
        /// Of its two changes, that of the bias.
        bias: bool,
        /// Shape of the weight.
        shape: Vec<usize>,
    },
}

/// An adapter's changes, by the canonical name of the tensor they belong to.
pub(crate) struct OpenAdapter {
    pub parts: HashMap<String, Part>,
    /// Equal for equal changes: the checksum, and a digest of the settings beside the file.
    pub state: String,
    adapter: Arc<Adapter>,
}

impl From<Factors> for LowRank {
    fn from(f: Factors) -> LowRank {
        LowRank { out: f.out, width: f.inp, rank: f.rank, up: f.up, down: f.down, scale: f.scale }
    }
}

impl Part {
    fn of(change: Change) -> Part {
        match change {
            Change::LowRank(factors) => Part::LowRank(factors.into()),
            other => Part::Change(other),
        }
    }

    /// Whether how it runs beside a weight depends on the weight.
    pub fn needs_weight(&self) -> bool {
        matches!(self, Part::Beside { change, .. } if SideForm::of(change).is_none())
    }

    /// Whether it can run beside the tensor of that name, once forms are settled.
    fn can_lie_beside(&self, name: &str, base: &Checkpoint) -> bool {
        match self {
            Part::LowRank(_) => base.tensors.get(name).is_some_and(|t| is_layer(name, &t.shape)),
            Part::Beside { .. } => true,
            _ => false,
        }
    }
}

/// A change that is to run beside its tensor if it can. A bias does where its layer's rows carry it along.
fn part_beside(parts: &mut HashMap<String, Part>, target: &str, shape: &[usize], change: Change) -> Part {
    if let Some(layer) = target.strip_suffix(".bias") {
        if let Some(Part::Beside { change: of_weight, form: Some(form) }) = parts.get_mut(&format!("{layer}.weight"))
            && *of_weight == change
        {
            form.biased = true;
            return Part::Beside { change, form: Some(SideForm::default()) };
        }
        return Part::of(change);
    }
    if matches!(change, Change::LowRank(_)) || !is_layer(target, shape) {
        return Part::of(change);
    }
    match SideForm::of(&change) {
        Some(SideForm { rows: None, columns: None, factors: Some(product), .. }) => Part::LowRank(product),
        Some(form) => Part::Beside { change, form: Some(form) },
        None if SideForm::lengths(&change).is_some() => Part::Beside { change, form: None },
        None => Part::Change(change),
    }
}

/// Families whose numbers are as many as the weight's.
fn is_large(module: &Module) -> bool {
    matches!(module.family, "full" | "bitdelta" | "saved")
}

impl AdapterReport {
    /// What a recipe's entry says of its file, by how that fits. Errors: a file that cannot be read.
    pub async fn of(used: &AdapterUse, adapter: &Adapter, fit: FitReport) -> Result<AdapterReport, MixError> {
        let mismatched = fit.mismatched.into_iter();
        Ok(AdapterReport {
            name: used.source.reference.clone(),
            sha256: adapter.sha256().await?,
            autov3: adapter.autov3().await?,
            weight: used.weight,
            matched: fit.matched.len(),
            unmatched: fit.unmatched,
            cause: fit.cause,
            mismatched: mismatched.map(|m| (m.key, format!("{:?}", m.expected), format!("{:?}", m.found))).collect(),
        })
    }
}

impl OpenAdapter {
    /// Reads an adapter's numbers and holds them against the base. With `unmerged`, says in `warnings` what is merged all the same.
    ///
    /// # Errors
    /// A kind that cannot be applied, nothing that fits, numbers that are damaged, a part of sampling for changes that only merging makes.
    pub async fn open(
        used: &AdapterUse,
        adapter: &Arc<Adapter>,
        base: &Checkpoint,
        unmerged: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(OpenAdapter, AdapterReport), MixError> {
        adapter.check_supported()?;
        let fit = adapter.fit(base);
        let reference = &used.source.reference;
        if fit.matched.is_empty() {
            return Err(MixError::NothingMatched {
                reference: reference.clone(),
                base: base.name.clone(),
                modules: adapter.modules.len(),
                cause: fit.cause.unwrap_or_else(|| "its names and this model's have nothing in common".into()),
            });
        }
        if adapter.kind == "embedding" {
            let why = "is a textual inversion: its rows belong to prompts and change no weight";
            warnings.push(format!("{reference} {why}"));
        }
        let beside = unmerged || !used.is_whole();
        let mut parts = HashMap::new();
        for found in &fit.matched {
            let Some(module) = adapter.modules.get(&found.module) else { continue };
            if module.family == "embedding" {
                continue;
            }
            let shape = &base.tensor(&found.weight)?.shape;
            let bias = found.weight.strip_suffix(".weight").map(|layer| format!("{layer}.bias"));
            let bias = bias.filter(|b| module.bias != BiasUse::Untouched && base.tensors.contains_key(b));
            if is_large(module) {
                let stored = |bias| Part::Stored { module: found.module.clone(), bias, shape: shape.clone() };
                let only_bias = ["mask", "diff", "set_weight", "weight"].iter().all(|r| !module.group.has(r));
                if !only_bias {
                    parts.insert(found.weight.clone(), stored(false));
                }
                if let Some(bias) = bias {
                    parts.insert(bias, stored(true));
                }
                continue;
            }
            let changes = adapter.changes(module, shape).await?;
            let targets = [(changes.weight, Some(found.weight.clone())), (changes.bias, bias)];
            for (change, target) in targets {
                let (Some(change), Some(target)) = (change, target) else { continue };
                let part = if beside { part_beside(&mut parts, &target, shape, change) } else { Part::of(change) };
                parts.insert(target, part);
            }
        }
        let merged = parts.iter().filter(|(name, part)| !part.can_lie_beside(name, base)).count();
        if merged > 0 && !used.is_whole() {
            return Err(MixError::recipe(
                "adapters",
                format!(
                    "{reference} changes {merged} tensors in ways that cannot run beside them ({}), so it cannot act in a part of \
                     sampling only; leave start and stop away",
                    adapter.kind
                ),
            ));
        }
        if merged > 0 && unmerged {
            warnings.push(format!(
                "{reference}: {merged} of its changes ({}) cannot run beside the weights; they are merged into them",
                adapter.kind
            ));
        }
        let mut report = AdapterReport::of(used, adapter, fit).await?;
        if adapter.kind == "embedding" {
            report.matched = 0;
            report.unmatched = adapter.modules.keys().chain(&adapter.stray).cloned().collect();
            report.cause =
                Some("it is a textual inversion: its rows belong to prompts, and no weight holds them".into());
        }
        let state = adapter.state_sum().await?;
        Ok((OpenAdapter { parts, state, adapter: adapter.clone() }, report))
    }

    /// A part's change, read from the file where it is not held.
    pub async fn change(&self, part: &Part) -> Result<Option<Change>, MixError> {
        Ok(match part {
            Part::LowRank(_) => None,
            Part::Change(change) | Part::Beside { change, .. } => Some(change.clone()),
            Part::Stored { module, bias, shape } => {
                let Some(module) = self.adapter.modules.get(module) else { return Ok(None) };
                let changes = self.adapter.changes(module, shape).await?;
                if *bias { changes.bias } else { changes.weight }
            }
        })
    }

    /// The weight at which the adapter acts on tensor `name`.
    pub fn weight(&self, used: &AdapterUse, name: &str) -> f64 {
        let own = used.text_weight.filter(|_| blocks::is_text(name)).unwrap_or(used.weight);
        own * blocks::factor(&used.blocks, name)
    }
}
