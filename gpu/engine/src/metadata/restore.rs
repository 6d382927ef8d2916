//! From a picture back to settings: its recipe, A1111's infotext, or ComfyUI's graph.

use admix_mix::recipe::{AdapterUse, Recipe, Reference, Sample};

use super::{Imported, Named, a1111, comfy};
use crate::EngineError;
use crate::infotext::short_name;
use crate::picture::texts;

/// What a name of another program can mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A checkpoint.
    Model,
    /// An adapter.
    Adapter,
}

/// Finds what has a name: its reference.
pub type Find<'a> = &'a dyn Fn(Wanted, &str) -> Option<String>;

/// What could be read from a picture.
#[derive(Debug)]
pub struct Restored {
    /// Settings, on top of `current` where the picture says nothing.
    pub recipe: Recipe,
    /// What the picture says and could not be used, a line each.
    pub unresolved: Vec<String>,
    /// It is our own recipe, complete; else another program's settings.
    pub is_own: bool,
}

/// Whether bytes are a picture that may carry settings.
pub fn is_picture(file: &[u8]) -> bool {
    file.starts_with(b"\x89PNG")
        || file.starts_with(&[0xff, 0xd8])
        || (file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP"))
}

/// Settings from a PNG, JPEG or WebP: its recipe, or else A1111's infotext or ComfyUI's graph laid over `current`.
///
/// # Errors
/// No such picture, or one without any.
pub fn restore(file: &[u8], current: &Recipe, find_file: Find<'_>) -> Result<Restored, EngineError> {
    let texts = texts(file)?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    let mut unresolved = Vec::new();
    if let Some(text) = find("admix") {
        match Recipe::from_json(text) {
            Ok(recipe) => return Ok(Restored { recipe, unresolved, is_own: true }),
            Err(error) if find("parameters").is_none() => {
                return Err(EngineError::Picture(format!("this picture's recipe cannot be read: {error}")));
            }
            // The infotext says less, but something.
            Err(error) => {
                unresolved.push(format!("its recipe cannot be read ({error}); the infotext was taken instead"))
            }
        }
    }
    let found = match (find("parameters"), find("prompt")) {
        (Some(text), _) => Some(a1111::read(text)),
        (None, Some(graph)) => comfy::read(graph),
        (None, None) => None,
    };
    let found = found.ok_or_else(|| {
        EngineError::Picture("this picture carries no settings (no recipe, no infotext and no graph of ComfyUI)".into())
    })?;
    let mut restored = resolve(found, current, find_file);
    restored.unresolved.splice(0..0, unresolved);
    Ok(restored)
}

/// Names of files to what is there.
fn resolve(found: Imported, current: &Recipe, find_file: Find<'_>) -> Restored {
    let Imported { sample, model, adapters, mut unresolved } = found;
    let mut recipe = current.clone();
    if let Some(Named { name, hash, .. }) = model
        && !is_called(&recipe.base.reference, &name)
    {
        match find_file(Wanted::Model, &name) {
            Some(reference) => recipe.base = Reference::new(reference),
            None => {
                let hash = hash.map_or_else(String::new, |h| format!(" ({h})"));
                unresolved
                    .push(format!("model {name}{hash}: the picture was made with it; here the model stays as it is"));
            }
        }
    }
    let held: Vec<String> = recipe.adapters.drain(..).map(|a| a.source.reference).collect();
    for Named { name, weight, text_weight, hash } in adapters {
        let here = held.iter().find(|r| is_called(r, &name)).cloned();
        let reference = here.or_else(|| find_file(Wanted::Adapter, &name));
        match reference {
            Some(reference) => recipe.adapters.push(AdapterUse { text_weight, ..AdapterUse::new(reference, weight) }),
            None => {
                let hash = hash.map_or_else(String::new, |h| format!(", {h}"));
                let line = format!("adapter {name} (weight {weight}{hash}): not on the shelf; drop its file to add it");
                unresolved.push(line);
            }
        }
    }
    // Knobs are the picture's alone: those of another sampler would not fit.
    let set = sample.set.clone();
    recipe.sample = Sample { set, ..sample.or(&recipe.sample) };
    Restored { recipe, unresolved, is_own: false }
}

fn is_called(reference: &str, name: &str) -> bool {
    let reference = if reference == "builtin" { "builtin:mini" } else { reference };
    short_name(reference.strip_prefix("drop:").unwrap_or(reference)).eq_ignore_ascii_case(name)
}

/// What has a name among the files below some folders and what is built in, for [`restore`].
#[cfg(not(target_arch = "wasm32"))]
pub fn find_in(libraries: &[std::path::PathBuf], wanted: Wanted, name: &str) -> Option<String> {
    use admix_files::builtin::{Kind, catalogue};

    use crate::conditioning::{DEEPEST, list_files};
    let mut files = Vec::new();
    libraries.iter().for_each(|folder| list_files(folder, DEEPEST, &mut files));
    if let Some(path) = files.iter().find(|p| is_called(&p.display().to_string(), name)) {
        return Some(path.display().to_string());
    }
    let fits = |kind: Kind| (kind == Kind::Adapter) == (wanted == Wanted::Adapter);
    let found = catalogue().ok()?.into_iter().find(|i| fits(i.kind) && i.name.eq_ignore_ascii_case(name))?;
    Some(format!("builtin:{}", found.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_infotext(text: &str, current: &Recipe) -> Restored {
        let find = |wanted: Wanted, name: &str| {
            (wanted == Wanted::Adapter && name.eq_ignore_ascii_case("pixel")).then(|| "builtin:pixel".to_owned())
        };
        resolve(a1111::read(text), current, &find)
    }

    #[test]
    fn settings_come_back_from_another_programs_picture() {
        let text = "a cat, <lora:ghost:0.8> fluffy <lora:Pixel:0.5>\nsecond line\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, \
                    CFG scale: 6.5, Seed: 42, Size: 256x128, Model: other, Lora hashes: \"ghost: 12, b: 3\", Hires upscale: 2, Face restoration: X";
        let restored = from_infotext(text, &Recipe::new("builtin:mini"));
        let s = &restored.recipe.sample;
        assert_eq!(s.prompt.as_deref(), Some("a cat,  fluffy \nsecond line"));
        assert_eq!(s.negative.as_deref(), Some("blurry"));
        assert_eq!((s.steps, s.cfg, s.seed, s.width, s.height), (Some(25), Some(6.5), Some(42), Some(256), Some(128)));
        assert_eq!((s.sampler.as_deref(), s.schedule.as_deref()), (Some("dpmpp_2m"), Some("karras")));
        assert_eq!(s.set["hires_scale"].as_f64(), Some(2.0));
        assert_eq!(restored.recipe.adapters, [AdapterUse::new("builtin:pixel", 0.5)]);
        let missing = restored.unresolved.join("; ");
        assert!(missing.contains("ghost") && missing.contains("model other") && missing.contains("Face"), "{missing}");
    }

    #[test]
    fn damaged_infotexts_do_no_harm() {
        let current = Recipe::new("builtin:mini");
        for text in
            ["", "Steps:", "Steps: \"", "Steps: 1, : , Size: 9x", "<lora:", "Steps: -4, CFG scale: NaN, Seed: -1"]
        {
            let restored = from_infotext(text, &current);
            assert!(restored.recipe.sample.cfg.is_none_or(f64::is_finite), "{text}");
        }
        assert!(restore(b"not a png", &current, &|_, _| None).is_err());
    }
}
