//! Adapters, opened against a base: factors by weight name, and a report of what fits.

use std::collections::HashMap;

use admix_files::Checkpoint;
use admix_files::adapter::{Adapter, Factors};

use crate::low_rank::LowRank;
use crate::mixer::AdapterReport;
use crate::recipe::AdapterUse;
use crate::{MixError, blocks};

/// An adapter's factors in host memory, by the canonical name of the weight they change.
pub(crate) struct OpenAdapter {
    pub parts: HashMap<String, LowRank>,
}

impl From<Factors> for LowRank {
    fn from(f: Factors) -> LowRank {
        LowRank { out: f.out, width: f.inp, rank: f.rank, up: f.up, down: f.down, scale: f.scale }
    }
}

impl OpenAdapter {
    /// Reads an adapter's factors and holds them against the base. Errors: a kind that cannot be applied, nothing that fits.
    pub async fn open(
        used: &AdapterUse,
        adapter: &Adapter,
        base: &Checkpoint,
    ) -> Result<(OpenAdapter, AdapterReport), MixError> {
        adapter.check_supported()?;
        let fit = adapter.fit(base);
        if fit.matched.is_empty() {
            return Err(MixError::NothingMatched {
                reference: used.source.reference.clone(),
                base: base.name.clone(),
                modules: adapter.modules.len(),
                cause: fit.cause.unwrap_or_else(|| "its names and this model's have nothing in common".into()),
            });
        }
        let mut parts = HashMap::new();
        for found in &fit.matched {
            let Some(module) = adapter.modules.get(&found.module) else { continue };
            let factors = adapter.factors(module).await?;
            parts.insert(found.weight.clone(), LowRank::from(factors));
        }
        let mismatched = fit.mismatched.into_iter();
        let report = AdapterReport {
            name: used.source.reference.clone(),
            sha256: adapter.sha256().await?,
            weight: used.weight,
            matched: fit.matched.len(),
            unmatched: fit.unmatched,
            mismatched: mismatched.map(|m| (m.key, format!("{:?}", m.expected), format!("{:?}", m.found))).collect(),
        };
        Ok((OpenAdapter { parts }, report))
    }

    /// The weight at which the adapter acts on tensor `name`.
    pub fn weight(&self, used: &AdapterUse, name: &str) -> f64 {
        let own = used.text_weight.filter(|_| blocks::is_text(name)).unwrap_or(used.weight);
        own * blocks::factor(&used.blocks, name)
    }
}
