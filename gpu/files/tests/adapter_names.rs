//! Any choice of a model's layers, spelled as any trainer spells them: every module finds the very weight it was made for, whatever else is in the
//! file, and a name with one wrong letter is reported and changes nothing.

mod common;

use admix_files::adapter::{Adapter, FitReport};
use admix_files::checkpoint::Checkpoint;
use admix_files::layout::ldm::UNetBlocks;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

/// Ways to spell a layer of a model.
const SPELLINGS: [&str; 10] = [
    "kohya",
    "kohya of sgm names",
    "diffusers",
    "old processors",
    "peft",
    "original code",
    "OMI",
    "ComfyUI's text encoders",
    "peft's names in diffusers' file",
    "oldest text projections",
];

/// A model and its layers: canonical names without `.weight`, and shapes.
struct Model {
    checkpoint: Checkpoint,
    layers: Vec<(String, Vec<usize>)>,
    _folder: tempfile::TempDir,
}

static MODELS: LazyLock<[Model; 2]> = LazyLock::new(|| {
    ["sd1_tiny", "sdxl_tiny"].map(|name| {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(common::model(name, folder.path())).unwrap();
        let layers = checkpoint.tensors.iter().filter_map(|(name, t)| {
            let is_layer = t.shape.len() > 1 && !name.contains("embeddings") && !name.starts_with("vae.");
            Some((name.strip_suffix(".weight").filter(|_| is_layer)?.to_owned(), t.shape.clone()))
        });
        Model { layers: layers.collect(), checkpoint, _folder: folder }
    })
});

/// Written from the formats' descriptions, not from the program's own table.
fn spell(model: &Model, layer: &str, spelling: &str) -> Option<String> {
    let (component, path) = layer.split_once('.')?;
    let text = ["text_encoder", "text_encoder_2"].iter().position(|c| *c == component);
    let is_xl = model.checkpoint.text_encoder_2.is_some();
    let prefix = match text {
        None => "lora_unet_",
        Some(0) if !is_xl => "lora_te_",
        Some(0) => "lora_te1_",
        Some(_) => "lora_te2_",
    };
    let original = || {
        let renames = UNetBlocks::of(model.checkpoint.unet.as_ref()?).renames();
        Some(renames.ldm(&format!("{path}.weight"))?.trim_end_matches(".weight").to_owned())
    };
    match spelling {
        "kohya" => Some(format!("{prefix}{}", path.replace('.', "_"))),
        "kohya of sgm names" if text.is_none() => Some(format!("{prefix}{}", original()?.replace('.', "_"))),
        "diffusers" => Some(format!("{component}.{path}")),
        "old processors" if text.is_none() => {
            let (attention, inner) = path.split_once(".to_")?;
            Some(format!("{component}.{attention}.processor.to_{}", inner.trim_end_matches(".0")))
        }
        "peft" => Some(format!("base_model.model.{component}.{path}")),
        "original code" if text.is_none() => Some(format!("diffusion_model.{}", original()?)),
        "OMI" if text.is_none() => Some(format!("unet.{}", original()?)),
        "OMI" => Some(format!("{}.{path}", ["clip_l", "clip_g"][text?])),
        "ComfyUI's text encoders" => Some(format!("text_encoders.{}.transformer.{path}", ["clip_l", "clip_g"][text?])),
        "peft's names in diffusers' file" => Some(format!("{component}.base_model.model.{path}")),
        "oldest text projections" if text.is_some() => {
            let (attention, inner) = path.split_once(".self_attn.")?;
            Some(format!("{component}.{attention}.self_attn.to_{}", inner.trim_end_matches("_proj")))
        }
        _ => None,
    }
}

/// The endings of a LoRA's factors in that spelling.
fn endings(spelling: &str) -> [&'static str; 2] {
    match spelling {
        "kohya" | "kohya of sgm names" => [".lora_down.weight", ".lora_up.weight"],
        "old processors" | "oldest text projections" => ["_lora.down.weight", "_lora.up.weight"],
        _ => [".lora_A.weight", ".lora_B.weight"],
    }
}

/// A LoRA on layers under those names, held against the model.
fn fit(model: &Model, chosen: &[(&String, &Vec<usize>)], names: &[String], spelling: &str, rank: usize) -> FitReport {
    let mut specs = Vec::new();
    for ((_, shape), name) in chosen.iter().zip(names) {
        let mut down = shape.to_vec();
        down[0] = rank;
        let up = [vec![shape[0], rank], vec![1; shape.len() - 2]].concat();
        for (ending, shape) in endings(spelling).iter().zip([down, up]) {
            specs.push(TensorSpec { name: format!("{name}{ending}"), dtype: DType::F16, shape });
        }
    }
    let data: Vec<Vec<u8>> = specs.iter().map(|s| vec![0x2c; s.bytes().unwrap() as usize]).collect();
    let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
    let bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
    ready(Adapter::load(bundle)).unwrap().fit(&model.checkpoint)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_spelling_finds_its_weight(
        which in 0usize..2,
        spelling in prop::sample::select(SPELLINGS.to_vec()),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        rank in 1usize..5,
        spoilt in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let model = &MODELS[which];
        let places: BTreeSet<usize> = picks.iter().map(|i| i.index(model.layers.len())).collect();
        let named = places.iter().map(|i| &model.layers[*i]).filter_map(|(l, s)| Some(((l, s), spell(model, l, spelling)?)));
        let (chosen, mut names): (Vec<_>, Vec<_>) = named.unzip();
        prop_assume!(!chosen.is_empty());

        let found = fit(model, &chosen, &names, spelling, rank);
        prop_assert!(found.unmatched.is_empty() && found.mismatched.is_empty(), "{spelling}: {found:?}");
        let weights: BTreeSet<&str> = found.matched.iter().map(|m| m.weight.trim_end_matches(".weight")).collect();
        let wanted: BTreeSet<&str> = chosen.iter().map(|(layer, _)| layer.as_str()).collect();
        prop_assert_eq!(weights, wanted, "{}", spelling);

        // One letter that no name has, behind what tells the dialect.
        prop_assume!(names.len() > 1);
        let spoilt = spoilt.index(names.len());
        let tail = names[spoilt].len() / 2;
        let at = tail + at.index(names[spoilt].len() - tail);
        names[spoilt].replace_range(at..=at, "Q");
        let found = fit(model, &chosen, &names, spelling, rank);
        prop_assert_eq!(found.matched.len(), names.len() - 1);
        prop_assert!(found.mismatched.is_empty());
        prop_assert!(found.unmatched.iter().any(|name| name.contains('Q')), "{:?}", found);
    }
}
