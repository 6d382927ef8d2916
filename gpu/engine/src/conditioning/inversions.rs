//! Textual inversions of a recipe: words of the prompt that stand for vectors of their own (Gal et al. 2022, arXiv 2208.01618).
//!
//! They are adapters of the recipe, but change no weight: A1111 finds their names wherever they stand, ComfyUI as `embedding:name`. Those in a library
//! folder join in by their names alone, as they do there.

use std::collections::BTreeSet;
use std::sync::Arc;

use admix_files::Checkpoint;
use admix_files::adapter::{Adapter, Embedding, Encoder as Which};
use admix_mix::AdapterReport;
use admix_mix::recipe::{AdapterUse, Recipe};
use admix_model::prompt::{self, Inversion, Span};

use crate::infotext::short_name;
use crate::networks::{Encoder, Networks};
use crate::settings::Settings;
use crate::{EngineError, Given, Session};

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
    /// How many of them the recipe names; the others lie in library folders.
    named: usize,
}

impl Inversions {
    /// Vector `vector` of inversion `index` for the text encoder number `encoder`, whose table is `width` wide. Errors: made for another width.
    pub fn vector(&self, index: usize, vector: usize, encoder: usize, width: usize) -> Result<&[f32], EngineError> {
        let which = if encoder == 0 { Which::First } else { Which::Second };
        let missing = || EngineError::Input("a textual inversion has fewer vectors than it said".into());
        let rows = self.list.get(index).ok_or_else(missing)?.rows_for(which, width)?;
        rows.values.get(vector * width..(vector + 1) * width).ok_or_else(missing)
    }

    /// How each fits a model's text encoders, and a line for each that the recipe names and whose word stands in no prompt that is read. Those that
    /// merely lie in a library folder are reported where a prompt calls them up. Errors: a file that can no longer be read.
    pub async fn reports(
        &self,
        base: &Checkpoint,
        networks: &Networks,
        settings: &Settings,
        given: &Given,
    ) -> Result<(Vec<AdapterReport>, Vec<String>), EngineError> {
        let called = self.called(networks, settings, given);
        let (mut reports, mut unheard) = (Vec::new(), Vec::new());
        for (i, (used, file)) in self.used.iter().zip(&self.files).enumerate() {
            if !called.contains(&i) {
                if i >= self.named {
                    continue;
                }
                let names = self.words[i].names.join("` or `");
                unheard.push(format!("{} did nothing: no prompt says `{names}`", used.source.reference));
            }
            reports.push(AdapterReport::of(used, file, file.fit(base)).await?);
        }
        Ok((reports, unheard))
    }

    /// Which of them the prompts call up, token by token as the text encoders will read them.
    fn called(&self, networks: &Networks, settings: &Settings, given: &Given) -> BTreeSet<usize> {
        let Some(Encoder { tokenizer, text: encoder, .. }) =
            networks.encoders.first().filter(|_| !self.list.is_empty())
        else {
            return BTreeSet::new();
        };
        let (rules, span) = (settings.options.rules(), Span { steps: settings.steps, before: 0 });
        let inverted = settings.options.inversion(settings).prompt;
        // An embedding that is given stands in place of its prompt.
        let read = [
            Some(&settings.prompt).filter(|_| given.cond.is_none()),
            Some(&settings.negative).filter(|_| given.uncond.is_none()),
            Some(&inverted),
        ];
        let words = |text| prompt::called(tokenizer, text, encoder.length(), rules, &self.words, span);
        read.into_iter().flatten().flat_map(|text| words(text)).collect()
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
        found.named = found.used.len();
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
