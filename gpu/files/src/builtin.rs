//! The models, fine-tunes and adapters that come with the program, and references to them (`builtin:mini`).
//!
//! The assets folder holds `models/NAME/` (diffusers folders), `finetunes/NAME.safetensors` (or folders) and
//! `adapters/NAME.safetensors` (or peft folders).

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The environment variable that names the assets folder.
pub const ASSETS_VARIABLE: &str = "ADMIX_ASSETS";
/// The model that plain `builtin` means.
pub const DEFAULT_MODEL: &str = "mini";

/// What a built-in file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole pipeline.
    Model,
    /// Another U-Net for one of the pipelines.
    FineTune,
    /// An adapter.
    Adapter,
}

impl Kind {
    /// The folder below the assets folder.
    pub fn folder(self) -> &'static str {
        match self {
            Kind::Model => "models",
            Kind::FineTune => "finetunes",
            Kind::Adapter => "adapters",
        }
    }
}

/// One built-in file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name, as in `builtin:NAME`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
}

/// Whether a reference is a built-in one.
pub fn is_builtin(reference: &str) -> bool {
    reference == "builtin" || reference.starts_with("builtin:")
}

/// The path that a reference to a model means: a built-in model or fine-tune, or the reference itself as a path.
pub fn resolve_model(reference: &str) -> Result<PathBuf> {
    resolve(reference, &[Kind::Model, Kind::FineTune])
}

/// The path that a reference to an adapter means.
pub fn resolve_adapter(reference: &str) -> Result<PathBuf> {
    resolve(reference, &[Kind::Adapter])
}

/// The path that a reference to anything means.
pub fn resolve_any(reference: &str) -> Result<PathBuf> {
    resolve(reference, &[Kind::Model, Kind::FineTune, Kind::Adapter])
}

fn resolve(reference: &str, kinds: &[Kind]) -> Result<PathBuf> {
    if !is_builtin(reference) {
        return Ok(PathBuf::from(reference));
    }
    resolve_in(&assets_folder()?, reference, kinds)
}

fn resolve_in(assets: &Path, reference: &str, kinds: &[Kind]) -> Result<PathBuf> {
    let name = reference.strip_prefix("builtin:").filter(|n| !n.is_empty()).unwrap_or(DEFAULT_MODEL);
    let items: Vec<Item> = catalogue_in(assets).into_iter().filter(|i| kinds.contains(&i.kind)).collect();
    if let Some(item) = items.iter().find(|i| i.name == name) {
        return Ok(item.path.clone());
    }
    let names: Vec<String> = items.into_iter().map(|i| i.name).collect();
    let there = if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
    Err(Error::NotFound(format!("`{reference}` is not built in; {there} (in {})", assets.display())))
}

/// Everything built in: models, fine-tunes, adapters, each sorted by name.
pub fn catalogue() -> Result<Vec<Item>> {
    Ok(catalogue_in(&assets_folder()?))
}

fn catalogue_in(assets: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    for kind in [Kind::Model, Kind::FineTune, Kind::Adapter] {
        let Ok(entries) = std::fs::read_dir(assets.join(kind.folder())) else { continue };
        let mut here: Vec<Item> = entries
            .filter_map(|e| {
                let path = e.ok()?.path();
                let file = path.file_name()?.to_str()?;
                let name = match file.strip_suffix(".safetensors") {
                    Some(stem) => stem.to_owned(),
                    None if path.is_dir() && holds_weights(&path) => file.to_owned(),
                    None => return None,
                };
                (!name.starts_with('.')).then_some(Item { name, kind, path })
            })
            .collect();
        here.sort_by(|a, b| a.name.cmp(&b.name));
        items.append(&mut here);
    }
    items
}

/// A diffusers or peft folder, or one component's.
fn holds_weights(folder: &Path) -> bool {
    ["model_index.json", "adapter_config.json", "config.json"].iter().any(|f| folder.join(f).is_file())
        || ["unet", "text_encoder"].iter().any(|f| folder.join(f).is_dir())
}

/// The assets folder: where `ADMIX_ASSETS` says, else beside the executable or above it, else in the source tree that the
/// program was built from.
pub fn assets_folder() -> Result<PathBuf> {
    if let Some(stated) = std::env::var_os(ASSETS_VARIABLE) {
        let path = PathBuf::from(stated);
        if path.is_dir() {
            return Ok(path);
        }
        return Err(Error::NotFound(format!("{ASSETS_VARIABLE} names `{}`, which is not a folder", path.display())));
    }
    let executable = std::env::current_exe().ok();
    let beside = executable.iter().flat_map(|exe| exe.ancestors().skip(1)).map(|folder| folder.join("assets"));
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    beside
        .chain([source_tree])
        .find(|folder| folder.join("models").is_dir())
        .map(|folder| std::fs::canonicalize(&folder).unwrap_or(folder))
        .ok_or_else(|| {
            Error::NotFound(format!(
                "the assets folder with the built-in models was not found; set {ASSETS_VARIABLE} to it"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_by_kind() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        for folder in ["models/mini/unet", "finetunes", "adapters/peft-one", "models/empty"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["finetunes/flat.safetensors", "adapters/ink.safetensors", "adapters/peft-one/adapter_config.json"]
        {
            std::fs::write(at(file), "").unwrap();
        }
        let all = [Kind::Model, Kind::FineTune, Kind::Adapter];
        let find = |r: &str, kinds: &[Kind]| resolve_in(dir.path(), r, kinds);
        assert_eq!(find("builtin", &all).unwrap(), at("models/mini"));
        assert_eq!(find("builtin:flat", &all).unwrap(), at("finetunes/flat.safetensors"));
        assert_eq!(find("builtin:peft-one", &[Kind::Adapter]).unwrap(), at("adapters/peft-one"));
        let error = find("builtin:mini", &[Kind::Adapter]).unwrap_err();
        assert!(error.to_string().contains("there are ink, peft-one"), "{error}");
        assert!(error.is_user_fault());
        assert!(find("builtin:empty", &all).is_err());
        assert!(find("builtin:../mini", &all).is_err());
        assert_eq!(resolve_model("some/path").unwrap(), PathBuf::from("some/path"));
    }
}
