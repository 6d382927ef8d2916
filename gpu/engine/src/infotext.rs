//! What a finished picture says of itself: A1111's infotext in the keyword `parameters`, the recipe in `admix`.

use std::path::Path;

use admix_files::known_as::short;
use admix_mix::AdapterReport;
use admix_mix::recipe::{AdapterUse, Recipe};
use admix_model::prompt::{Emphasis, Syntax};
use admix_sample::rng::{Kind, Variation};
use admix_sample::{Knob, KnobValues, names, registry};

use crate::picture::{Format, Infotext};
use crate::upscale::{Filter, Hires, Upscaler};
use crate::{EngineError, Rendered};
use crate::{mask, variation};

/// File name without folders and without `.safetensors`; `builtin:NAME` gives NAME.
pub fn short_name(reference: &str) -> String {
    let name = reference.strip_prefix("builtin:").unwrap_or(reference);
    let file = Path::new(name).file_name().map_or_else(|| name.to_string(), |n| n.to_string_lossy().into_owned());
    file.strip_suffix(".safetensors").map(str::to_string).unwrap_or(file)
}

/// An entry of A1111's lists of hashes: a name without the lists' own signs, and the first twelve digits.
fn hash_entry(name: &str, hash: &str) -> String {
    format!("{}: {}", name.replace([':', ','], ""), short(hash, 12))
}

/// A1111's name of a way to enlarge.
fn upscaler_name(upscaler: Upscaler) -> &'static str {
    match upscaler {
        Upscaler::Latent(Filter::Nearest) => "Latent (nearest)",
        Upscaler::Latent(Filter::NearestExact) => "Latent (nearest-exact)",
        Upscaler::Latent(Filter::Bicubic) => "Latent (bicubic)",
        Upscaler::Latent(_) => "Latent",
        Upscaler::Picture(Filter::Nearest | Filter::NearestExact) => "Nearest",
        Upscaler::Picture(Filter::Bicubic) => "Bicubic",
        Upscaler::Picture(_) => "Lanczos",
    }
}

/// A1111's fields for a UniPC that is not as its own is by default (B(h) = h, order 3).
fn unipc_fields(known: &[Knob], values: &KnobValues) -> Vec<(&'static str, String)> {
    let get = |name: &str| known.iter().find(|k| k.name == name).map(|k| (k, values.get(k)));
    let mut fields = Vec::new();
    if let Some((knob, value)) = get("variant")
        && let Some(word) = knob.choices.get(value as usize).filter(|w| **w != "bh1")
    {
        fields.push(("UniPC variant", (*word).to_string()));
    }
    fields.extend(get("order").filter(|(_, v)| *v != 3.0).map(|(_, v)| ("UniPC order", v.to_string())));
    fields
}

impl Rendered {
    /// Picture `index` was drawn from this seed (with ComfyUI's generator all pictures of a batch share one).
    pub fn seed_of(&self, index: usize) -> u64 {
        match self.settings.rng {
            Kind::Comfy => self.settings.seed,
            Kind::Cpu | Kind::Nv => self.variation().seeds(self.settings.seed, index as u64).0,
        }
    }

    fn variation(&self) -> Variation {
        variation::read(self.settings.options.values(), 1)
    }

    /// The recipe that makes picture `index` alone again (with ComfyUI's generator: its whole batch).
    pub fn recipe_of(&self, index: usize) -> Recipe {
        let mut recipe = self.recipe.clone();
        if self.settings.rng != Kind::Comfy {
            recipe.sample.seed = Some(self.seed_of(index));
            recipe.sample.batch = None;
            if self.variation().strength > 0.0 {
                let own = self.variation().seeds(0, index as u64).1;
                recipe.sample.set.insert(variation::SUBSEED.name.into(), own.into());
            }
        }
        recipe
    }

    /// A1111's infotext of picture `index`: sampler and schedule under the names people know, adapters as `<lora:NAME:WEIGHT>` behind the prompt.
    pub fn infotext(&self, index: usize) -> String {
        let s = &self.settings;
        let (sampler, schedule) = match registry::resolve(&s.sampler, &s.schedule, registry::open_schedule(&s.sampling))
        {
            Ok((solver, schedule)) => {
                (names::label(&solver.info(), &s.knobs).to_string(), schedule.info().label.to_string())
            }
            Err(_) => (s.sampler.clone(), s.schedule.clone()),
        };
        let rng = match s.rng {
            Kind::Nv => "NV",
            // One picture of ComfyUI's batch is what torch's generator gives; a batch is not.
            Kind::Comfy if s.batch > 1 => "Comfy",
            Kind::Cpu | Kind::Comfy => "CPU",
        };
        let mut fields = vec![
            ("Steps", s.steps.to_string()),
            ("Sampler", sampler),
            ("Schedule type", schedule),
            ("CFG scale", s.cfg.to_string()),
            ("Seed", self.seed_of(index).to_string()),
            ("Size", format!("{}x{}", s.width, s.height)),
            ("Model hash", short(&self.model.sha256, 10)),
            ("Model", short_name(&self.model.name)),
        ];
        if let Ok(unipc) = registry::sampler(&s.sampler).map(|solver| solver.info())
            && unipc.name == "unipc"
        {
            fields.extend(unipc_fields(unipc.knobs, &s.knobs));
        }
        if s.cfg_rescale > 0.0 {
            fields.push(("CFG Rescale phi", s.cfg_rescale.to_string()));
        }
        let options = s.options.values();
        let hires = Hires::read(options);
        if let Some(strength) = hires.map(|h| h.strength).or(self.recipe.sample.strength) {
            fields.push(("Denoising strength", strength.to_string()));
        }
        if s.clip_skip != 1 {
            fields.push(("Clip skip", s.clip_skip.to_string()));
        }
        fields.extend(variation::fields(s, index));
        fields.push(("RNG", rng.into()));
        if let Some(hires) = hires {
            fields.push(("Hires upscale", hires.scale.to_string()));
            fields.extend(hires.steps.map(|steps| ("Hires steps", steps.to_string())));
            fields.push(("Hires upscaler", upscaler_name(hires.upscaler).into()));
        }
        let blur = options.get(&mask::BLUR);
        if blur > 0.0 {
            fields.push(("Mask blur", blur.to_string()));
        }
        let rules = s.options.rules();
        match (rules.syntax, rules.emphasis) {
            (Syntax::Plain, _) => fields.push(("Emphasis", "None".into())),
            (_, Emphasis::NoNorm) => fields.push(("Emphasis", "No norm".into())),
            (_, Emphasis::Ignore) => fields.push(("Emphasis", "Ignore".into())),
            (_, Emphasis::Comfy) => fields.push(("Emphasis", "Comfy".into())),
            (_, Emphasis::Original) => {}
        }
        if rules.syntax == Syntax::Comfy {
            fields.push(("Prompt syntax", "comfy".into()));
        }
        // A1111 leaves out what it has no checksum of.
        let hash = |a: &AdapterReport| Some(hash_entry(&short_name(&a.name), a.autov3.as_deref()?));
        let hashes: Vec<String> = self.adapters.iter().filter_map(hash).collect();
        if !hashes.is_empty() {
            fields.push(("Lora hashes", hashes.join(", ")));
        }
        let words = format!("{}\n{}", s.prompt, s.negative).to_lowercase();
        let named = |u: &AdapterUse| {
            let (name, sum) = (short_name(&u.source.reference), u.source.sha256.as_deref().unwrap_or_default());
            words.contains(&name.to_lowercase()).then(|| hash_entry(&name, sum))
        };
        let inversions: Vec<String> = self.inversions.iter().filter_map(named).collect();
        if !inversions.is_empty() {
            fields.push(("TI hashes", inversions.join(", ")));
        }
        fields.push(("Version", format!("Admix {}", env!("CARGO_PKG_VERSION"))));
        let mut prompt = s.prompt.clone();
        for (i, adapter) in self.adapters.iter().enumerate() {
            let used = self.recipe.adapters.get(i);
            let space = if prompt.is_empty() { "" } else { " " };
            let text = used.and_then(|u| u.text_weight).map_or_else(String::new, |t| format!("{t}:"));
            prompt.push_str(&format!("{space}<lora:{}:{text}{}>", short_name(&adapter.name), adapter.weight));
        }
        Infotext { prompt: &prompt, negative: &s.negative, fields }.render()
    }

    /// Picture `index` as a PNG that carries both texts.
    pub fn png(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        self.file(index, Format::Png)
    }

    /// Picture `index` as a file that carries both texts.
    pub fn file(&self, index: usize, format: Format) -> Result<Vec<u8>, EngineError> {
        let picture =
            self.pictures.get(index).ok_or_else(|| EngineError::Input(format!("there is no picture {index}")))?;
        picture.encode(format, &self.infotext(index), &self.recipe_of(index).to_json(false))
    }
}
