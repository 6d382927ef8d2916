//! What a recipe does to one tensor: the stages that reach it, the adapters' parts, and whether anything does.

use admix_files::Checkpoint;

use super::{Mixer, SidePart, StagePlan};
use crate::adapter_merge::{Combine, CombineMethod};
use crate::adapters::Part;
use crate::beside::is_layer;
use crate::low_rank::LowRank;
use crate::method::Settings;
use crate::recipe::{ModelUse, Reference};
use crate::{MixError, blocks};

impl Mixer {
    /// The models of a stage that have tensor `name`.
    pub(crate) fn taking_part(&self, index: usize, name: &str) -> Vec<usize> {
        let opened = &self.stages[index];
        let has = |checkpoint: &Checkpoint| checkpoint.tensors.get(name).is_some_and(|t| t.info.dtype.is_float());
        let fits = |i: &usize| has(&opened.models[*i]) && opened.minus[*i].as_ref().is_none_or(|m| has(m));
        (0..opened.models.len()).filter(fits).collect()
    }

    pub(crate) fn stage_plan<'a>(&'a self, index: usize, name: &'a str, shape: &'a [usize]) -> Option<StagePlan<'a>> {
        let (stage, opened) = (&self.recipe.merge[index], &self.stages[index]);
        let taking_part = self.taking_part(index, name);
        if taking_part.is_empty() || taking_part.len() < *opened.method.models().start() {
            return None;
        }
        let factor = blocks::factor(&stage.blocks, name);
        let weigh = |used: &ModelUse| {
            let own = used.text_weight.filter(|_| blocks::is_text(name)).unwrap_or(used.weight);
            let own = own * blocks::factor(&used.blocks, name);
            if opened.method.weighted() { own * factor } else { own }
        };
        let settings = Settings {
            name,
            shape,
            weights: taking_part.iter().map(|i| weigh(&stage.models[*i])).collect(),
            knobs: &stage.params,
            model_knobs: taking_part.iter().map(|i| &stage.models[*i].params).collect(),
            seed: stage.seed.unwrap_or(0),
            facts: None,
        };
        let strength = if opened.method.weighted() { 1.0 } else { factor };
        if opened.method.keeps_base(&settings) || strength == 0.0 {
            return None;
        }
        Some(StagePlan { taking_part, settings, strength })
    }

    /// What the adapters do to a tensor: which adapter, the change, the weight.
    pub(super) fn parts(&self, name: &str) -> impl Iterator<Item = (usize, &Part, f64)> {
        self.adapters.iter().enumerate().filter_map(move |(i, adapter)| {
            let part = adapter.parts.get(name)?;
            let weight = adapter.weight(&self.recipe.adapters[i], name);
            (weight != 0.0).then_some((i, part, weight))
        })
    }

    /// The adapters' factors for a tensor: which adapter, the factors, the weight.
    pub(super) fn factors(&self, name: &str) -> Vec<(usize, &LowRank, f64)> {
        let factors = self.parts(name).filter_map(|(i, part, weight)| match part {
            Part::LowRank(factors) => Some((i, factors, weight)),
            _ => None,
        });
        factors.collect()
    }

    /// The adapters' other changes that are merged.
    pub(super) fn transforms(&self, name: &str) -> Vec<(usize, &Part, f64)> {
        let merged = |i: usize, part: &Part| !matches!(part, Part::LowRank(_)) && !self.beside(i, name);
        self.parts(name).filter(|(i, part, _)| merged(*i, part)).collect()
    }

    /// The recipe's adapters as one (`combine`; side by side where the recipe does not say): name of the weight, its shape, the change.
    /// Errors: nothing there, ranks that a method cannot bring together.
    pub fn combined_adapter(&self) -> Result<Vec<(String, Vec<usize>, LowRank)>, MixError> {
        let side_by_side = Combine { method: CombineMethod::Stack, rank: None, density: None, seed: None };
        let combine = self.recipe.combine.as_ref().unwrap_or(&side_by_side);
        let mut parts = Vec::new();
        for (name, tensor) in &self.base.tensors {
            if let Some((i, ..)) = self.transforms(name).first() {
                let reason = format!(
                    "{} changes it in a way that is no low-rank product; leave that adapter out",
                    self.reports[*i].name
                );
                return Err(MixError::Tensor { place: "combine".into(), tensor: name.clone(), reason });
            }
            let factors: Vec<(&LowRank, f64)> = self.factors(name).into_iter().map(|(_, f, w)| (f, w)).collect();
            if !factors.is_empty() {
                parts.push((name.clone(), tensor.shape.clone(), combine.combine(name, &factors)?));
            }
        }
        if parts.is_empty() {
            return Err(MixError::Output("the recipe's adapters change nothing: there is no adapter to write".into()));
        }
        Ok(parts)
    }

    /// Whether an adapter stays beside the weights where it can: all when asked for, else those that act only in a part of sampling.
    pub(super) fn wants_beside(&self, adapter: usize) -> bool {
        // Combined adapters are no sum that could run beside a weight.
        self.recipe.combine.is_none() && (self.unmerged || !self.recipe.adapters[adapter].is_whole())
    }

    /// Whether an adapter's change stays beside this tensor.
    pub(super) fn beside(&self, adapter: usize, name: &str) -> bool {
        self.wants_beside(adapter)
            && match self.adapters[adapter].parts.get(name) {
                Some(Part::LowRank(_)) => self.base.tensors.get(name).is_some_and(|t| is_layer(name, &t.shape)),
                Some(Part::Beside { form, .. }) => form.is_some(),
                _ => false,
            }
    }

    /// The changes that [`Mixer::effective`] leaves out of this tensor: the caller runs them beside the weight.
    pub fn side_parts(&self, name: &str) -> Vec<SidePart<'_>> {
        let beside = self.parts(name).filter(|(i, ..)| self.beside(*i, name));
        beside
            .map(|(adapter, part, weight)| {
                let used = &self.recipe.adapters[adapter];
                let plain = SidePart::new(adapter, weight, (used.start, used.stop));
                match part {
                    Part::LowRank(factors) => SidePart { factors: Some(factors), ..plain },
                    Part::Beside { form: Some(form), .. } => SidePart {
                        factors: form.factors.as_ref(),
                        rows: form.rows.as_deref(),
                        biased: form.biased,
                        columns: form.columns.as_deref(),
                        ..plain
                    },
                    _ => plain,
                }
            })
            .collect()
    }

    /// The adapters that stay beside the weights: which of the recipe, a key that is equal for equal factors, and all its factors by tensor,
    /// whatever their weights.
    pub fn side_adapters(&self) -> impl Iterator<Item = (usize, String, Vec<(&str, &LowRank)>)> {
        let beside = (0..self.adapters.len()).filter(|i| self.wants_beside(*i));
        beside.map(|i| {
            let mut key = self.adapters[i].state.clone();
            let parts = self.adapters[i].parts.iter().filter(|(name, _)| self.beside(i, name));
            let factors: Vec<(&str, &LowRank)> = parts
                .filter_map(|(name, part)| match part {
                    Part::LowRank(factors) => Some((name.as_str(), factors)),
                    Part::Beside { form, .. } => Some((name.as_str(), form.as_ref()?.factors.as_ref()?)),
                    _ => None,
                })
                .collect();
            // Lengths (DoRA) are of the weights that the merge stages leave.
            if self.adapters[i].parts.values().any(Part::needs_weight) {
                key.push_str(&self.weights_text());
            }
            (i, key, factors)
        })
    }

    /// A text that is equal for equal weights before the adapters.
    pub(super) fn weights_text(&self) -> String {
        let merge = serde_json::to_string(&self.recipe_with_checksums().merge).unwrap_or_default();
        format!("|{}|{merge}", self.sum(&self.recipe.base))
    }

    /// True when the recipe changes this tensor's value (rounding to another type aside).
    pub fn is_touched(&self, name: &str) -> bool {
        let Ok(tensor) = self.base.tensor(name) else { return false };
        let merged = (0..self.stages.len()).any(|i| self.stage_plan(i, name, &tensor.shape).is_some());
        merged || self.parts(name).any(|(i, ..)| !self.beside(i, name))
    }

    /// The checksum of an opened file.
    pub(crate) fn sum(&self, reference: &Reference) -> &str {
        self.checksums.get(&reference.reference).map_or("", String::as_str)
    }

    /// Everything of a stage that decides what it makes of a tensor.
    pub(super) fn write_stage(&self, text: &mut String, index: usize, plan: &StagePlan<'_>) {
        use std::fmt::Write;
        let stage = &self.recipe.merge[index];
        let _ = write!(text, "|{} {} {:?} {}", stage.method, plan.strength, stage.params, plan.settings.seed);
        // What earlier stages make of other tensors reaches this one through a survey of them all.
        if index > 0 && self.stages[index].method.survey(&plan.settings).is_some() {
            text.push_str(&self.survey_text(index));
        }
        for (weight, model) in plan.settings.weights.iter().zip(&plan.taking_part) {
            let used = &stage.models[*model];
            let minus = used.minus.as_ref().map_or("", |m| self.sum(m));
            let _ = write!(text, ";{} {weight} {minus} {:?}", self.sum(&used.source), used.params);
        }
    }

    /// A text that is equal for equal inputs of a stage: the tensor, the result of the stages before, the models and what they are compared
    /// with; not the stage's own knobs.
    pub(crate) fn inputs_text(&self, earlier: &[(usize, StagePlan<'_>)], index: usize, plan: &StagePlan<'_>) -> String {
        use std::fmt::Write;
        let mut text = format!("{}|{}", plan.settings.name, self.sum(&self.recipe.base));
        for (i, before) in earlier {
            self.write_stage(&mut text, *i, before);
        }
        text.push_str("|<");
        for model in &plan.taking_part {
            let used = &self.recipe.merge[index].models[*model];
            let minus = used.minus.as_ref().map_or("", |m| self.sum(m));
            let _ = write!(text, ";{} {minus}", self.sum(&used.source));
        }
        text
    }

    /// A text that is equal for equal inputs of a stage over the whole model: what a survey's result depends on, beside its key.
    pub(crate) fn survey_text(&self, index: usize) -> String {
        use std::fmt::Write;
        let mut text = self.sum(&self.recipe.base).to_string();
        for (i, stage) in self.recipe.merge[..=index].iter().enumerate() {
            for used in &stage.models {
                let minus = used.minus.as_ref().map_or("", |m| self.sum(m));
                let _ = write!(text, ";{} {minus}", self.sum(&used.source));
                // Knobs of the stage itself may decide what its survey looks for; its weights do not.
                let _ = write!(text, " {:?}", used.params);
                if i < index {
                    let _ = write!(text, " {} {:?} {:?}", used.weight, used.text_weight, used.blocks);
                }
            }
            let _ = write!(text, "|{} {:?}", stage.method, stage.params);
            if i < index {
                let _ = write!(text, " {:?} {:?}", stage.blocks, stage.seed);
            }
        }
        text
    }

    /// A text that is equal for equal effective values: what the tensor is made of, with everything that decides its value.
    pub fn fingerprint(&self, name: &str) -> String {
        use std::fmt::Write;
        let mut text = format!("{}|{:?}", self.sum(&self.recipe.base), self.dtype);
        let Ok(tensor) = self.base.tensor(name) else { return text };
        for i in 0..self.recipe.merge.len() {
            let Some(plan) = self.stage_plan(i, name, &tensor.shape) else { continue };
            self.write_stage(&mut text, i, &plan);
        }
        if let Some(combine) = &self.recipe.combine {
            let _ = write!(text, "|{combine:?}");
        }
        for (i, _, weight) in self.parts(name) {
            if !self.beside(i, name) {
                let _ = write!(text, "|+{} {weight}", self.adapters[i].state);
            }
        }
        text
    }
}
