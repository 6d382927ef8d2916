//! The model's side of an adapter: every weight under every name that some dialect gives it.

use super::dialect::{ModelModule, dialects};
use crate::checkpoint::{Checkpoint, ModelFamily};
use crate::layout::component_of;
use crate::layout::ldm::UNetBlocks;
use std::collections::{HashMap, HashSet};

/// Weights that adapters can change, by every spelling of their names.
pub struct Targets {
    /// What reports call the model.
    pub name: String,
    /// Its class.
    pub family: ModelFamily,
    /// Width of its text embedding, if it has a U-Net.
    pub context: Option<usize>,
    /// Whether it has a text encoder.
    pub has_text: bool,
    /// Canonical weight names; the tables below hold positions in it.
    weights: Vec<(String, Vec<usize>)>,
    spellings: HashMap<String, Vec<usize>>,
    /// Canonical names of biases.
    biases: HashSet<String>,
}

impl Targets {
    /// Those of a checkpoint.
    pub fn of(model: &Checkpoint) -> Self {
        let blocks = model.unet.as_ref().map(|c| UNetBlocks::of(c).renames());
        let mut targets = Targets {
            name: model.name.clone(),
            family: model.family,
            context: model.unet.as_ref().map(|u| u.cross_attention(0)),
            has_text: model.text_encoder.is_some(),
            weights: Vec::new(),
            spellings: HashMap::new(),
            biases: model.tensors.keys().filter(|n| n.ends_with(".bias")).cloned().collect(),
        };
        for (name, tensor) in &model.tensors {
            let Some(module) = name.strip_suffix(".weight") else { continue };
            let component = component_of(name);
            let Some(path) = module.get(component.len() + 1..) else { continue };
            let ldm = match component {
                "unet" => blocks.as_ref().and_then(|b| b.ldm(&format!("{path}.weight"))),
                _ => None,
            };
            let ldm = ldm.as_deref().and_then(|l| l.strip_suffix(".weight"));
            let position = targets.weights.len();
            targets.weights.push((name.clone(), tensor.shape.clone()));
            let spellings = &mut targets.spellings;
            for dialect in dialects() {
                dialect.spell(&ModelModule { component, path, ldm }, &mut |spelling| {
                    let at = spellings.entry(spelling).or_default();
                    if at.last() != Some(&position) {
                        at.push(position);
                    }
                });
            }
        }
        targets
    }

    /// Whether the layer of a canonical weight has a bias.
    pub fn has_bias(&self, weight: &str) -> bool {
        weight.strip_suffix(".weight").is_some_and(|layer| self.biases.contains(&format!("{layer}.bias")))
    }

    /// The canonical weight (and its shape) that a module name means; where two components share it, the one the hint
    /// names, else the first.
    pub fn find(&self, module: &str, component: Option<&str>) -> Option<(&str, &[usize])> {
        let found = self.spellings.get(module)?;
        let hinted = component.and_then(|c| found.iter().find(|i| component_of(&self.weights[**i].0) == c));
        let first = hinted.or_else(|| found.first())?;
        let chosen = component_of(&self.weights[*first].0);
        // Two weights of one component under one spelling (underscores for dots): no telling which is meant.
        if found.iter().filter(|i| component_of(&self.weights[**i].0) == chosen).count() > 1 {
            return None;
        }
        self.weights.get(*first).map(|(name, shape)| (name.as_str(), shape.as_slice()))
    }
}
