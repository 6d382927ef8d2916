//! What `admix inspect` says of a file.

use crate::adapter::Adapter;
use crate::bundle::Bundle;
use crate::checkpoint::{Checkpoint, Evidence, OpenOptions};
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// A file that was looked into.
pub enum Inspected {
    /// A model.
    Checkpoint(Box<Checkpoint>),
    /// An adapter.
    Adapter(Box<Adapter>),
}

impl Inspected {
    /// Finds out what a bundle is and opens it as that.
    ///
    /// # Errors
    /// Damaged files, with the reason; sound files that are neither a checkpoint nor an adapter.
    pub async fn load(bundle: Bundle) -> Result<Self> {
        match Adapter::load(bundle.clone()).await {
            Ok(adapter) => Ok(Inspected::Adapter(Box::new(adapter))),
            Err(Error::NotA { why, file }) => match Checkpoint::load(bundle, &OpenOptions::default()).await {
                Ok(checkpoint) => Ok(Inspected::Checkpoint(Box::new(checkpoint))),
                // Neither: the adapter's error is the better one where it is about a module, or where the file is only no checkpoint because it looks
                // like an adapter.
                Err(Error::NotA { why: other, .. })
                    if why.starts_with("module") || other.starts_with("this is an adapter") =>
                {
                    Err(Error::NotA { why, file })
                }
                Err(other) => Err(other),
            },
            Err(other) => Err(other),
        }
    }

    /// The JSON object of `admix inspect --json`; `fit` is added where a model is given to hold an adapter against.
    pub async fn describe(&self, against: Option<&Checkpoint>) -> Result<Value> {
        match self {
            Inspected::Checkpoint(c) => c.describe().await,
            Inspected::Adapter(a) => {
                let mut about = a.describe().await?;
                if let Some(model) = against {
                    about["fit"] = a.fit(model).to_json();
                }
                Ok(about)
            }
        }
    }
}

impl Checkpoint {
    /// What `admix inspect --json` says of a checkpoint.
    pub async fn describe(&self) -> Result<Value> {
        let problem = self.check_renderable().err().map(|e| e.to_string());
        let components: Vec<&str> = [
            ("unet", self.unet.is_some()),
            ("vae", self.vae.is_some()),
            ("text_encoder", self.text_encoder.is_some()),
            ("text_encoder_2", self.text_encoder_2.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect();
        Ok(json!({
            "kind": "checkpoint",
            "name": self.name,
            "family": self.family.id(),
            "format": self.format.name(),
            "dtype": self.dtype().map(|d| d.name()),
            "parameters": self.parameters(),
            "tensors": self.tensors.len(),
            "other_tensors": self.extra.len(),
            "unused": self.unused(),
            "components": components,
            "sha256": self.sha256().await?,
            "prediction": self.prediction().name(),
            "prediction_stated": self.prediction_stated,
            "zero_snr": self.scheduler.rescale_betas_zero_snr,
            "clip_skip": self.clip_skip,
            "evidence": self.evidence.iter().map(Evidence::to_json).collect::<Vec<_>>(),
            "renderable": problem.is_none(),
            "problem": problem,
            "metadata": self.metadata
        }))
    }
}

impl Adapter {
    /// What `admix inspect --json` says of an adapter, without its fit.
    pub async fn describe(&self) -> Result<Value> {
        let problem = self.check_supported().err().map(|e| e.to_string());
        Ok(json!({
            "kind": "adapter",
            "name": self.name,
            "type": self.kind,
            "family": self.stated_family().map(|f| f.id()),
            "format": self.dialect,
            "rank": self.rank(),
            "modules": self.modules.len(),
            "parameters": self.parameters(),
            "stray": self.stray,
            "sha256": self.sha256().await?,
            "autov3": self.autov3().await?,
            "triggers": self.triggers,
            "facts": self.facts,
            "applicable": problem.is_none(),
            "problem": problem,
            "metadata": self.metadata
        }))
    }
}
