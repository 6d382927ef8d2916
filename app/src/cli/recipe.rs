//! Where recipes come from: a JSON file, a picture or a checkpoint that carries one.

use std::io::Read;
use std::path::{Path, PathBuf};

use admix_engine::Session;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::files::safetensors::Index;
use admix_engine::files::{FileSource, adapter::Adapter, builtin, ready};
use admix_engine::metadata;
use admix_engine::mix::import::{self, Imported};
use admix_engine::mix::recipe::Recipe;
use admix_engine::picture::texts;
use admix_engine::tensor::DeviceOptions;

use super::fault::Fault;

/// Longest recipe or picture that is read whole.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a whole file of reasonable length.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Fault> {
    let shown = path.display();
    let missing = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Fault::input(format!("{shown} does not exist; check the path")),
        _ if path.is_dir() => Fault::input(format!("{shown} is a folder where a file was expected")),
        std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::PermissionDenied
        | std::io::ErrorKind::InvalidFilename => Fault::input(format!("cannot read {shown}: {e}")),
        _ => Fault::other(format!("cannot read {shown}: {e}")),
    };
    let file = std::fs::File::open(path).map_err(missing)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(missing)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Fault::input(format!(
            "{shown} is larger than {} MB; this is no recipe or picture",
            MAX_BYTES >> 20
        )));
    }
    Ok(bytes)
}

/// The recipe in a JSON file, in a picture that Admix made, or in a checkpoint that it or SuperMerger wrote, or in mergekit's YAML. References to files that are not found from the
/// current folder but beside the recipe mean those.
pub fn load(path: &Path) -> Result<Recipe, Fault> {
    let shown = path.display().to_string();
    let named = |text: String| Fault::input(format!("{shown}: {text}"));
    let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
    if is("yaml") || is("yml") {
        let text = String::from_utf8(read_file(path)?).map_err(|_| named("this is not UTF-8".into()))?;
        let imported = import::from_mergekit(&text).map_err(|e| named(e.to_string()))?;
        return Ok(beside(taken_over(imported), path));
    }
    let text = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
        let index = ready(Index::read(&FileSource::open(path)?, &shown))?;
        let field = |key: &str| index.metadata.get(key).map(String::as_str);
        if let (None, Some(text)) = (field("admix_recipe"), field("sd_merge_recipe")) {
            let imported =
                import::from_supermerger(text, field("sd_merge_models")).map_err(|e| named(e.to_string()))?;
            return Ok(beside(taken_over(imported), path));
        }
        field("admix_recipe").map(String::from).ok_or_else(|| named("this file carries no recipe".into()))?
    } else {
        let bytes = read_file(path)?;
        if metadata::is_picture(&bytes) {
            let found =
                texts(&bytes).map_err(|e| named(e.to_string()))?.into_iter().find(|(keyword, _)| keyword == "admix");
            found.ok_or_else(|| named("this picture carries no recipe of Admix".into()))?.1
        } else {
            String::from_utf8(bytes).map_err(|_| named("a recipe is a JSON text, but this is not UTF-8".into()))?
        }
    };
    Ok(beside(Recipe::from_json(&text).map_err(|e| named(e.to_string()))?, path))
}

/// As [`load`], and from pictures of other programs as well: A1111's infotext, ComfyUI's graph. Models and adapters are looked for below
/// `libraries` and among what is built in, by checksum and by name; what has no place here is told. True: it is such a picture, which names no base that must be kept.
pub fn load_to_render(path: &Path, libraries: &[PathBuf]) -> Result<(Recipe, bool), Fault> {
    let mut start = [0; 12];
    let read = std::fs::File::open(path).and_then(|mut f| f.read(&mut start));
    if !read.is_ok_and(|n| metadata::is_picture(&start[..n])) {
        return Ok((load(path)?, false));
    }
    let candidates = metadata::candidates(libraries);
    let restored = pollster::block_on(metadata::restore(&read_file(path)?, &Recipe::new("builtin"), &candidates))
        .map_err(|e| Fault::input(format!("{}: {e}", path.display())))?;
    restored.unresolved.iter().for_each(|line| eprintln!("note: {line}"));
    Ok((beside(restored.recipe, path), !restored.is_own))
}

/// Another program's recipe, with a line for everything of it that has no place here.
fn taken_over(imported: Imported) -> Recipe {
    imported.notes.iter().for_each(|note| eprintln!("note: {note}"));
    imported.recipe
}

/// References to files that are not found from the current folder but beside the recipe mean those.
fn beside(mut recipe: Recipe, path: &Path) -> Recipe {
    let folder = path.parent().unwrap_or(Path::new(""));
    for reference in recipe.references_mut() {
        let name = &reference.reference;
        let beside = folder.join(name);
        if !builtin::is_builtin(name) && !Path::new(name).exists() && beside.exists() {
            reference.reference = beside.display().to_string();
        }
    }
    recipe
}

/// Opens every file that a recipe names, before a device is looked for: what is wrong with them shows at once. With `to_render` the base must be
/// able to make pictures.
pub fn check_files(recipe: &Recipe, to_render: bool) -> Result<(), Fault> {
    for (i, reference) in recipe.checkpoint_refs().into_iter().enumerate() {
        let checkpoint = Checkpoint::open(builtin::resolve_model(reference)?)?;
        if i == 0 && to_render {
            checkpoint.check_renderable()?;
        }
    }
    for used in &recipe.adapters {
        let adapter = Adapter::open(builtin::resolve_adapter(&used.source.reference)?)?;
        // Textual inversions change no weight; the prompt calls them up.
        if !to_render || ready(adapter.embedding())?.is_none() {
            adapter.check_supported()?;
        }
    }
    Ok(())
}

/// A session on the best device, for one piece of work: it keeps no inputs of merges.
pub fn open_session(allow_changed: bool) -> Result<Session, Fault> {
    let mut session = pollster::block_on(Session::open(&DeviceOptions::default()))?;
    session.allow_changed = allow_changed;
    session.keeps_inputs = false;
    Ok(session)
}
