//! `admix render`: a picture from a recipe, or from a model, adapters and a prompt.

use std::path::{Path, PathBuf};

use admix_engine::mix::AdapterReport;
use admix_engine::mix::recipe::{AdapterUse, Knobs, Recipe, Reference, Sample};
use admix_engine::picture::Format;
use admix_engine::{Batching, Control, Given, Picture, Rendered};
use serde_json::{Value, json};

use super::fault::Fault;
use super::progress::Bar;
use super::tensors::{self, TensorFile};
use super::{cancel, output, recipe, values};

/// Arguments of `admix render`.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct RenderArgs {
    /// What the picture shows
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// What it must not show
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// A recipe: a JSON file, a checkpoint written by Admix, or a picture made by Admix, A1111 or ComfyUI
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// A .safetensors file, a diffusers folder or builtin:NAME [default: builtin]
    #[arg(long, value_name = "REF")]
    model: Option<String>,
    /// An adapter, with its weight behind the last @; may be repeated
    #[arg(long, value_name = "REF[@WEIGHT]", value_parser = values::adapter)]
    adapter: Vec<AdapterUse>,
    /// A folder in which adapters that the prompt names (<lora:NAME:WEIGHT>) are looked for; may be repeated
    #[arg(long, value_name = "DIR")]
    library: Vec<PathBuf>,
    /// Where the picture goes, as .png, .webp or .jpg; several get -0, -1, ... before the ending
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Seed of the noise; picture i of a batch has seed + i
    #[arg(long, value_name = "N", value_parser = values::seed)]
    seed: Option<u64>,
    /// Whose random numbers: cpu (torch's), nv (CUDA's), comfy (torch's, one draw for the batch)
    #[arg(long, value_name = "NAME", value_parser = values::rng)]
    rng: Option<String>,
    /// Pictures at once
    #[arg(long, value_name = "N", value_parser = values::batch)]
    batch: Option<u32>,
    /// See `admix list samplers`
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// See `admix list schedules`
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Sampling steps
    #[arg(long, value_name = "N", value_parser = values::steps)]
    steps: Option<u32>,
    /// Guidance scale; 1 leaves the negative prompt out
    #[arg(long, value_name = "F", value_parser = values::cfg)]
    cfg: Option<f64>,
    /// How far guidance is brought back to the spread of the conditional result, 0 to 1
    #[arg(long, value_name = "F", value_parser = values::share)]
    cfg_rescale: Option<f64>,
    /// Pixels [default: the model's own size]
    #[arg(long, value_name = "N", value_parser = values::edge)]
    width: Option<u32>,
    /// Pixels [default: the model's own size]
    #[arg(long, value_name = "N", value_parser = values::edge)]
    height: Option<u32>,
    /// Which layer of the text encoder is read, from the end (1 = the last)
    #[arg(long, value_name = "N", value_parser = values::clip_skip)]
    clip_skip: Option<u32>,
    /// A picture to start from
    #[arg(long, value_name = "IMG")]
    init: Option<PathBuf>,
    /// How far the picture given by --init is changed, 0 to 1 [default: 0.75]
    #[arg(long, value_name = "F", value_parser = values::share)]
    strength: Option<f64>,
    /// Where the picture given by --init may change: white (see --set inpaint_rule, mask_blur, mask_invert)
    #[arg(long, value_name = "IMG")]
    mask: Option<PathBuf>,
    /// A knob of the sampler or schedule; may be repeated (see `admix list knobs`)
    #[arg(long = "set", value_name = "KNOB=VALUE", value_parser = values::assignment)]
    set: Vec<(String, Value)>,
    /// A safetensors file with `noise` [n, c, h/8, w/8] in place of the seed's
    #[arg(long, value_name = "FILE")]
    noise: Option<PathBuf>,
    /// A safetensors file with `cond` and `uncond` [n, tokens, dim] in place of the text encoder's
    #[arg(long, value_name = "FILE")]
    embeds: Option<PathBuf>,
    /// Write the final latents, before the VAE, as f32 `latents`
    #[arg(long, value_name = "FILE")]
    latents_out: Option<PathBuf>,
    /// Accept files whose sha256 differs from the recipe's
    #[arg(long)]
    allow_changed: bool,
}

/// Renders and writes.
pub fn run(args: &RenderArgs, json: bool) -> Result<(), Fault> {
    let cancel = cancel::on_ctrl_c();
    args.check()?;
    let given = args.given()?;
    let recipe = args.recipe(&given)?;
    recipe::check_files(&recipe, true)?;

    let mut session = recipe::open_session(args.allow_changed)?;
    session.libraries.clone_from(&args.library);
    let mut bar = Bar::new();
    let listener: Box<dyn FnMut(admix_engine::Progress) + Send> = Box::new(move |p| bar.report(&p));
    let mut control = Control { listener: Some(listener), cancel, ..Control::default() };
    let rendered = pollster::block_on(session.render(&recipe, &given, &mut control));
    // The bar goes before anything is said.
    drop(control.listener.take());
    let rendered = rendered?;

    let format = args.format()?;
    let paths = output::numbered(&args.out, rendered.pictures.len());
    let mut files = output::Batch::default();
    for (i, path) in paths.iter().enumerate() {
        files.add(path, &rendered.file(i, format)?)?;
    }
    if control.cancel.is_cancelled() {
        return Err(admix_engine::EngineError::Cancelled.into());
    }
    if let Some(path) = &args.latents_out {
        tensors::write(path, "latents", &rendered.latents, &rendered.shape)?;
    }
    files.finish()?;
    report(&rendered, &paths, args, json);
    Ok(())
}

impl RenderArgs {
    /// What can be told to be wrong before anything is opened.
    fn check(&self) -> Result<(), Fault> {
        if self.mask.is_some() && self.init.is_none() {
            return Err(Fault::input("--mask says where the picture given by --init may change; give --init too"));
        }
        if self.strength.is_some() && self.init.is_none() {
            return Err(Fault::input(
                "--strength says how far the picture given by --init is changed; give --init too",
            ));
        }
        self.format()?;
        if let Some(missing) = self.library.iter().find(|d| !d.is_dir()) {
            return Err(Fault::input(format!("--library: {} is not a folder", missing.display())));
        }
        output::check_target(&self.out, "--out")?;
        if let Some(path) = &self.latents_out {
            output::check_target(path, "--latents-out")?;
        }
        Ok(())
    }

    /// The format that the name of the picture asks for.
    fn format(&self) -> Result<Format, Fault> {
        let extension = self.out.extension().unwrap_or_default().to_string_lossy();
        Format::from_extension(&extension).ok_or_else(|| {
            let shown = self.out.display();
            Fault::input(format!("--out: {shown}: pictures are written as PNG, JPEG or WebP; choose a name that ends in .png, .jpg or .webp"))
        })
    }

    /// Tensors and pictures that take the place of what the engine would make.
    fn given(&self) -> Result<Given, Fault> {
        let mut given = Given::default();
        if let Some(path) = &self.noise {
            given.noise = Some(TensorFile::open(path)?.read("noise", "[n, channels, height/8, width/8]")?);
        }
        if let Some(path) = &self.embeds {
            let file = TensorFile::open(path)?;
            given.cond = Some(file.read("cond", "[n, tokens, features]")?);
            // Guidance off needs no second one; otherwise the negative prompt is encoded.
            if file.has("uncond") {
                given.uncond = Some(file.read("uncond", "[n, tokens, features]")?);
            }
            // SDXL's pooled text.
            for (name, target) in [("pooled_cond", &mut given.pooled_cond), ("pooled_uncond", &mut given.pooled_uncond)]
            {
                if file.has(name) {
                    *target = Some(file.read(name, "[n, features]")?);
                }
            }
        }
        if let Some(path) = &self.init {
            given.init = Some(Picture::decode(&recipe::read_file(path)?, &path.display().to_string())?);
        }
        if let Some(path) = &self.mask {
            given.mask = Some(Picture::decode(&recipe::read_file(path)?, &path.display().to_string())?);
        }
        Ok(given)
    }

    /// The recipe of a file. Another program's picture only names its model, so that one may be given beside it.
    fn loaded(&self, path: &Path) -> Result<Recipe, Fault> {
        let (mut recipe, is_foreign) = recipe::load_to_render(path, &self.library)?;
        match &self.model {
            Some(model) if is_foreign => recipe.base = Reference::new(model),
            Some(_) => {
                return Err(Fault::input("--model and --recipe both name the model; give one of them"));
            }
            None => {}
        }
        Ok(recipe)
    }

    /// The recipe: the file's or the model's, with the flags on top.
    fn recipe(&self, given: &Given) -> Result<Recipe, Fault> {
        let mut recipe = match &self.recipe {
            Some(path) => self.loaded(path)?,
            None => Recipe::new(self.model.as_deref().unwrap_or("builtin")),
        };
        recipe.adapters.extend(self.adapter.iter().cloned());
        let flags = Sample {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            sampler: self.sampler.clone(),
            schedule: self.schedule.clone(),
            steps: self.steps,
            cfg: self.cfg,
            cfg_rescale: self.cfg_rescale,
            seed: self.seed,
            rng: self.rng.clone(),
            width: self.width,
            height: self.height,
            batch: self.batch,
            clip_skip: self.clip_skip,
            strength: self.strength,
            set: self.set.iter().cloned().collect::<Knobs>(),
        };
        let mut sample = flags.or(&recipe.sample);
        match &given.init {
            // The picture's own size, in steps that every VAE of this class can do.
            Some(picture) => {
                let own = |edge: usize| Some((edge / 8 * 8).clamp(8, 8192) as u32);
                sample.width = sample.width.or(own(picture.width));
                sample.height = sample.height.or(own(picture.height));
                sample.strength = sample.strength.or(Some(0.75));
            }
            None => {
                if recipe.sample.strength.is_some() {
                    eprintln!(
                        "note: the recipe was made from a picture, which it does not hold; without --init this starts from noise"
                    );
                }
                sample.strength = None;
            }
        }
        if sample.prompt.is_none() && given.cond.is_none() {
            return Err(Fault::input(
                "a prompt is missing: give --prompt TEXT, a --recipe that has one, or --embeds FILE",
            ));
        }
        let (sampler, schedule) = (sample.sampler.as_deref(), sample.schedule.as_deref());
        // Before anything is opened.
        let default = admix_engine::settings::DEFAULT_SAMPLER;
        admix_engine::sample::names::resolve(sampler.unwrap_or(default), schedule.unwrap_or("auto"))?;
        recipe.sample = sample;
        Ok(recipe)
    }
}

/// One adapter in a report.
pub fn adapter_json(a: &AdapterReport) -> Value {
    let mismatched: Vec<Value> = a
        .mismatched
        .iter()
        .map(|(key, expected, found)| json!({ "key": key, "expected": expected, "found": found }))
        .collect();
    json!({
        "name": a.name, "sha256": a.sha256, "weight": a.weight, "matched": a.matched, "unmatched": a.unmatched.len(),
        "unmatched_keys": a.unmatched, "mismatched": mismatched, "cause": a.cause
    })
}

/// One adapter's key report in a line, with the first keys that found no place.
pub fn adapter_line(a: &AdapterReport) -> String {
    let mut line = format!(
        "{} at {}: {} modules matched, {} unmatched, {} mismatched",
        a.name,
        a.weight,
        a.matched,
        a.unmatched.len(),
        a.mismatched.len()
    );
    let first = a.unmatched.iter().chain(a.mismatched.iter().map(|m| &m.0)).take(3);
    let first: Vec<&str> = first.map(String::as_str).collect();
    if !first.is_empty() {
        let more = if a.unmatched.len() + a.mismatched.len() > first.len() { ", ..." } else { "" };
        line.push_str(&format!(" (not applied: {}{more}; `admix inspect --against` lists all)", first.join(", ")));
    }
    if let Some(cause) = &a.cause {
        line.push_str(&format!("; why: {cause}"));
    }
    // Names come from files.
    output::one_line(&line)
}

/// Tensors of a checkpoint that nothing reads, the first few by name; none where all are read.
fn unused_line(keys: &[String]) -> Option<String> {
    let (first, more) = (keys.iter().take(3).map(String::as_str).collect::<Vec<_>>(), keys.len().saturating_sub(3));
    let rest = if more > 0 { format!(" and {more} more; `admix inspect --json` lists all") } else { String::new() };
    (!keys.is_empty()).then(|| {
        format!("{} of the model's tensors are not used: {}{rest}", keys.len(), output::one_line(&first.join(", ")))
    })
}

fn shown(path: &Path) -> Value {
    Value::from(path.display().to_string())
}

fn report(rendered: &Rendered, paths: &[PathBuf], args: &RenderArgs, json: bool) {
    let (s, t) = (&rendered.settings, &rendered.seconds);
    let (width, height) = rendered.pictures.first().map_or((s.width, s.height), |p| (p.width, p.height));
    if rendered.dropped_tokens > 0 {
        eprintln!("note: the prompt is too long by {} tokens; its end was left out", rendered.dropped_tokens);
    }
    let used = rendered.adapters.iter().chain(&rendered.inversion_reports);
    if json {
        let out = match paths {
            [one] => shown(one),
            several => several.iter().map(|p| shown(p)).collect(),
        };
        let m = &rendered.model;
        let mut value = json!({
            "out": out, "seed": s.seed, "width": width, "height": height, "steps": s.steps,
            "model": { "name": output::file_name(&m.name), "sha256": m.sha256, "family": m.family, "unused": m.unused },
            "adapters": used.map(adapter_json).collect::<Vec<_>>(),
            "seconds": rendered.seconds, "device": rendered.device,
            "batch": s.batch, "sampler": s.sampler, "schedule": s.schedule, "cfg": s.cfg,
            "guidance_batch": rendered.batching, "dropped_tokens": rendered.dropped_tokens, "warnings": rendered.warnings
        });
        if let Some(path) = &args.latents_out {
            value["latents"] = shown(path);
        }
        output::print_json(&value);
        return;
    }
    for warning in &rendered.warnings {
        eprintln!("note: {}", output::one_line(warning));
    }
    if rendered.batching == Some(Batching::OneByOne) {
        eprintln!("note: prompt and negative prompt ran one after the other (guidance_batch), in half the memory");
    }
    if let Some(line) = unused_line(&rendered.model.unused) {
        eprintln!("note: {line}");
    }
    for a in used {
        eprintln!("{}", adapter_line(a));
    }
    for path in paths {
        output::print(&path.display().to_string());
    }
    eprintln!(
        "{}x{}, seed {}, {} steps, cfg {}; {:.2} s (load {:.2}, mix {:.2}, text {:.2}, denoise {:.2}, decode {:.2}) on {}",
        width,
        height,
        s.seed,
        s.steps,
        s.cfg,
        t.load + t.mix + t.text + t.denoise + t.decode,
        t.load,
        t.mix,
        t.text,
        t.denoise,
        t.decode,
        rendered.device
    );
}
