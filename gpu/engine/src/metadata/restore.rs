//! From a picture back to settings: its recipe, A1111's infotext, or ComfyUI's graph.

use admix_mix::recipe::{AdapterUse, Recipe, Reference, Sample};

use super::find::{Candidate, Hit, Search, Wanted, is_called, name_of};
use super::{Imported, Named, a1111, comfy};
use crate::EngineError;
use crate::picture::texts;

/// What could be read from a picture.
#[derive(Debug)]
pub struct Restored {
    /// Settings, on top of `current` where the picture says nothing.
    pub recipe: Recipe,
    /// What the picture says and could not be used, a line each. That it was made from another picture is not among them: the recipe has a strength then.
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

/// Settings from a PNG, JPEG or WebP: its recipe, or else A1111's infotext or ComfyUI's graph laid over `current`. Files that it names are looked for
/// among `candidates`, by checksum and by name; a recipe's own references go first where they lead somewhere.
///
/// # Errors
/// No such picture, or one without any.
pub async fn restore(file: &[u8], current: &Recipe, candidates: &[Candidate]) -> Result<Restored, EngineError> {
    let texts = texts(file)?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    let mut search = Search::new(candidates);
    let mut unresolved = Vec::new();
    if let Some(text) = find("admix") {
        match Recipe::from_json(text) {
            Ok(mut recipe) => {
                mend(&mut recipe, &mut search).await;
                return Ok(Restored { recipe, unresolved, is_own: true });
            }
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
    let mut restored = resolve(found, current, &mut search).await;
    restored.unresolved.splice(0..0, unresolved);
    Ok(restored)
}

/// Files that a recipe names and that are not where it says are looked for among `candidates`, by checksum and by name; what is found takes their
/// place. A file of that name with another checksum is not what is meant.
pub async fn mend_recipe(recipe: &mut Recipe, candidates: &[Candidate]) {
    mend(recipe, &mut Search::new(candidates)).await;
}

/// Recipes name files by where they lay: those that lie there no longer are looked for by checksum and name.
async fn mend(recipe: &mut Recipe, search: &mut Search<'_>) {
    let adapters = recipe.adapters.len();
    let count = recipe.references_mut().count();
    for (i, source) in recipe.references_mut().enumerate() {
        if search.has(&source.reference) {
            continue;
        }
        let wanted = if i + adapters < count { Wanted::Model } else { Wanted::Adapter };
        let named = Named { hash: source.sha256.clone(), ..Named::of(&name_of(&source.reference)) };
        if let Some(Hit { reference, differs: false }) = search.find(wanted, &named).await {
            source.reference = reference;
        }
    }
}

/// Names of files to what is there.
async fn resolve(found: Imported, current: &Recipe, search: &mut Search<'_>) -> Restored {
    let Imported { sample, model, adapters, inversions, mut unresolved } = found;
    let mut recipe = current.clone();
    let mut told = |kind: &str, named: &Named, differs: bool, line: String| {
        if differs {
            unresolved.push(format!("{kind} {}: the file of that name here has another checksum", named.shown()));
        } else if !line.is_empty() {
            unresolved.push(line);
        }
    };
    if let Some(named) = model {
        let is_current = is_called(&recipe.base.reference, &named.name);
        match search.find(Wanted::Model, &named).await {
            // Its own name for what is there already.
            Some(hit) if hit.differs && is_current => told("model", &named, true, String::new()),
            Some(hit) => {
                told("model", &named, hit.differs, String::new());
                if !is_current || !is_called(&hit.reference, &named.name) {
                    recipe.base = Reference::new(hit.reference);
                }
            }
            None if is_current => {}
            None => {
                let line =
                    format!("model {}: the picture was made with it; here the model stays as it is", named.shown());
                told("model", &named, false, line);
            }
        }
    }
    let held: Vec<String> = recipe.adapters.drain(..).map(|a| a.source.reference).collect();
    for named in adapters {
        let hit = search.find(Wanted::Adapter, &named).await;
        let differs = hit.as_ref().is_some_and(|h| h.differs);
        let here = hit.map(|h| h.reference).or_else(|| held.iter().find(|r| is_called(r, &named.name)).cloned());
        let Named { weight, text_weight, .. } = named;
        match here {
            Some(reference) => {
                told("adapter", &named, differs, String::new());
                recipe.adapters.push(AdapterUse { text_weight, ..AdapterUse::new(reference, weight) });
            }
            None => {
                let line = format!("adapter {} at {weight}: not on the shelf; drop its file to add it", named.shown());
                told("adapter", &named, false, line);
            }
        }
    }
    for named in inversions {
        match search.find(Wanted::Adapter, &named).await {
            Some(hit) => {
                let here = name_of(&hit.reference);
                let renamed = !is_called(&hit.reference, &named.name);
                let line =
                    format!("textual inversion {}: here it is called {here}; write that in the prompt", named.shown());
                told("textual inversion", &named, hit.differs, if renamed { line } else { String::new() });
                recipe.adapters.push(AdapterUse::new(hit.reference, 1.0));
            }
            None => {
                let line = format!("textual inversion {}: not on the shelf; drop its file to add it", named.shown());
                told("textual inversion", &named, false, line);
            }
        }
    }
    if search.gave_up {
        unresolved
            .push("not all files were read in search of a checksum, there are too many; their names counted".into());
    }
    // Knobs are the picture's alone: those of another sampler would not fit.
    let set = sample.set.clone();
    recipe.sample = Sample { set, ..sample.or(&recipe.sample) };
    Restored { recipe, unresolved, is_own: false }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use admix_files::{Bundle, MemSource};

    use super::*;

    fn adapter(reference: &str, bundle: Option<Bundle>) -> Candidate {
        Candidate { kind: Some(Wanted::Adapter), bundle, ..Candidate::new(reference) }
    }

    fn from_infotext(text: &str, current: &Recipe) -> Restored {
        let all = [adapter("builtin:pixel", None)];
        pollster::block_on(resolve(a1111::read(text), current, &mut Search::new(&all)))
    }

    /// A LoRA file in memory whose numbers are all `value`.
    fn lora(value: u8) -> Bundle {
        let header = r#"{"lora_unet_x.lora_up.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[value; 8]].concat();
        Bundle::file("some.safetensors", Arc::new(MemSource::new(bytes)))
    }

    #[test]
    fn files_are_found_by_checksum() {
        let sum = |b: &Bundle| pollster::block_on(admix_files::hash::bundle_sha256(b)).expect("hashes");
        let data = |b: &Bundle| {
            let source = b.first().expect("a file").1.clone();
            pollster::block_on(admix_files::hash::data_sha256(source.as_ref())).expect("hashes")
        };
        let (ink, other) = (lora(0), lora(1));
        // The file called ink is another one; the right one was renamed.
        let all = [
            adapter("drop:ink.safetensors", Some(other.clone())),
            adapter("drop:renamed.safetensors", Some(ink.clone())),
        ];
        let restored = |hashes: &str, all: &[Candidate]| {
            let text = format!("a cat <lora:ink:0.7>\nSteps: 20, CFG scale: 7, Seed: 1, {hashes}, Version: v1.10.1");
            pollster::block_on(resolve(a1111::read(&text), &Recipe::new("builtin:mini"), &mut Search::new(all)))
        };
        // As A1111 writes it (12 digits of the data's hash), and as it once did and model sites do (of the file's).
        for hash in [&data(&ink)[..12], &sum(&ink)[..10], &sum(&ink)[..8]] {
            let found = restored(&format!("Lora hashes: \"ink: {hash}\""), &all);
            assert_eq!(found.recipe.adapters, [AdapterUse::new("drop:renamed.safetensors", 0.7)], "{hash}");
            assert_eq!(found.unresolved, [""; 0]);
        }
        // By name alone, and told.
        let found = restored("Lora hashes: \"ink: 0123456789ab\"", &all);
        assert_eq!(found.recipe.adapters, [AdapterUse::new("drop:ink.safetensors", 0.7)]);
        assert!(found.unresolved[0].contains("another checksum"), "{:?}", found.unresolved);
        let inversion = restored(&format!("TI hashes: \"blurry: {}\"", &sum(&ink)[..12]), &all[1..]);
        assert_eq!(inversion.recipe.adapters, [AdapterUse::new("drop:renamed.safetensors", 1.0)]);
        assert!(inversion.unresolved.iter().any(|l| l.contains("is called renamed")), "{:?}", inversion.unresolved);
    }

    #[test]
    fn a_recipes_files_are_found_where_they_went() {
        let ink = lora(0);
        let sum = pollster::block_on(admix_files::hash::bundle_sha256(&ink)).expect("hashes");
        let mut recipe = Recipe::new("builtin:mini");
        recipe.adapters =
            vec![AdapterUse::new("/gone/ink.safetensors", 0.5), AdapterUse::new("/gone/lost.safetensors", 1.0)];
        recipe.adapters[0].source.sha256 = Some(sum);
        let all = [Candidate::new("builtin:mini"), adapter("drop:renamed.safetensors", Some(ink))];
        pollster::block_on(mend(&mut recipe, &mut Search::new(&all)));
        let found: Vec<&str> = recipe.adapters.iter().map(|a| a.source.reference.as_str()).collect();
        assert_eq!(found, ["drop:renamed.safetensors", "/gone/lost.safetensors"]);
        assert_eq!(recipe.base.reference, "builtin:mini");
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
        assert!(pollster::block_on(restore(b"not a png", &current, &[])).is_err());
    }
}
