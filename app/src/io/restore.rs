//! From a dropped picture back to settings: its recipe, or A1111's infotext.

use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::{AdapterUse, Sample};
use admix_engine::picture::png_texts;
use admix_engine::{EngineError, sample};

/// What could be read from a picture.
#[derive(Debug)]
pub struct Restored {
    /// Settings, on top of `current` where the picture says nothing.
    pub recipe: Recipe,
    /// What the picture says and could not be used, a line each.
    pub unresolved: Vec<String>,
}

/// Settings from a PNG: its recipe, or else A1111's infotext laid over `current`. Errors: no readable PNG, or one without either.
pub fn restore(png: &[u8], current: &Recipe) -> Result<Restored, EngineError> {
    let texts = png_texts(png)?;
    let find = |keyword: &str| texts.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
    if let Some(text) = find("admix") {
        match Recipe::from_json(text) {
            Ok(recipe) => return Ok(Restored { recipe, unresolved: Vec::new() }),
            Err(error) if find("parameters").is_none() => {
                return Err(EngineError::Picture(format!("this picture's recipe cannot be read: {error}")));
            }
            // The infotext says less, but something.
            Err(_) => {}
        }
    }
    let text = find("parameters").ok_or_else(|| {
        EngineError::Picture("this picture carries no settings (neither a recipe nor an infotext)".into())
    })?;
    Ok(from_infotext(text, current))
}

/// Reads A1111's infotext.
fn from_infotext(text: &str, current: &Recipe) -> Restored {
    let lines: Vec<&str> = text.lines().collect();
    // The last line that starts with a number of steps holds the fields.
    let last = lines.iter().rposition(|l| l.starts_with("Steps:")).unwrap_or(lines.len());
    let (mut prompt, mut negative, mut in_negative) = (Vec::new(), Vec::new(), false);
    for line in &lines[..last] {
        match line.strip_prefix("Negative prompt:") {
            Some(rest) => {
                in_negative = true;
                negative.push(rest.trim());
            }
            None if in_negative => negative.push(line),
            None => prompt.push(*line),
        }
    }
    let mut unresolved = Vec::new();
    let mut recipe = current.clone();
    let (prompt, used) = take_adapters(&prompt.join("\n"));
    let mut s = Sample {
        prompt: Some(prompt),
        negative: Some(negative.join("\n")),
        ..Sample { set: Default::default(), ..recipe.sample.clone() }
    };
    for (name, weight) in used {
        let known =
            crate::io::catalogue::builtin().into_iter().find(|i| i.is_adapter && i.name.eq_ignore_ascii_case(&name));
        match known {
            Some(item) => recipe.adapters.push(AdapterUse::new(item.reference, weight)),
            None => {
                unresolved.push(format!("adapter {name} (weight {weight}): not on the shelf; drop its file to add it"))
            }
        }
    }
    for (key, value) in fields(lines.get(last..).unwrap_or_default().first().copied().unwrap_or_default()) {
        let number = || value.parse::<f64>().ok();
        match key.as_str() {
            "Steps" => s.steps = number().map(|v| v.clamp(1.0, 1000.0) as u32).or(s.steps),
            "CFG scale" => s.cfg = number().filter(|v| (0.0..=100.0).contains(v)).or(s.cfg),
            "Seed" => s.seed = value.parse().ok().or(s.seed),
            "Clip skip" => s.clip_skip = number().map(|v| v.clamp(1.0, 12.0) as u32),
            "Denoising strength" => s.strength = number().filter(|v| (0.0..=1.0).contains(v)),
            "Sampler" => match sample::registry::resolve(&value, "", "normal") {
                Ok((solver, schedule)) => {
                    s.sampler = Some(solver.info().name.into());
                    s.schedule = Some(schedule.info().name.into());
                }
                Err(_) => unresolved.push(format!("sampler {value}: not known here")),
            },
            "Schedule type" => match sample::registry::schedule(&value) {
                Ok(schedule) => s.schedule = Some(schedule.info().name.into()),
                Err(_) if value == "Automatic" => s.schedule = Some("auto".into()),
                Err(_) => unresolved.push(format!("schedule {value}: not known here")),
            },
            "Size" => {
                let mut sides = value.split('x').map(|v| v.parse::<u32>().ok().filter(|v| (8..=8192).contains(v)));
                if let (Some(Some(w)), Some(Some(h))) = (sides.next(), sides.next()) {
                    (s.width, s.height) = (Some(w), Some(h));
                }
            }
            "Model" => {
                if !crate::io::catalogue::short(&recipe.base.reference).eq_ignore_ascii_case(&value) {
                    unresolved
                        .push(format!("model {value}: the picture was made with it; here the model stays as it is"));
                }
            }
            "Model hash" | "Version" | "Lora hashes" | "Hashes" | "RNG" | "TI hashes" => {}
            _ => unresolved.push(format!("{key}: {value}")),
        }
    }
    recipe.sample = s;
    Restored { recipe, unresolved }
}

/// `<lora:name:weight>` out of a prompt.
fn take_adapters(prompt: &str) -> (String, Vec<(String, f64)>) {
    let (mut out, mut found, mut rest) = (String::new(), Vec::new(), prompt);
    while let Some((before, after)) = rest.split_once("<lora:") {
        let Some((tag, tail)) = after.split_once('>') else { break };
        out.push_str(before);
        let mut parts = tag.split(':');
        let name = parts.next().unwrap_or_default().to_string();
        let weight = parts.next().and_then(|w| w.parse().ok()).filter(|w: &f64| w.is_finite()).unwrap_or(1.0);
        found.push((name, weight));
        rest = tail;
    }
    out.push_str(rest);
    (out.trim().to_string(), found)
}

/// `Key: value, Key: "quoted, value"` apart.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let (value, tail) = if after.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(after).into_iter::<String>();
            match stream.next() {
                Some(Ok(text)) => (text, &after[stream.byte_offset().min(after.len())..]),
                _ => break,
            }
        } else {
            let (value, tail) = after.split_once(',').unwrap_or((after, ""));
            (value.trim().to_string(), tail)
        };
        out.push((key.trim().to_string(), value));
        rest = tail.trim_start_matches([',', ' ']);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_another_programs_picture() {
        let text = "a cat, <lora:ghost:0.8> fluffy\nsecond line\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, \
                    CFG scale: 6.5, Seed: 42, Size: 256x128, Model: other, Lora hashes: \"ghost: 12, b: 3\", Hires upscale: 2";
        let restored = from_infotext(text, &Recipe::new("builtin:mini"));
        let s = &restored.recipe.sample;
        assert_eq!(s.prompt.as_deref(), Some("a cat,  fluffy\nsecond line"));
        assert_eq!(s.negative.as_deref(), Some("blurry"));
        assert_eq!((s.steps, s.cfg, s.seed, s.width, s.height), (Some(25), Some(6.5), Some(42), Some(256), Some(128)));
        assert_eq!((s.sampler.as_deref(), s.schedule.as_deref()), (Some("dpmpp_2m"), Some("karras")));
        let missing = restored.unresolved.join("; ");
        assert!(missing.contains("ghost") && missing.contains("model other") && missing.contains("Hires"), "{missing}");
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
