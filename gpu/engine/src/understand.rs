//! Understanding a mix: `admix inspect --against`, and the studio's figures of a stack.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::Bundle;
use admix_files::adapter::Adapter;
use admix_files::checkpoint::{Checkpoint, OpenOptions};
use admix_files::inspect::Inspected;
use admix_mix::recipe::{AdapterUse, ModelUse, Recipe, Stage};
use admix_mix::understand::{Understanding, understand};

use crate::{EngineError, Session};

impl Session {
    /// What is known of a recipe's ingredients before they are mixed. `tell` hears how many tensors of how many are done, and stops the work by
    /// returning false.
    pub async fn understand(
        &self,
        recipe: &Recipe,
        tell: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Understanding, EngineError> {
        let mut checkpoints = HashMap::new();
        for reference in recipe.checkpoint_refs() {
            checkpoints.insert(reference.to_string(), self.checkpoint(reference).await?);
        }
        let mut adapters = HashMap::new();
        for used in &recipe.adapters {
            let reference = &used.source.reference;
            adapters.insert(reference.clone(), self.adapter(reference).await?);
        }
        Ok(understand(recipe, &checkpoints, &adapters, tell).await?)
    }
}

/// Opened files, held together against a base. Needs no device.
pub struct Stack {
    recipe: Recipe,
    checkpoints: HashMap<String, Arc<Checkpoint>>,
    adapters: HashMap<String, Arc<Adapter>>,
}

impl Stack {
    /// An empty stack on the model `against`, named `reference`.
    pub fn new(reference: &str, against: Arc<Checkpoint>) -> Stack {
        let checkpoints = HashMap::from([(reference.to_string(), against)]);
        Stack { recipe: Recipe::new(reference), checkpoints, adapters: HashMap::new() }
    }

    /// The model everything is held against.
    pub fn base(&self) -> Option<&Arc<Checkpoint>> {
        self.checkpoints.get(&self.recipe.base.reference)
    }

    /// Adds a model or an adapter at a weight. Errors: neither.
    pub async fn add(&mut self, reference: &str, bundle: Bundle, weight: f64) -> Result<(), EngineError> {
        match Inspected::load(bundle).await? {
            Inspected::Adapter(adapter) => self.add_adapter(reference, Arc::new(*adapter), weight),
            Inspected::Checkpoint(checkpoint) => self.add_model(reference, Arc::new(*checkpoint), weight),
        }
        Ok(())
    }

    /// Adds a model at a weight.
    pub fn add_model(&mut self, reference: &str, model: Arc<Checkpoint>, weight: f64) {
        let models = vec![ModelUse::new(reference, weight)];
        let stage = Stage {
            method: "add_difference".into(),
            models,
            params: Default::default(),
            blocks: Default::default(),
            seed: None,
        };
        self.recipe.merge.push(stage);
        self.checkpoints.insert(reference.into(), model);
    }

    /// Adds an adapter at a weight.
    pub fn add_adapter(&mut self, reference: &str, adapter: Arc<Adapter>, weight: f64) {
        self.recipe.adapters.push(AdapterUse::new(reference, weight));
        self.adapters.insert(reference.into(), adapter);
    }

    /// Looks at all of it.
    pub async fn understand(&self) -> Result<Understanding, EngineError> {
        Ok(understand(&self.recipe, &self.checkpoints, &self.adapters, &mut |_, _| true).await?)
    }
}

/// Opens the model that `--against` names.
pub async fn open_against(bundle: Bundle) -> Result<Arc<Checkpoint>, EngineError> {
    Ok(Arc::new(Checkpoint::load(bundle, &OpenOptions::default()).await?))
}
