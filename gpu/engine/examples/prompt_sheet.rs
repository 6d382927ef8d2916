//! Every notation of prompts with the built-in model, side by side: `cargo run --release -p admix-engine --example prompt_sheet` writes docs/prompts.jpg, the cases
//! below in rows of four.
//!
//! One seed, Euler, 16 steps, CFG 5. Textual inversion: a file made here, whose rows are those of the words "red apple" under the word `zqx`.

use std::path::{Path, PathBuf};

use admix_engine::files::Checkpoint;
use admix_engine::files::builtin::resolve_model;
use admix_engine::files::ready;
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::model::tokenizer::Tokenizer;
use admix_engine::picture::Format;
use admix_engine::{Control, Given, Picture, Session};

/// Prompt and knobs, in rows of four.
const CASES: &[(&str, &[(&str, &str)])] = &[
    ("a red apple", &[]),
    ("a red apple on a (pink:0.4) background", &[]),
    ("a red apple on a (pink:0.4) background", &[("prompt_syntax", "comfy")]),
    ("a red apple on a [[[[[[[[[[pink]]]]]]]]]] background", &[]),
    ("[a red apple:a blue apple:0.3]", &[]),
    ("a [red|blue] apple", &[]),
    ("a red apple :0.5 AND a green apple :0.5", &[]),
    ("a red apple :1 AND a blue background :0.6", &[]),
    ("a red apple BREAK on a pink background", &[]),
    (LONG, &[]),
    (LONG, &[("long_prompt", "sentences")]),
    ("a red apple", &[("clip_skip", "2")]),
    ("a red apple <lora:pixel:1>", &[]),
    ("a red apple <lora:line-art:1>", &[]),
    ("a zqx", &[]),
    ("an embedding:zqx", &[("prompt_syntax", "comfy")]),
];

/// More than 77 tokens; what it is about stands at its end.
const LONG: &str = "A small drawing with clean edges and soft light in the middle of an empty sheet, seen from the front, in even and friendly colours. \
    There is nothing else in the drawing, no letters and no frame, and the corners of the sheet are left empty as well. It is plain and simple, made with \
    care, and easy to recognise at once from far away. A red apple.";

/// A textual inversion of the rows that two words have already.
fn inversion(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let checkpoint = Checkpoint::open(resolve_model("builtin")?)?;
    let tokenizer = match &checkpoint.tokenizer {
        Some(files) => Tokenizer::from_files(files)?,
        None => Tokenizer::clip(),
    };
    let table = ready(checkpoint.read_f32("text_encoder.text_model.embeddings.token_embedding.weight"))?;
    let width = checkpoint.text_encoder.as_ref().map_or(0, |t| t.hidden_size);
    let ids = tokenizer.tokenize("red apple");
    let rows: Vec<f32> = ids.iter().flat_map(|id| table[*id as usize * width..][..width].to_vec()).collect();
    let data: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
    let header = format!(
        "{{\"emb_params\":{{\"dtype\":\"F32\",\"shape\":[{},{width}],\"data_offsets\":[0,{}]}}}}",
        ids.len(),
        data.len()
    );
    let path = folder.join("zqx.safetensors");
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat())?;
    Ok(path)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("admix-prompt-sheet");
    std::fs::create_dir_all(&folder)?;
    let embedding = inversion(&folder)?;
    let mut session = pollster::block_on(Session::open(&Default::default()))?;
    let mut pictures: Vec<Picture> = Vec::new();
    for (prompt, set) in CASES {
        let mut recipe = Recipe::new("builtin");
        recipe.sample = Sample {
            prompt: Some((*prompt).into()),
            // One step looks back at no other: alternation and schedules change the prompt from step to step.
            sampler: Some("euler".into()),
            schedule: Some("karras".into()),
            steps: Some(16),
            cfg: Some(5.0),
            seed: Some(3),
            ..Sample::default()
        };
        if prompt.contains("zqx") {
            recipe.adapters.push(AdapterUse::new(embedding.display().to_string(), 1.0));
        }
        for (name, value) in *set {
            match *name {
                "clip_skip" => recipe.sample.clip_skip = value.parse().ok(),
                name => drop(recipe.sample.set.insert(name.into(), (*value).into())),
            }
        }
        let done = pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()))?;
        eprintln!("{prompt}");
        pictures.extend(done.pictures);
    }
    let sheet = Picture::sheet(&pictures, 4, 4);
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::write(docs.join("prompts.jpg"), sheet.encode(Format::Jpeg, "", "{}")?)?;
    Ok(())
}
