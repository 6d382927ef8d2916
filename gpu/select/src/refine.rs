//! The refiner: from what lies around a file to a card.
//!
//! Stylus lets a vision model read the model card and example pictures and write a description and one weight (0.8 where nothing is
//! said). Here the stated facts are put in order by rules; nothing is described that nobody stated.

use crate::card::{Caption, Card, Kind};
use crate::text::{is_stop, stem, tokens};

/// Stylus's weight where nothing is said (`stylus/refiner/vlm.py`).
pub const DEFAULT_WEIGHT: f64 = 0.8;
/// Captions kept on a card.
const MOST_CAPTIONS: usize = 24;
/// Characters of description kept on a card.
const LONGEST_DESCRIPTION: usize = 1000;

/// What is stated about an adapter, wherever it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// File name without its ending.
    pub stem: String,
    /// Stated title.
    pub title: Option<String>,
    /// Stated description.
    pub description: Option<String>,
    /// Stated licence.
    pub licence: Option<String>,
    /// The author's words.
    pub triggers: Vec<String>,
    /// Captions with counts, the most frequent first.
    pub captions: Vec<(String, u64)>,
    /// Labels of the author or a site.
    pub labels: Vec<String>,
    /// Stated or measured class of models.
    pub family: Option<String>,
    /// Measured width of the text embedding.
    pub context: Option<usize>,
    /// Recommended weight.
    pub weight: Option<f64>,
    /// Size of the training pictures.
    pub resolution: Option<(u32, u32)>,
    /// Network module, for kinds that it tells.
    pub module: Option<String>,
    /// Where the facts come from.
    pub sources: Vec<String>,
}

/// Writes the card.
pub fn refine(facts: &Facts) -> Card {
    let title = title(facts);
    let most = facts.captions.first().map_or(1, |(_, n)| (*n).max(1));
    let share = |n: u64| n as f32 / most as f32;
    let captions: Vec<Caption> = facts
        .captions
        .iter()
        .filter(|(text, _)| !text.trim().is_empty() && text.chars().count() <= 80)
        .take(MOST_CAPTIONS)
        .map(|(text, n)| Caption { text: text.trim().to_owned(), share: share(*n) })
        .collect();
    let plain: String = strip_markup(facts.description.as_deref().unwrap_or_default());
    let description: String = plain.chars().take(LONGEST_DESCRIPTION).collect();
    let (weight, range) = weights(facts.weight, &plain);
    let kind = kind(facts, &title, &description, &captions);
    let [low, high] = range.unwrap_or(match kind {
        Kind::ConceptSlider => [-2.0, 2.0],
        Kind::Speed => [1.0, 1.0],
        _ => [0.4_f64.min(weight), weight.max(1.0)],
    });
    Card {
        kind,
        description,
        triggers: facts.triggers.iter().map(|t| clean_prompt(t)).filter(|t| !t.is_empty()).collect(),
        tags: facts.labels.clone(),
        captions,
        family: facts.family.clone(),
        context: facts.context,
        licence: facts.licence.clone(),
        weight,
        range: [low, high],
        resolution: facts.resolution,
        thumbnail: None,
        seen: String::new(),
        sources: facts.sources.clone(),
        title,
    }
}

/// The stated title, or the file's name without what exporters and people hang on it.
fn title(facts: &Facts) -> String {
    let stated = facts.title.as_deref().map(str::trim).filter(|t| !t.is_empty());
    let text = stated.unwrap_or(&facts.stem);
    let readable = readable(text);
    if readable.is_empty() { text.to_owned() } else { readable }
}

/// `myInkStyle_v2-000008` as words: versions, epochs and the words "lora", "sd15" dropped, camel case split.
pub fn readable(name: &str) -> String {
    if name.contains(' ') && !name.contains('_') {
        return name.trim().to_owned();
    }
    let parts = name.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|p| !p.is_empty() && !is_noise(p));
    let words: Vec<String> = parts.flat_map(camel).filter(|w| !is_noise(w)).collect();
    words.join(" ")
}

/// `neonCity` as two words.
fn camel(part: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in part.chars() {
        if out.is_empty() || before.is_lowercase() && c.is_uppercase() {
            out.push(String::new());
        }
        out.iter_mut().last().into_iter().for_each(|w| w.push(c));
        before = c;
    }
    out
}

/// Words of file names that say nothing of the picture.
fn is_noise(word: &str) -> bool {
    let lower = word.to_lowercase();
    let version =
        lower.strip_prefix('v').is_some_and(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit() || c == '.'));
    let epoch = lower.len() >= 5 && lower.chars().all(|c| c.is_ascii_digit());
    let known = [
        "lora",
        "locon",
        "lycoris",
        "loha",
        "lokr",
        "dora",
        "sd",
        "sd15",
        "sd1",
        "sd2",
        "sd21",
        "sdxl",
        "xl",
        "pony",
        "final",
        "epoch",
        "step",
        "steps",
        "fp16",
        "bf16",
        "safetensors",
        "last",
        "beta",
        "alpha",
        "test",
        "rank",
        "dim",
        "ss",
        "nai",
        "offset",
    ];
    version || epoch || known.contains(&lower.as_str())
}

/// A trigger without prompt syntax.
fn clean_prompt(text: &str) -> String {
    let without = text.split('<').next().unwrap_or_default();
    without.trim_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ':' | '"')).to_owned()
}

/// Text of a page without tags and entities.
fn strip_markup(text: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(' ');
            }
            _ if inside => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    let out = out.replace("&amp;", "&").replace("&nbsp;", " ").replace("&quot;", "\"").replace("&#39;", "'");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The recommended weight and range: the stated one, else the first figures after "weight" or "strength" in the text
/// (a range recommends its middle, as Stylus's refiner is told), else the default.
fn weights(stated: Option<f64>, text: &str) -> (f64, Option<[f64; 2]>) {
    let lower = text.to_lowercase();
    let found = ["weight", "strength"].iter().find_map(|word| {
        let after = lower.split_once(word)?.1;
        let window: String = after.chars().take(40).collect();
        let figures: Vec<f64> = window
            .split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .map(|f| f.trim_matches('.'))
            .filter_map(|f| f.parse::<f64>().ok())
            .filter(|f| (0.05..=2.0).contains(f))
            .collect();
        match figures[..] {
            [low, high, ..] if low < high => Some(((low + high) / 2.0, Some([low, high]))),
            [one, ..] => Some((one, None)),
            [] => None,
        }
    });
    let sound = stated.filter(|w| w.is_finite() && *w != 0.0 && w.abs() <= 10.0);
    match (sound, found) {
        (Some(weight), Some((_, range))) => (weight, range),
        (Some(weight), None) => (weight, None),
        (None, Some((weight, range))) => (weight, range),
        (None, None) => (DEFAULT_WEIGHT, None),
    }
}

/// Labels that sites give, and the kind they mean.
const LABELS: [(&str, Kind); 20] = [
    ("style", Kind::Style),
    ("styles", Kind::Style),
    ("artstyle", Kind::Style),
    ("art style", Kind::Style),
    ("character", Kind::Character),
    ("celebrity", Kind::Character),
    ("person", Kind::Character),
    ("poses", Kind::Pose),
    ("pose", Kind::Pose),
    ("action", Kind::Pose),
    ("slider", Kind::ConceptSlider),
    ("sliders", Kind::ConceptSlider),
    ("tool", Kind::Quality),
    ("quality", Kind::Quality),
    ("subject", Kind::Subject),
    ("object", Kind::Subject),
    ("objects", Kind::Subject),
    ("clothing", Kind::Subject),
    ("animal", Kind::Subject),
    ("vehicle", Kind::Subject),
];

fn kind(facts: &Facts, title: &str, description: &str, captions: &[Caption]) -> Kind {
    let words: Vec<String> = tokens(&format!("{title} {}", facts.stem)).into_iter().map(|t| t.stem).collect();
    let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    // What needs a sampler of its own or a sign of its own must be told before anything else.
    if has(&["lcm", "turbo", "lightning", "hyper", "tcd"]) {
        return Kind::Speed;
    }
    if has(&["slider"]) || facts.module.as_deref().is_some_and(|m| m.contains("slider")) {
        return Kind::ConceptSlider;
    }
    if let Some((_, kind)) =
        facts.labels.iter().find_map(|l| LABELS.iter().find(|(name, _)| l.trim().to_lowercase() == *name))
    {
        return *kind;
    }
    if has(&["detailer", "tweaker", "enhancer", "quality", "negative"])
        || has(&["better", "fix"]) && has(&["hand", "eye", "face"])
    {
        return Kind::Quality;
    }
    if has(&["pose", "posing"]) {
        return Kind::Pose;
    }
    let all = words.iter().cloned().chain(facts.triggers.iter().flat_map(|t| tokens(t)).map(|t| t.stem));
    if all.into_iter().any(|w| is_style_word(&w)) || style_sentence(description) {
        return Kind::Style;
    }
    let person = |c: &&Caption| c.share > 0.6 && ["1girl", "1boy", "solo"].contains(&c.text.to_lowercase().as_str());
    if captions.iter().take(4).filter(person).count() >= 2 && !facts.triggers.is_empty() {
        return Kind::Character;
    }
    Kind::Subject
}

/// The first sentence says that it is a style.
fn style_sentence(description: &str) -> bool {
    let first = description.split(['.', '!', '\n']).next().unwrap_or_default();
    tokens(first).iter().any(|t| matches!(t.stem.as_str(), "style" | "aesthetic" | "artstyle" | "medium"))
}

/// Words that name a way of making pictures rather than a thing in them.
pub fn is_style_word(word: &str) -> bool {
    let word = stem(word);
    !is_stop(&word) && STYLES.binary_search(&word.as_str()).is_ok()
}

const STYLES: &[&str] = &[
    "3d",
    "8bit",
    "acrylic",
    "aesthetic",
    "anime",
    "aquarelle",
    "art",
    "artstyle",
    "artwork",
    "bitmap",
    "blueprint",
    "cartoon",
    "cel",
    "charcoal",
    "chibi",
    "cinematic",
    "claymation",
    "clipart",
    "collage",
    "comic",
    "crayon",
    "crosshatching",
    "cubism",
    "cyanotype",
    "cyberpunk",
    "doodle",
    "drawing",
    "drawn",
    "engraving",
    "etching",
    "filter",
    "fresco",
    "glow",
    "gouache",
    "graffiti",
    "halftone",
    "handdrawn",
    "hatching",
    "illustration",
    "impressionism",
    "impressionist",
    "ink",
    "isometric",
    "lineart",
    "linework",
    "linocut",
    "lithograph",
    "lowpoly",
    "manga",
    "minimalist",
    "monochrome",
    "mosaic",
    "neon",
    "noir",
    "oil",
    "origami",
    "outline",
    "painted",
    "painterly",
    "painting",
    "papercraft",
    "pastel",
    "photo",
    "photograph",
    "photorealistic",
    "pixel",
    "pixelart",
    "pixelated",
    "popart",
    "render",
    "rendering",
    "retro",
    "schematic",
    "sepia",
    "sketch",
    "sprite",
    "steampunk",
    "style",
    "vaporwave",
    "watercolor",
    "woodcut",
    "zentangle",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn named(stem: &str) -> Facts {
        Facts { stem: stem.into(), ..Facts::default() }
    }

    #[test]
    fn file_names_become_titles() {
        for (name, title) in [
            ("myInkStyle_v2-000008", "my Ink Style"),
            ("watercolour", "watercolour"),
            ("line-art", "line art"),
            ("SD15_LoRA_neonCity_v1", "neon City"),
            ("Neon City", "Neon City"),
            ("lora_v2", "lora_v2"),
        ] {
            assert_eq!(refine(&named(name)).title, title, "{name}");
        }
    }

    #[test]
    fn kinds_are_told() {
        for (name, kind) in [
            ("lcm-lora-sdv1-5", Kind::Speed),
            ("age_slider_v2", Kind::ConceptSlider),
            ("inkSketchStyle", Kind::Style),
            ("add-detailer", Kind::Quality),
            ("sitting pose", Kind::Pose),
            ("unicorn", Kind::Subject),
        ] {
            assert_eq!(refine(&named(name)).kind, kind, "{name}");
        }
        let labelled = Facts { labels: vec!["lora".into(), "Character".into()], ..named("style of x") };
        assert_eq!(refine(&labelled).kind, Kind::Character);
        let told = Facts { description: Some("A soft wash style. Use it.".into()), ..named("wtr") };
        assert_eq!(refine(&told).kind, Kind::Style);
        assert!(STYLES.is_sorted());
    }

    #[test]
    fn weights_are_read_from_texts() {
        let of = |stated, text: &str| {
            let c = refine(&Facts { weight: stated, description: Some(text.into()), ..named("x") });
            (c.weight, c.range)
        };
        assert_eq!(of(None, ""), (0.8, [0.4, 1.0]));
        assert_eq!(of(None, "<p>Recommended <b>weight</b>: 0.5-0.7</p>"), (0.6, [0.5, 0.7]));
        assert_eq!(of(None, "strength of 1.2 works"), (1.2, [0.4, 1.2]));
        assert_eq!(of(Some(1.0), "weight 0.4 to 0.9"), (1.0, [0.4, 0.9]));
        assert_eq!(of(Some(f64::NAN), "weighty 99"), (0.8, [0.4, 1.0]));
    }

    #[test]
    fn captions_carry_their_share() {
        let card = refine(&Facts { captions: vec![("a".into(), 40), ("b".into(), 10), (" ".into(), 1)], ..named("x") });
        assert_eq!(card.captions.iter().map(|c| c.share).collect::<Vec<_>>(), [1.0, 0.25]);
    }
}
