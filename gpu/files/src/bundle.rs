//! A model as it is handed over: one file, or a folder as a list of named files.

use crate::error::{Error, Result};
use crate::source::SharedSource;

/// Name in a bundle of the person's own notes about a lone file (A1111's `NAME.json`).
pub const NOTES: &str = "notes.json";
/// Name in a bundle of the site's record about a lone file (`NAME.civitai.info`).
pub const SITE: &str = "civitai.info";
/// Name in a bundle of the hub's card.
pub const CARD: &str = "README.md";

/// Longest JSON or text file that is read whole; a tokenizer's is about 4 MB.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Named sources. Names are relative paths with `/` between parts.
#[derive(Clone)]
pub struct Bundle {
    name: String,
    is_folder: bool,
    entries: Vec<(String, SharedSource)>,
    /// Names of files that are there but cannot be used, for error messages.
    ignored: Vec<String>,
}

impl Bundle {
    /// One file.
    pub fn file(name: impl Into<String>, source: SharedSource) -> Self {
        let name = name.into();
        Bundle { entries: vec![(name.clone(), source)], name, is_folder: false, ignored: Vec::new() }
    }

    /// The files of a folder.
    pub fn folder(name: impl Into<String>, entries: impl IntoIterator<Item = (String, SharedSource)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Bundle { name: name.into(), is_folder: true, entries, ignored: Vec::new() }
    }

    /// Adds a file beside the weights: [`NOTES`], [`SITE`], [`CARD`] or a configuration.
    pub fn with_text(mut self, name: impl Into<String>, source: SharedSource) -> Self {
        self.entries.push((name.into(), source));
        self
    }

    /// What errors and reports call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<&SharedSource> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, s)| s)
    }

    /// The only or first file, with its name.
    pub fn first(&self) -> Option<(&str, &SharedSource)> {
        self.entries.first().map(|(n, s)| (n.as_str(), s))
    }

    /// `.safetensors` files with their sources, sorted by name.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &SharedSource)> {
        self.entries.iter().filter(|(n, _)| n.ends_with(".safetensors")).map(|(n, s)| (n.as_str(), s))
    }

    /// Files beside the wanted ones that are of no use (pickles), below `folder`.
    pub fn ignored_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.ignored.iter().map(String::as_str).filter(move |n| n.strip_prefix(folder).is_some())
    }

    /// A small file, whole; none if it is not there.
    pub async fn text(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(source) = self.get(name) else { return Ok(None) };
        if source.len() > MAX_TEXT_BYTES {
            let why = format!("it has {} bytes, far too many for a configuration", source.len());
            return Err(Error::config(self.path_of(name), why));
        }
        source.read(0..source.len()).await.map(Some)
    }

    /// The name of a file within the bundle, for errors.
    pub fn path_of(&self, name: &str) -> String {
        if self.is_folder { format!("{}/{name}", self.name.trim_end_matches('/')) } else { self.name.clone() }
    }

    /// Opens a file or a folder (its `.safetensors`, `.json` and `.txt` files and README.md, two levels deep). A lone
    /// component file, such as `diffusion_pytorch_model.safetensors`, brings the configuration beside it along, and every lone file
    /// its side-car files (`NAME.json`, `NAME.civitai.info`, and README.md where it is the only weights file in its folder).
    ///
    /// # Errors
    /// Missing paths, and pickles by their name.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        native::open(path.as_ref())
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::*;
    use crate::source::FileSource;
    use std::path::Path;
    use std::sync::Arc;

    /// Files of one folder beyond which it is not a model.
    const MAX_FILES: usize = 10_000;

    pub(super) fn open(path: &Path) -> Result<Bundle> {
        let name = path.display().to_string();
        if !path.is_dir() {
            crate::safetensors::refuse_by_name(&name)?;
            let mut bundle = Bundle::file(name, Arc::new(FileSource::open(path)?));
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if ["diffusion_pytorch_model", "model", "adapter_model"].iter().any(|s| stem.starts_with(s)) {
                for sibling in ["config.json", "adapter_config.json"] {
                    if let Ok(source) = FileSource::open(path.with_file_name(sibling)) {
                        bundle.entries.push((sibling.to_owned(), Arc::new(source)));
                    }
                }
            }
            add_side_cars(&mut bundle, path);
            return Ok(bundle);
        }
        let (mut entries, mut ignored) = (Vec::new(), Vec::new());
        walk(path, "", 2, &mut entries, &mut ignored)?;
        let mut bundle = Bundle::folder(name, entries);
        bundle.ignored = ignored;
        Ok(bundle)
    }

    /// Side-car files are for people: one that cannot be opened is as good as none.
    fn add_side_cars(bundle: &mut Bundle, path: &Path) {
        let beside = |ending: &str| path.with_extension(ending);
        let mut wanted = vec![(NOTES, beside("json")), (SITE, beside("civitai.info"))];
        let card = path.with_file_name(CARD);
        // In a folder of many adapters a README is about none of them.
        let others = || path.parent().and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten().flatten();
        let is_weights = |e: &std::fs::DirEntry| e.path().extension().is_some_and(|e| e == "safetensors");
        if card.is_file() && others().filter(is_weights).nth(1).is_none() {
            wanted.push((CARD, card));
        }
        for (name, path) in wanted {
            if path.is_file()
                && let Ok(source) = FileSource::open(&path)
            {
                bundle.entries.push((name.to_owned(), Arc::new(source)));
            }
        }
    }

    fn walk(
        folder: &Path,
        prefix: &str,
        depth: usize,
        entries: &mut Vec<(String, SharedSource)>,
        ignored: &mut Vec<String>,
    ) -> Result<()> {
        let failed = |e| Error::io(format!("cannot list `{}`", folder.display()), e);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(file) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let name = format!("{prefix}{file}");
            if file.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth > 0 {
                    walk(&path, &format!("{name}/"), depth - 1, entries, ignored)?;
                }
            } else if [".safetensors", ".json", ".txt", CARD].iter().any(|e| file.ends_with(e)) {
                entries.push((name, Arc::new(FileSource::open(&path)?)));
            } else if crate::safetensors::refuse_by_name(file).is_err() {
                ignored.push(name);
            }
            if entries.len() > MAX_FILES {
                let why = format!("it has more than {MAX_FILES} files; name a model's own folder");
                return Err(Error::NotA { file: folder.display().to_string(), why });
            }
        }
        Ok(())
    }
}
