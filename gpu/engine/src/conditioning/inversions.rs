//! Textual inversions of a recipe: words of the prompt that stand for vectors of their own (Gal et al. 2022, arXiv 2208.01618).
//!
//! They are adapters of the recipe, but change no weight: A1111 finds their names wherever they stand, ComfyUI as `embedding:name`. Those in a library
//! folder join in by their names alone, as they do there.

use std::sync::Arc;

use admix_files::Checkpoint;
use admix_files::adapter::{Adapter, Embedding, Encoder as Which};
use admix_mix::AdapterReport;
use admix_mix::recipe::{AdapterUse, Recipe, Sample};
use admix_model::prompt::Inversion;

use crate::infotext::short_name;
use crate::{EngineError, Session};

/// The inversions of one render.
#[derive(Clone, Default)]
pub(crate) struct Inversions {
    list: Vec<Embedding>,
    /// As prompts see them, in the same order.
    pub words: Vec<Inversion>,
    /// Recipe entries with their checksums.
    pub used: Vec<AdapterUse>,
    /// Their files.
    files: Vec<Arc<Adapter>>,
}

impl Inversions {
    /// Vector `vector` of inversion `index` for the text encoder number `encoder`, whose table is `width` wide. Errors: made for another width.
    pub fn vector(&self, index: usize, vector: usize, encoder: usize, width: usize) -> Result<&[f32], EngineError> {
        let which = if encoder == 0 { Which::First } else { Which::Second };
        let missing = || EngineError::Input("a textual inversion has fewer vectors than it said".into());
        let rows = self.list.get(index).ok_or_else(missing)?.rows_for(which, width)?;
        rows.values.get(vector * width..(vector + 1) * width).ok_or_else(missing)
    }

    /// How each fits a model's text encoders. Errors: a file that can no longer be read.
    pub async fn reports(&self, base: &Checkpoint) -> Result<Vec<AdapterReport>, EngineError> {
        let mut reports = Vec::new();
        for (used, file) in self.used.iter().zip(&self.files) {
            reports.push(AdapterReport::of(used, file, file.fit(base)).await?);
        }
        Ok(reports)
    }

    /// A line for each whose words stand in no prompt, so that it did nothing.
    pub fn unheard<'a>(&'a self, sample: &Sample) -> impl Iterator<Item = String> + 'a {
        // Prompts stand in several fields (regions, second passes); a name in any of them counts.
        let said = serde_json::to_string(sample).unwrap_or_default().to_lowercase();
        let silent = move |names: &[String]| !names.iter().any(|name| said.contains(&name.to_lowercase()));
        self.words.iter().zip(&self.used).filter(move |(word, _)| silent(&word.names)).map(|(word, used)| {
            let names = word.names.join("` or `");
            format!("{} did nothing: no prompt says `{names}`", used.source.reference)
        })
    }

    fn add(&mut self, embedding: Embedding, used: AdapterUse, file: Arc<Adapter>) {
        let vectors = embedding.rows.iter().map(|r| r.tokens).max().unwrap_or(0);
        self.words.push(Inversion { names: embedding.names.clone(), vectors });
        self.list.push(embedding);
        self.used.push(used);
        self.files.push(file);
    }
}

impl Session {
    /// Takes the textual inversions out of a recipe's adapters, and adds those of the library folders whose names its prompts have. Errors: a file
    /// that cannot be read, one with a weight of its own.
    pub(crate) async fn take_inversions(&self, recipe: &Recipe) -> Result<(Recipe, Inversions), EngineError> {
        let (mut rest, mut found) = (recipe.clone(), Inversions::default());
        rest.adapters.clear();
        for used in &recipe.adapters {
            let adapter = self.adapter(&used.source.reference).await?;
            let Some(embedding) = adapter.embedding().await? else {
                rest.adapters.push(used.clone());
                continue;
            };
            if used.weight != 1.0 {
                let name = short_name(&used.source.reference);
                return Err(EngineError::Input(format!(
                    "{name} is a textual inversion, which has no weight of its own; weigh its word in the prompt, as ({name}:{})",
                    used.weight
                )));
            }
            let mut used = used.clone();
            let sum = adapter.sha256().await?;
            if used.source.sha256.as_ref().is_some_and(|s| *s != sum) && !self.allow_changed {
                return Err(EngineError::Input(format!(
                    "{} has changed since the recipe was made (another sha256); give --allow-changed to use it all the same",
                    used.source.reference
                )));
            }
            used.source.sha256 = Some(sum);
            found.add(embedding, used, adapter);
        }
        #[cfg(not(target_arch = "wasm32"))]
        self.add_from_libraries(recipe, &mut found).await?;
        Ok((rest, found))
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn add_from_libraries(&self, recipe: &Recipe, found: &mut Inversions) -> Result<(), EngineError> {
        let texts = [&recipe.sample.prompt, &recipe.sample.negative].into_iter().flatten();
        let texts = texts.map(|t| t.to_lowercase()).collect::<Vec<_>>().join("\n");
        let mut files = Vec::new();
        for folder in &self.libraries {
            super::tags::list_files(folder, super::tags::DEEPEST, &mut files);
        }
        for path in files {
            let reference = path.display().to_string();
            let name = short_name(&reference);
            let known = found.words.iter().any(|w| w.names.contains(&name));
            if known || name.is_empty() || !texts.contains(&name.to_lowercase()) {
                continue;
            }
            // A file that is no adapter, or a damaged one, is not what the prompt means.
            let Ok(adapter) = self.adapter(&reference).await else { continue };
            let Some(embedding) = adapter.embedding().await? else { continue };
            let mut used = AdapterUse::new(reference, 1.0);
            used.source.sha256 = Some(adapter.sha256().await?);
            found.add(embedding, used, adapter);
        }
        Ok(())
    }
}
