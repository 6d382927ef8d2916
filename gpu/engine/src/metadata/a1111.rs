//! A1111's infotext (`modules/infotext_utils.py`): prompt, negative prompt, and a last line of `Key: value` pairs.

use std::collections::BTreeMap;

use admix_mix::Knob;
use admix_mix::recipe::limits;
use admix_model::prompt::{Syntax, take_tags};
use serde_json::Value;

use super::{Imported, Named, stem};

/// An infotext in its parts, nothing understood yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Prompt.
    pub prompt: String,
    /// Negative prompt.
    pub negative: String,
    /// Pairs of the last line in order.
    pub fields: Vec<(String, String)>,
}

/// Keys and values of a line, as the regular expression `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` finds them one after another.
fn fields(line: &str) -> Vec<(String, String)> {
    let is_key = |c: char| c.is_alphanumeric() || c == '_' || " -/".contains(c);
    let mut out = Vec::new();
    let mut rest = line;
    loop {
        // A key: a run of its characters that starts with a word character and ends at a colon.
        let Some(start) = rest.find(|c: char| c.is_alphanumeric() || c == '_') else { return out };
        let tail = &rest[start..];
        let end = tail.find(|c| !is_key(c)).unwrap_or(tail.len());
        if !tail[end..].starts_with(':') || tail[..end].chars().count() < 2 {
            // No colon behind the run, so none behind any end of it.
            rest = &tail[end.max(tail.chars().next().map_or(1, char::len_utf8))..];
            continue;
        }
        let after = tail[end + 1..].trim_start();
        let (value, left) = match quoted(after) {
            Some((text, left)) => (text, left),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        out.push((tail[..end].trim().to_owned(), unquote(value.trim())));
        rest = left;
    }
}

/// A quoted value that ends at a comma or the line's end, with its quotes, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let left = &inner[end + 1..];
    let whole = end > 0 && (left.is_empty() || left.starts_with(','));
    whole.then(|| (&text[..end + 2], left.strip_prefix(',').unwrap_or(left)))
}

/// JSON's text in quotes as A1111 writes values with a comma, colon or line break; anything else as it is.
fn unquote(value: &str) -> String {
    match serde_json::from_str::<Value>(value) {
        Ok(Value::String(text)) if value.starts_with('"') => text,
        _ => value.to_owned(),
    }
}

/// Takes an infotext apart. A last line with fewer than three pairs belongs to the prompt, as there.
pub fn parts(text: &str) -> Parts {
    let mut lines: Vec<&str> = text.trim().lines().collect();
    let mut found = lines.last().map(|l| fields(l)).unwrap_or_default();
    if found.len() < 3 {
        found.clear();
    } else {
        lines.pop();
    }
    let (mut prompt, mut negative): (Vec<&str>, Option<Vec<&str>>) = (Vec::new(), None);
    for line in lines {
        let line = line.trim();
        match (line.strip_prefix("Negative prompt:"), &mut negative) {
            (Some(rest), None) => negative = Some(vec![rest.trim()]),
            (rest, Some(list)) => list.push(rest.map_or(line, str::trim)),
            (None, None) => prompt.push(line),
        }
    }
    Parts { prompt: prompt.join("\n"), negative: negative.unwrap_or_default().join("\n"), fields: found }
}

/// Fields that say nothing about the picture to be made, or are read together with another one.
const SILENT: &[&str] = &[
    "Version",
    "Model",
    "Model hash",
    "Lora hashes",
    "TI hashes",
    "Hashes",
    "Schedule type",
    "RNG",
    "Size",
    "Init image hash",
    "User",
    "Discard penultimate sigma",
    "Hires steps",
    "Hires upscaler",
    "Hires resize",
    "Hires upscale",
    "Denoising strength",
    "Batch size",
    "Batch pos",
];

/// Upscalers of A1111 that work on latents, by the names they have here.
const LATENT_UPSCALERS: &[(&str, &str)] = &[
    ("Latent", "latent_bilinear"),
    ("Latent (antialiased)", "latent_bilinear"),
    ("Latent (bicubic)", "latent_bicubic"),
    ("Latent (bicubic antialiased)", "latent_bicubic"),
    ("Latent (nearest)", "latent_nearest"),
    ("Latent (nearest-exact)", "latent_nearest_exact"),
    ("Lanczos", "picture_lanczos"),
    ("Bicubic", "picture_bicubic"),
    ("Nearest", "picture_nearest"),
];

/// Reads an infotext. Never fails: what is not understood is listed.
pub fn read(text: &str) -> Imported {
    let Parts { prompt, negative, fields } = parts(text);
    let mut out = Imported::default();
    let (prompt, tags, refused) = take_tags(&prompt, Syntax::A1111);
    refused.iter().for_each(|t| out.note(format!("{t}: not known here")));
    (out.sample.prompt, out.sample.negative) = (Some(prompt), Some(negative));
    let map: BTreeMap<&str, &str> = fields.iter().rev().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let get = |key: &str| map.get(key).copied();
    let hashes = get("Lora hashes").map(hash_list).unwrap_or_default();
    out.adapters = tags
        .into_iter()
        .map(|t| Named {
            // The list is written without its own signs.
            hash: hashes.get(&t.name.replace([':', ','], "")).cloned(),
            weight: t.weight,
            text_weight: t.text_weight,
            name: t.name,
        })
        .collect();
    if get("Model").is_some() || get("Model hash").is_some() {
        let name = get("Model").map(stem).unwrap_or_default();
        out.model = Some(Named { name, hash: get("Model hash").map(str::to_lowercase), ..Named::default() });
    }
    let inversions = get("TI hashes").map(hash_list).unwrap_or_default();
    out.inversions =
        inversions.into_iter().map(|(name, hash)| Named { hash: Some(hash), ..Named::of(&name) }).collect();
    if let Some(sampler) = get("Sampler") {
        let schedule = get("Schedule type").filter(|s| !s.eq_ignore_ascii_case("Automatic")).unwrap_or("");
        // A1111's UniPC is ComfyUI's (B(h) = h, three orders), not diffusers', unless its options say otherwise.
        let sampler = if sampler.eq_ignore_ascii_case("UniPC") { "uni_pc" } else { sampler };
        out.set_sampler(sampler, schedule);
    }
    if let Some((w, h)) = get("Size").and_then(size) {
        out.set_size(w, h);
    }
    // A1111's default is the graphics card's generator, which it does not write down.
    if !fields.is_empty() {
        out.sample.rng = Some(match get("RNG") {
            None | Some("NV" | "GPU") => "nv".into(),
            Some("Comfy") => "comfy".into(),
            Some("CPU") => "cpu".into(),
            Some(other) => {
                out.note(format!("RNG {other}: not known here"));
                "cpu".into()
            }
        });
    }
    hires(&mut out, &get);
    for (key, value) in &fields {
        if !field(&mut out, key, value) && !SILENT.contains(&key.as_str()) {
            out.note(format!("{key}: {value}"));
        }
    }
    out
}

/// `name: hash, name: hash`.
fn hash_list(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|p| p.rsplit_once(':'));
    pairs.map(|(n, h)| (n.trim().to_owned(), h.trim().to_owned())).collect()
}

fn size(text: &str) -> Option<(u64, u64)> {
    let (w, h) = text.split_once('x')?;
    Some((w.trim().parse().ok()?, h.trim().parse().ok()?))
}

/// The fields of the second pass, and of a picture that was started from.
fn hires<'a>(out: &mut Imported, get: &impl Fn(&str) -> Option<&'a str>) {
    let strength = get("Denoising strength").and_then(|v| v.parse::<f64>().ok()).filter(|v| (0.0..=1.0).contains(v));
    let scale = match (get("Hires upscale").and_then(|v| v.parse::<f64>().ok()), get("Hires resize").and_then(size)) {
        (Some(scale), _) => Some(scale),
        (None, Some((w, h))) => {
            let (width, height) = (out.sample.width.unwrap_or(512), out.sample.height.unwrap_or(512));
            let across = if w > 0 { w as f64 / f64::from(width) } else { h as f64 / f64::from(height) };
            if w > 0 && h > 0 && (across - h as f64 / f64::from(height)).abs() > 0.02 {
                out.note(format!("Hires resize: {w}x{h} has other proportions than the picture"));
            }
            Some(across)
        }
        _ => None,
    };
    let Some(scale) = scale else {
        out.sample.strength = strength;
        return;
    };
    if !(1.0..=8.0).contains(&scale) {
        out.note(format!("Hires upscale: {scale} is outside 1 to 8"));
        return;
    }
    let set = &mut out.sample.set;
    set.insert("hires_scale".into(), scale.into());
    set.insert("hires_strength".into(), strength.unwrap_or(0.7).into());
    if let Some(steps) = get("Hires steps").and_then(|v| v.parse::<u32>().ok()).filter(|v| (1..=1000).contains(v)) {
        set.insert("hires_steps".into(), steps.into());
    }
    if let Some(name) = get("Hires upscaler") {
        match LATENT_UPSCALERS.iter().find(|(n, _)| *n == name) {
            Some((_, here)) => {
                set.insert("hires_upscaler".into(), (*here).into());
            }
            None => out.note(format!("Hires upscaler: {name}")),
        }
    }
}

/// One field that stands for itself. False: not one of these.
fn field(out: &mut Imported, key: &str, value: &str) -> bool {
    let number = value.parse::<f64>().ok().filter(|v| v.is_finite());
    let within = |low: f64, high: f64| number.filter(|v| (low..=high).contains(v));
    let of = |knob: &Knob| within(knob.min, knob.max);
    let known = match key {
        "Steps" => of(&limits::STEPS).map(|v| out.sample.steps = Some(v as u32)),
        "CFG scale" => of(&limits::CFG).map(|v| out.sample.cfg = Some(v)),
        "CFG Rescale phi" | "CFG rescale" => of(&limits::CFG_RESCALE).map(|v| out.sample.cfg_rescale = Some(v)),
        "Seed" => value.parse().ok().map(|v| out.sample.seed = Some(v)),
        "Clip skip" => of(&limits::CLIP_SKIP).map(|v| out.sample.clip_skip = Some(v as u32)),
        "Emphasis" => {
            let here = match value {
                "Original" => Some("original"),
                "No norm" => Some("no_norm"),
                "Ignore" => Some("ignore"),
                "Comfy" => Some("comfy"),
                _ => None,
            };
            if value == "None" {
                out.sample.set.insert("prompt_syntax".into(), "plain".into());
                return true;
            }
            here.map(|h| drop(out.sample.set.insert("emphasis".into(), h.into())))
        }
        "Variation seed" => value.parse::<u32>().ok().map(|v| drop(out.sample.set.insert("subseed".into(), v.into()))),
        "Variation seed strength" => {
            within(0.0, 1.0).map(|v| drop(out.sample.set.insert("subseed_strength".into(), v.into())))
        }
        "Seed resize from" => {
            size(value).filter(|(w, h)| [w, h].iter().all(|v| limits::holds(&limits::WIDTH, **v))).map(|(w, h)| {
                out.sample.set.insert("seed_resize_from_w".into(), w.into());
                out.sample.set.insert("seed_resize_from_h".into(), h.into());
            })
        }
        "ENSD" => {
            value.parse::<u32>().ok().map(|v| drop(out.sample.set.insert("eta_noise_seed_delta".into(), v.into())))
        }
        "Mask blur" => within(0.0, 64.0).map(|v| drop(out.sample.set.insert("mask_blur".into(), v.into()))),
        "Image CFG scale" => within(0.0, 20.0).map(|v| drop(out.sample.set.insert("image_guidance".into(), v.into()))),
        "Prompt syntax" => {
            (value == "comfy").then(|| drop(out.sample.set.insert("prompt_syntax".into(), "comfy".into())))
        }
        "UniPC variant" => {
            ["bh1", "bh2"].contains(&value).then(|| drop(out.sample.set.insert("variant".into(), value.into())))
        }
        "UniPC order" => within(1.0, 3.0).map(|v| drop(out.sample.set.insert("order".into(), v.into()))),
        "Sampler" => Some(()),
        _ => return false,
    };
    if known.is_none() {
        out.note(format!("{key}: {value} is not possible here"));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "girl with an artist's beret, ((eyeshadow)), <lora:ink:0.8>, (detailed:1.2)\nsecond line\nNegative prompt: ugly, [blurry]\nmore of it\n\
        Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b12, \
        Model: \"odd, name: v2\", Denoising strength: 0.55, Clip skip: 2, Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent (bicubic), \
        Lora hashes: \"ink: 0123456789ab, other: ff\", TI hashes: \"bad: 12ab\", Version: v1.10.1";

    #[test]
    fn a_text_of_a1111() {
        let found = read(SAMPLE);
        let s = &found.sample;
        assert_eq!(
            s.prompt.as_deref(),
            Some("girl with an artist's beret, ((eyeshadow)), , (detailed:1.2)\nsecond line")
        );
        assert_eq!(s.negative.as_deref(), Some("ugly, [blurry]\nmore of it"));
        assert_eq!((s.steps, s.cfg, s.seed, s.clip_skip), (Some(25), Some(6.5), Some(965_400_086), Some(2)));
        assert_eq!((s.width, s.height, s.strength), (Some(512), Some(768), None));
        assert_eq!(
            (s.sampler.as_deref(), s.schedule.as_deref(), s.rng.as_deref()),
            (Some("dpmpp_2m"), Some("karras"), Some("nv"))
        );
        assert_eq!((s.set["hires_scale"].as_f64(), s.set["hires_strength"].as_f64()), (Some(1.5), Some(0.55)));
        assert_eq!(
            (s.set["hires_steps"].as_u64(), s.set["hires_upscaler"].as_str()),
            (Some(12), Some("latent_bicubic"))
        );
        let model = found.model.as_ref().expect("a model");
        assert_eq!((model.name.as_str(), model.hash.as_deref()), ("odd, name: v2", Some("45dee52b12")));
        let ink = Named { name: "ink".into(), hash: Some("0123456789ab".into()), weight: 0.8, text_weight: None };
        assert_eq!(found.adapters, [ink]);
        assert_eq!(found.inversions, [Named { hash: Some("12ab".into()), ..Named::of("bad") }]);
        assert_eq!(found.unresolved, [""; 0]);
    }

    #[test]
    fn what_is_not_known_is_listed() {
        let found = read(
            "x\nSteps: 20, Sampler: Restart Extra, Schedule type: Wild, CFG scale: NaN, Face restoration: CodeFormer, Seed: -1, RNG: TI",
        );
        let all = found.unresolved.join("; ");
        for word in ["sampler Restart Extra", "CFG scale: NaN", "Face restoration: CodeFormer", "Seed: -1", "RNG TI"] {
            assert!(all.contains(word), "{word}: {all}");
        }
    }

    #[test]
    fn variations_come_back() {
        let found = read(
            "x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Variation seed: 4294967295, Variation seed strength: 0.3, \
             Seed resize from: 384x512, ENSD: 31337, Version: v1.10.1",
        );
        let set = |name: &str| found.sample.set[name].as_f64().expect("a number");
        let names = ["subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h", "eta_noise_seed_delta"];
        assert_eq!(names.map(set), [4_294_967_295.0, 0.3, 384.0, 512.0, 31_337.0]);
        assert_eq!(found.unresolved, [""; 0]);
        let odd = read("x\nSteps: 20, Seed: 1, CFG scale: 7, Variation seed: -1, Seed resize from: 1x");
        assert_eq!(odd.unresolved.len(), 2, "{:?}", odd.unresolved);
    }

    #[test]
    fn few_fields_belong_to_the_prompt() {
        assert_eq!(parts("a cat\nratio: 2, b: 3").prompt, "a cat\nratio: 2, b: 3");
        assert_eq!(parts("").fields, []);
        assert_eq!(parts("Negative prompt: a\nNegative prompt: b").negative, "a\nb");
    }

    #[test]
    fn damaged_texts_do_no_harm() {
        let long = format!("a\nSteps: 1, {}", "a b ".repeat(200_000));
        let quotes = format!("Steps: \"{}", "\\\"".repeat(50_000));
        for text in [
            "Steps:",
            "Steps: \"",
            "a: \"\", b: \"\\",
            "é: ü, ß: \"ö\", 猫: x",
            "Size: x, Size: 1x, Size: 99999999999999999999x1",
            &long,
            &quotes,
            "\0\n\0: \0",
        ] {
            let found = read(text);
            assert!(found.sample.cfg.is_none_or(f64::is_finite));
        }
        // Every prefix of a real one.
        for end in (0..SAMPLE.len()).filter(|i| SAMPLE.is_char_boundary(*i)) {
            read(&SAMPLE[..end]);
        }
    }
}
