//! `admix mix`: the weights a recipe describes, as a checkpoint: bit for bit those that `render` uses.

use std::path::PathBuf;
use std::time::Instant;

use admix_engine::Cancel;
use admix_engine::files::DType;
use admix_engine::files::safetensors::refuse_by_name;
use admix_engine::mix::{ExportLayout, ExportProgress, ExportReport, Mixer};
use serde_json::{Value, json};

use super::fault::Fault;
use super::progress::Bar;
use super::render::{adapter_json, adapter_line};
use super::{cancel, output, recipe};

/// Arguments of `admix mix`.
#[derive(clap::Args)]
pub struct MixArgs {
    /// A recipe: a JSON file, a picture made by Admix, a checkpoint written by it or by SuperMerger, or mergekit's YAML
    #[arg(value_name = "RECIPE.json")]
    recipe: PathBuf,
    /// A .safetensors file, or a folder where the layout is one
    #[arg(long, value_name = "FILE.safetensors|DIR")]
    out: PathBuf,
    /// Type of the weights: f32, f16, bf16, f8e4m3 or f8e5m2 [default: the base's]
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    dtype: Option<DType>,
    /// Keys and files: same (as the base's), ldm (single file, as other programs read) or diffusers (folder)
    #[arg(long, value_name = "NAME", default_value = "same", value_parser = layout)]
    layout: ExportLayout,
    /// full, adapter (the recipe's adapters as one LoRA file), or bitdelta: an adapter of the signs of what the recipe changes, a thirty-second of
    /// the size
    #[arg(long = "as", value_name = "FORM", default_value = "full", value_parser = form)]
    form: Form,
    /// Accept files whose sha256 differs from the recipe's
    #[arg(long)]
    allow_changed: bool,
}

/// What is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// The whole model.
    Full,
    /// The recipe's adapters as one.
    Adapter,
    /// BitDelta's signs and distances.
    BitDelta,
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "full" => Ok(Form::Full),
        "adapter" => Ok(Form::Adapter),
        "bitdelta" => Ok(Form::BitDelta),
        _ => Err("known are full, adapter, bitdelta".into()),
    }
}

fn dtype(text: &str) -> Result<DType, String> {
    let known = DType::from_option(text).filter(|d| *d != DType::F64);
    known.ok_or_else(|| "known are f32, f16, bf16, f8e4m3, f8e5m2".into())
}

fn layout(text: &str) -> Result<ExportLayout, String> {
    ExportLayout::from_name(text).ok_or_else(|| "known are same, ldm, diffusers".into())
}

/// Mixes and writes.
pub fn run(args: &MixArgs, json: bool) -> Result<(), Fault> {
    if args.form == Form::BitDelta && (args.dtype.is_some() || args.layout != ExportLayout::Same) {
        return Err(Fault::input("--as bitdelta has a type and a layout of its own; leave --dtype and --layout away"));
    }
    if args.form == Form::Adapter && args.layout != ExportLayout::Same {
        return Err(Fault::input("--as adapter has a layout of its own; leave --layout away"));
    }
    output::check_folder(&args.out, "--out")?;
    let name = output::file_name(&args.out.display().to_string());
    if refuse_by_name(&name).is_err() {
        return Err(Fault::input(format!(
            "--out: {name} would be taken for another kind of file; name it .safetensors, or name a folder"
        )));
    }
    let start = Instant::now();
    let recipe = recipe::load(&args.recipe)?;
    recipe::check_files(&recipe, false)?;
    let session = recipe::open_session(args.allow_changed)?;
    let mixer = pollster::block_on(session.open_export(&recipe))?.with_dtype(args.dtype);
    // Nothing is written before this, so until now Ctrl-C may end the program at once; an adapter is written in one go.
    let cancel = if args.form == Form::Adapter { Cancel::default() } else { cancel::on_ctrl_c() };
    let mut bar = Bar::new();
    let mut progress = |p: ExportProgress| {
        bar.show("writing", p.done, p.total);
        !cancel.is_cancelled()
    };
    let written = match args.form {
        Form::Full => pollster::block_on(mixer.export(&args.out, args.layout, &mut progress)),
        Form::Adapter => pollster::block_on(mixer.export_adapter(&args.out)),
        Form::BitDelta => pollster::block_on(mixer.export_bitdelta(&args.out, &mut progress)),
    };
    drop(bar);
    report(&mixer, &written?, start.elapsed().as_secs_f64(), json);
    Ok(())
}

fn report(mixer: &Mixer, written: &ExportReport, seconds: f64, json: bool) {
    if json {
        let models = mixer.model_reports().iter().map(|m| {
            json!({
                "name": m.reference, "sha256": m.sha256, "matched": m.matched, "missing": m.missing, "unmatched": m.extra
            })
        });
        // One file is called what --out says.
        let own = output::file_name(&written.out.display().to_string());
        let files: Vec<&str> =
            written.files.iter().map(|f| if f.is_empty() { own.as_str() } else { f.as_str() }).collect();
        output::print_json(&json!({
            "out": written.out.display().to_string(),
            "files": files,
            "tensors": written.tensors,
            "changed": written.changed,
            "bytes": written.bytes,
            "dtype": mixer.dtype().or(mixer.base().dtype()).map(|d| d.name()),
            "models": models.collect::<Vec<Value>>(),
            "adapters": mixer.reports().iter().map(adapter_json).collect::<Vec<_>>(),
            "warnings": mixer.warnings(),
            "streams": mixer.streams(),
            "seconds": seconds,
            "device": mixer.gpu().name()
        }));
        return;
    }
    for warning in mixer.warnings() {
        eprintln!("note: {}", output::one_line(warning));
    }
    for m in mixer.model_reports() {
        let (missing, extra) = (m.missing.len(), m.extra.len());
        eprintln!(
            "{}: {} tensors matched, {missing} only in the base, {extra} only in the model",
            m.reference, m.matched
        );
    }
    for a in mixer.reports() {
        eprintln!("{}", adapter_line(a));
    }
    output::print(&written.out.display().to_string());
    eprintln!(
        "{} tensors, {} of them changed, {:.1} MB in {seconds:.2} s on {}",
        written.tensors,
        written.changed,
        written.bytes as f64 / 1e6,
        mixer.gpu().name()
    );
}
