//! `<lora:name:weight>` in a prompt becomes an adapter of the recipe.

use admix_mix::recipe::{AdapterUse, Recipe};
use admix_model::prompt::{self, Tag};

use crate::infotext::short_name;
use crate::settings::Options;
use crate::{EngineError, Session};

/// How deep the search in a library folder goes.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const DEEPEST: usize = 4;

impl Session {
    /// The recipe with the adapters that its prompt names, and the prompt without their tags. Errors: a tag that is not understood, or a name nothing
    /// here has.
    pub fn with_prompt_adapters(&self, recipe: &Recipe) -> Result<Recipe, EngineError> {
        let Some(text) = &recipe.sample.prompt else { return Ok(recipe.clone()) };
        let options = Options::read(&recipe.sample)?;
        let (text, tags, refused) = prompt::take_tags(text, options.rules().syntax);
        if let Some(tag) = refused.first() {
            return Err(EngineError::Input(format!(
                "the prompt has {tag}, which is not understood; write <lora:NAME:WEIGHT>, or take everything as text with --set prompt_syntax=plain"
            )));
        }
        let mut out = recipe.clone();
        out.sample.prompt = Some(text);
        for tag in &tags {
            let reference = self.find_adapter(&tag.name).ok_or_else(|| self.not_found(tag))?;
            out.adapters.push(AdapterUse { text_weight: tag.text_weight, ..AdapterUse::new(reference, tag.weight) });
        }
        Ok(out)
    }

    /// The reference of the adapter of that name: one dropped here, one in a library folder, or a built-in one.
    pub fn find_adapter(&self, name: &str) -> Option<String> {
        let is = |reference: &str| {
            short_name(reference.strip_prefix("drop:").unwrap_or(reference)).eq_ignore_ascii_case(name)
        };
        let mut dropped: Vec<&str> = self.dropped_names().filter(|r| is(r)).collect();
        dropped.sort_unstable();
        if let Some(found) = dropped.first() {
            return Some((*found).to_owned());
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let mut files = Vec::new();
            self.libraries.iter().for_each(|folder| list_files(folder, DEEPEST, &mut files));
            if let Some(path) = files.iter().find(|p| is(&p.display().to_string())) {
                return Some(path.display().to_string());
            }
            let kind = admix_files::builtin::Kind::Adapter;
            let built_in = admix_files::builtin::catalogue().unwrap_or_default();
            let found = built_in.into_iter().find(|i| i.kind == kind && i.name.eq_ignore_ascii_case(name));
            found.map(|i| format!("builtin:{}", i.name))
        }
        #[cfg(target_arch = "wasm32")]
        None
    }

    fn not_found(&self, tag: &Tag) -> EngineError {
        let name = &tag.name;
        #[cfg(not(target_arch = "wasm32"))]
        let folders = {
            let folders = self.libraries.iter().filter(|f| f.is_dir());
            let list: Vec<String> = folders.map(|f| f.display().to_string()).collect();
            if list.is_empty() { String::new() } else { format!(" and {name}.safetensors in {}", list.join(", ")) }
        };
        #[cfg(target_arch = "wasm32")]
        let folders = "";
        EngineError::Input(format!(
            "the prompt names the adapter {name} (<lora:{name}:{}>), but it was not found: looked for a built-in or loaded adapter called {name}{folders}; \
             put its file on the shelf or give its folder with --library",
            tag.weight
        ))
    }
}

/// The `.safetensors` files of a folder and its folders, those further up first, each folder's in order of names; a single file is itself.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn list_files(folder: &std::path::Path, depth: usize, out: &mut Vec<std::path::PathBuf>) {
    let is_weights = |p: &std::path::Path| p.extension().is_some_and(|e| e == "safetensors") && p.is_file();
    if is_weights(folder) {
        return out.push(folder.to_path_buf());
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    out.extend(entries.iter().filter(|p| is_weights(p)).cloned());
    for folder in entries.iter().filter(|p| depth > 0 && p.is_dir()) {
        list_files(folder, depth - 1, out);
    }
}
