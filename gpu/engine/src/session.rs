//! One device, the files it knows and the model it holds: what the studio, the command line and the browser tab talk to.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::SharedSource;
use admix_files::adapter::Adapter;
use admix_files::checkpoint::Checkpoint;
use admix_mix::recipe::Recipe;
use admix_mix::{MixError, Mixer};
use admix_tensor::{DeviceOptions, Gpu};

use crate::networks::Networks;
use crate::EngineError;

/// A session: keeps the device, opened files and the last model's networks from one piece of work to the next.
pub struct Session {
    gpu: Arc<Gpu>,
    /// Files that have no path: dropped into a browser tab, by the reference recipes use for them.
    dropped: HashMap<String, SharedSource>,
    checkpoints: HashMap<String, Arc<Checkpoint>>,
    /// The networks of the last base model, by its sha256.
    networks: Option<(String, Networks)>,
    /// Accept files whose sha256 differs from the recipe's.
    pub allow_changed: bool,
}

impl Session {
    /// Opens the best device. Errors: none there.
    pub async fn open(options: &DeviceOptions) -> Result<Session, EngineError> {
        Ok(Session::with_device(Gpu::open(options).await?))
    }

    /// Uses a device that exists (the window's).
    pub fn with_device(gpu: Arc<Gpu>) -> Session {
        Session { gpu, dropped: HashMap::new(), checkpoints: HashMap::new(), networks: None, allow_changed: false }
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Registers a file without a path under `reference` (for example `drop:ink.safetensors`).
    pub fn add_source(&mut self, reference: impl Into<String>, source: SharedSource) {
        self.dropped.insert(reference.into(), source);
    }

    /// Opens the checkpoint of a reference, or gives it from the cache.
    pub async fn checkpoint(&mut self, reference: &str) -> Result<Arc<Checkpoint>, EngineError> {
        if let Some(found) = self.checkpoints.get(reference) {
            if found.is_current() {
                return Ok(found.clone());
            }
        }
        let opened = Arc::new(match self.dropped.get(reference) {
            Some(source) => Checkpoint::from_source(reference, source.clone()).await?,
            None => Checkpoint::open_ref(reference).await?,
        });
        self.checkpoints.insert(reference.into(), opened.clone());
        Ok(opened)
    }

    /// Opens the adapter of a reference.
    pub async fn adapter(&mut self, reference: &str) -> Result<Adapter, EngineError> {
        Ok(match self.dropped.get(reference) {
            Some(source) => Adapter::from_source(reference, source.clone()).await?,
            None => Adapter::open_ref(reference).await?,
        })
    }

    /// Opens everything a recipe names and checks that it fits together.
    pub async fn open_mix(&mut self, recipe: &Recipe) -> Result<Mixer, EngineError> {
        let mut checkpoints = HashMap::new();
        for reference in recipe.checkpoint_refs() {
            checkpoints.insert(reference.to_string(), self.checkpoint(reference).await?);
        }
        let mut adapters = HashMap::new();
        for used in &recipe.adapters {
            let reference = &used.source.reference;
            adapters.insert(reference.clone(), Arc::new(self.adapter(reference).await?));
        }
        let unmerged = crate::settings::wants_unmerged(&recipe.sample)?;
        Ok(Mixer::open(&self.gpu, recipe, &checkpoints, &adapters, self.allow_changed, unmerged).await?)
    }

    /// The networks of the mix's base, from the last render where it was the same model.
    pub(crate) async fn networks_for(&mut self, mixer: &Mixer) -> Result<Networks, EngineError> {
        let key = mixer.base().sha256().await.map_err(MixError::from)?;
        match self.networks.take() {
            Some((held, networks)) if held == key => Ok(networks),
            // Dropped before the next is built: two models need not fit side by side.
            other => {
                drop(other);
                Networks::build(&self.gpu, mixer.base())
            }
        }
    }

    /// Keeps networks for the next render.
    pub(crate) fn keep_networks(&mut self, key: String, networks: Networks) {
        self.networks = Some((key, networks));
    }
}
