//! One device, the files it knows and the model it holds: what the studio, the command line and the browser tab talk to.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::adapter::Adapter;
use admix_files::bundle::Bundle;
use admix_files::checkpoint::{Checkpoint, ModelFamily, OpenOptions};
use admix_mix::recipe::Recipe;
use admix_mix::{Cache, Mixer};
use admix_tensor::{DeviceOptions, Gpu};

use crate::EngineError;
use crate::kept::Kept;
use crate::networks::Networks;
use crate::settings::Options;

/// Opened files that stay at hand: headers and configurations, a megabyte or two each.
const MOST_OPENED: usize = 16;

/// A session: keeps the device, opened files and the last model's networks from one piece of work to the next.
pub struct Session {
    gpu: Arc<Gpu>,
    /// Files that have no path: dropped into a browser tab, by the reference recipes use for them.
    dropped: HashMap<String, Bundle>,
    /// Checkpoints and adapters by reference and by the state of their files.
    checkpoints: Kept<Checkpoint>,
    adapters: Kept<Adapter>,
    /// The networks of the last base model, by [`Checkpoint::state_sum`].
    networks: Option<(String, Networks)>,
    /// Inputs of merges that stay on the device from one recipe to the next.
    cache: Arc<Cache>,
    /// Keep inputs of merges on the device: off for programs that make one mix and end.
    pub keeps_inputs: bool,
    /// Folders, and files one by one, among which adapters that a prompt names are looked for.
    #[cfg(not(target_arch = "wasm32"))]
    pub libraries: Vec<std::path::PathBuf>,
    /// Accept files whose sha256 differs from the recipe's.
    pub allow_changed: bool,
}

/// Names every file behind a reference with its length and time of change; none where a file does not tell.
pub fn state_of(reference: &str, bundle: &Bundle) -> Option<String> {
    let mut state = reference.to_string();
    for name in bundle.names() {
        state.push('\n');
        state.push_str(&bundle.get(name)?.identity()?);
    }
    Some(state)
}

/// Which built-in names a reference may mean.
#[derive(Clone, Copy)]
enum Resolve {
    Model,
    Adapter,
}

impl Session {
    /// Opens the best device. Errors: none there.
    pub async fn open(options: &DeviceOptions) -> Result<Session, EngineError> {
        Ok(Session::with_device(Gpu::open(options).await?))
    }

    /// Uses a device that exists (the window's).
    pub fn with_device(gpu: Arc<Gpu>) -> Session {
        let cache = Arc::new(Cache::for_device(&gpu));
        Session {
            gpu,
            cache,
            keeps_inputs: true,
            dropped: HashMap::new(),
            checkpoints: Kept::new(MOST_OPENED),
            adapters: Kept::new(MOST_OPENED),
            networks: None,
            #[cfg(not(target_arch = "wasm32"))]
            libraries: Vec::new(),
            allow_changed: false,
        }
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Registers a file without a path under `reference` (for example `drop:ink.safetensors`).
    pub fn add_source(&mut self, reference: impl Into<String>, bundle: Bundle) {
        self.dropped.insert(reference.into(), bundle);
    }

    /// References of files without a path.
    pub(crate) fn dropped_names(&self) -> impl Iterator<Item = &str> {
        self.dropped.keys().map(String::as_str)
    }

    /// The files a reference stands for: dropped ones, or those at the path that `resolve` gives.
    fn bundle(&self, reference: &str, resolve: Resolve) -> Result<Bundle, EngineError> {
        if let Some(bundle) = self.dropped.get(reference) {
            return Ok(bundle.clone());
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let path = match resolve {
                Resolve::Model => admix_files::builtin::resolve_model(reference),
                Resolve::Adapter => admix_files::builtin::resolve_adapter(reference),
            };
            Ok(Bundle::open(path?)?)
        }
        #[cfg(target_arch = "wasm32")]
        {
            let kind = match resolve {
                Resolve::Model => "model",
                Resolve::Adapter => "adapter",
            };
            Err(EngineError::Input(format!("the {kind} {reference} is not loaded in this tab: drop its file here")))
        }
    }

    /// Opens the checkpoint of a reference: headers and configurations only. Files that have not changed since the last time are not read again.
    pub async fn checkpoint(&self, reference: &str) -> Result<Arc<Checkpoint>, EngineError> {
        self.checkpoint_as(reference, None).await
    }

    async fn checkpoint_as(
        &self,
        reference: &str,
        family: Option<ModelFamily>,
    ) -> Result<Arc<Checkpoint>, EngineError> {
        let bundle = self.bundle(reference, Resolve::Model)?;
        let state = state_of(reference, &bundle).map(|state| format!("{family:?} {state}"));
        if let Some(held) = state.as_ref().and_then(|state| self.checkpoints.get(state)) {
            return Ok(held);
        }
        let options = OpenOptions { family, ..OpenOptions::default() };
        let checkpoint = Arc::new(Checkpoint::load(bundle, &options).await?);
        if let Some(state) = state {
            self.checkpoints.put(state, checkpoint.clone());
        }
        Ok(checkpoint)
    }

    /// Opens the adapter of a reference, likewise.
    pub async fn adapter(&self, reference: &str) -> Result<Arc<Adapter>, EngineError> {
        let bundle = self.bundle(reference, Resolve::Adapter)?;
        let state = state_of(reference, &bundle);
        if let Some(held) = state.as_ref().and_then(|state| self.adapters.get(state)) {
            return Ok(held);
        }
        let adapter = Arc::new(Adapter::load(bundle).await?);
        if let Some(state) = state {
            self.adapters.put(state, adapter.clone());
        }
        Ok(adapter)
    }

    /// Opens everything a recipe names and checks that it fits together.
    pub async fn open_mix(&self, recipe: &Recipe) -> Result<Mixer, EngineError> {
        self.open_recipe(recipe, crate::settings::wants_unmerged(&recipe.sample)?).await
    }

    /// The same for a file of weights: adapters that pictures have beside the weights are inside. One that acts in a part of sampling only cannot be, and
    /// a warning says so.
    pub async fn open_export(&self, recipe: &Recipe) -> Result<Mixer, EngineError> {
        let mut mixer = self.open_recipe(recipe, false).await?;
        for used in recipe.adapters.iter().filter(|a| !a.is_whole() && recipe.combine.is_none()) {
            mixer.warn(format!(
                "{} acts from {} to {} of sampling only, which weights cannot do; it is not in the file",
                used.source.reference, used.start, used.stop
            ));
        }
        if mixer.streams() == Some(true) {
            mixer.warn(format!(
                "the models have {} MB, the device {} MB for them: they stream through the host, some tensors at a time",
                mixer.model_bytes() >> 20,
                self.gpu.memory(0).unwrap_or(0) >> 20
            ));
        }
        Ok(mixer)
    }

    async fn open_recipe(&self, recipe: &Recipe, unmerged: bool) -> Result<Mixer, EngineError> {
        let mut checkpoints = HashMap::new();
        let family = Options::read(&recipe.sample)?.family();
        for reference in recipe.checkpoint_refs() {
            let family = family.filter(|_| reference == recipe.base.reference);
            checkpoints.insert(reference.to_string(), self.checkpoint_as(reference, family).await?);
        }
        let mut adapters = HashMap::new();
        for used in &recipe.adapters {
            let reference = &used.source.reference;
            adapters.insert(reference.clone(), self.adapter(reference).await?);
        }
        let mixer = Mixer::open(&self.gpu, recipe, &checkpoints, &adapters, self.allow_changed, unmerged).await?;
        Ok(mixer.with_cache(self.keeps_inputs.then(|| self.cache.clone())).settled().await?)
    }

    /// What stays on the device between merges.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The networks of the mix's base, from the last render where it was the same model.
    pub(crate) async fn networks_for(&mut self, mixer: &Mixer) -> Result<Networks, EngineError> {
        let key = mixer.base().state_sum().await?;
        match self.networks.take() {
            Some((held, networks)) if held == key && networks.is_sound() && networks.family == mixer.base().family => {
                Ok(networks)
            }
            // Dropped before the next is built: two models need not fit side by side.
            other => {
                self.cache.clear();
                if other.is_some() {
                    drop(other);
                    self.gpu.finished().await?;
                }
                let mut networks = Networks::build(&self.gpu, mixer.base())?;
                networks.load_preview(mixer.base()).await?;
                Ok(networks)
            }
        }
    }

    /// Bytes that the weights of the model in memory take on the device; 0 before the first render.
    pub fn model_bytes(&self) -> u64 {
        self.networks.as_ref().map_or(0, |(_, networks)| networks.bytes())
    }

    /// Keeps networks for the next render.
    pub(crate) fn keep_networks(&mut self, key: String, mut networks: Networks) {
        networks.end_turns();
        self.networks = Some((key, networks));
    }
}
