//! From a dropped picture back to settings: its recipe, A1111's infotext, or ComfyUI's graph.

use admix_engine::EngineError;
use admix_engine::metadata::{Imported, Named, a1111, comfy};
use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::{AdapterUse, Sample};
use admix_engine::picture::texts;

/// What could be read from a picture.
#[derive(Debug)]
pub struct Restored {
    /// Settings, on top of `current` where the picture says nothing.
    pub recipe: Recipe,
    /// What the picture says and could not be used, a line each.
    pub unresolved: Vec<String>,
}

/// Settings from a PNG, JPEG or WebP: its recipe, or else A1111's infotext or ComfyUI's graph laid over `current`. Errors: no such picture, or one without any.
pub fn restore(file: &[u8], current: &Recipe) -> Result<Restored, EngineError> {
    let texts = texts(file)?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    let mut unresolved = Vec::new();
    if let Some(text) = find("admix") {
        match Recipe::from_json(text) {
            Ok(recipe) => return Ok(Restored { recipe, unresolved }),
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
    let mut restored = resolve(found, current);
    restored.unresolved.splice(0..0, unresolved);
    Ok(restored)
}

/// Names of files to what is there.
fn resolve(found: Imported, current: &Recipe) -> Restored {
    let Imported { sample, model, adapters, mut unresolved } = found;
    let mut recipe = current.clone();
    let built_in = crate::io::catalogue::builtin();
    let known = |name: &str, is_adapter: bool| {
        built_in
            .iter()
            .find(|i| i.is_adapter == is_adapter && i.name.eq_ignore_ascii_case(name))
            .map(|i| i.reference.clone())
    };
    if let Some(Named { name, hash, .. }) = model
        && !is_called(&recipe.base.reference, &name)
    {
        match known(&name, false) {
            Some(reference) => recipe.base = admix_engine::mix::recipe::Reference::new(reference),
            None => {
                let hash = hash.map_or_else(String::new, |h| format!(" ({h})"));
                unresolved
                    .push(format!("model {name}{hash}: the picture was made with it; here the model stays as it is"));
            }
        }
    }
    let held: Vec<String> = recipe.adapters.drain(..).map(|a| a.source.reference).collect();
    for Named { name, weight, text_weight, .. } in adapters {
        let reference = held.iter().find(|r| is_called(r, &name)).cloned().or_else(|| known(&name, true));
        match reference {
            Some(reference) => recipe.adapters.push(AdapterUse { text_weight, ..AdapterUse::new(reference, weight) }),
            None => {
                unresolved.push(format!("adapter {name} (weight {weight}): not on the shelf; drop its file to add it"));
            }
        }
    }
    // Knobs are the picture's alone: those of another sampler would not fit.
    let set = sample.set.clone();
    recipe.sample = Sample { set, ..sample.or(&recipe.sample) };
    Restored { recipe, unresolved }
}

fn is_called(reference: &str, name: &str) -> bool {
    crate::io::catalogue::short(reference).eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_infotext(text: &str, current: &Recipe) -> Restored {
        resolve(a1111::read(text), current)
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
        assert!(restore(b"not a png", &current).is_err());
    }
}
