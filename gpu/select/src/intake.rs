//! From an opened adapter to the facts of its card.

use crate::refine::Facts;
use admix_files::adapter::{Adapter, Delta};
use admix_files::safetensors::Index;
use admix_files::source::ByteSource;
use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Everything that an adapter's own files state.
pub fn facts(adapter: &Adapter, stem: &str) -> Facts {
    let metadata = &adapter.metadata;
    let text = |keys: &[&str]| {
        keys.iter().find_map(|k| metadata.get(*k)).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty() && t != "None")
    };
    let captions = captions(metadata);
    let own = |word: &&String| !captions.iter().any(|(caption, _)| caption == *word);
    let stated = text(&[
        "modelspec.trigger_phrase",
        "trigger_phrase",
        "trigger_words",
        "triggers",
        "trigger",
        "instance_prompt",
    ]);
    let triggers: Vec<String> = match stated {
        Some(_) => adapter
            .triggers
            .iter()
            .filter(|t| own(t) || stated.as_deref().is_some_and(|s| s.contains(t.as_str())))
            .cloned()
            .collect(),
        None => Vec::new(),
    };
    let labels =
        text(&["modelspec.tags"]).map(|t| t.split(',').map(|w| w.trim().to_owned()).collect()).unwrap_or_default();
    Facts {
        stem: stem.to_owned(),
        title: text(&["modelspec.title", "ss_output_name"]),
        description: text(&["modelspec.description", "description"]),
        licence: text(&["modelspec.license", "license"]),
        triggers,
        captions,
        labels,
        family: family(adapter, metadata),
        context: context(adapter),
        weight: None,
        resolution: None,
        module: text(&["ss_network_module"]),
        sources: if metadata.is_empty() { Vec::new() } else { vec!["metadata".into()] },
    }
}

/// Width of the text embedding that the cross-attention layers read: the inputs of their keys and values.
fn context(adapter: &Adapter) -> Option<usize> {
    adapter.modules.values().find_map(|m| {
        let reads_text = m.name.contains("attn2") && ["to_k", "to_v"].iter().any(|p| m.name.ends_with(p));
        match &m.delta {
            Delta::LowRank { down, .. } if reads_text => down.info.shape.get(1).copied(),
            _ => None,
        }
    })
}

/// What the tensors tell counts more than what is stated.
fn family(adapter: &Adapter, metadata: &IndexMap<String, String>) -> Option<String> {
    let by_width = match context(adapter) {
        Some(768) => Some("sd1"),
        Some(1024) => Some("sd2"),
        Some(2048) => Some("sdxl"),
        _ => None,
    };
    let stated = || {
        ["modelspec.architecture", "ss_base_model_version", "ss_sd_model_name"].iter().find_map(|key| {
            let lower = metadata.get(*key)?.to_lowercase();
            let any = |parts: &[&str]| parts.iter().any(|p| lower.contains(p));
            if any(&["xl", "pony", "illustrious"]) {
                Some("sdxl")
            } else if any(&["diffusion-v2", "sd_v2", "sd2", "sd 2"]) {
                Some("sd2")
            } else if any(&["diffusion-v1", "sd_v1", "sd1", "sd 1", "v1-5"]) {
                Some("sd1")
            } else {
                None
            }
        })
    };
    by_width.or_else(stated).map(str::to_owned)
}

fn captions(metadata: &IndexMap<String, String>) -> Vec<(String, u64)> {
    let mut counts: IndexMap<String, u64> = IndexMap::new();
    let parsed = metadata.get("ss_tag_frequency").and_then(|t| serde_json::from_str::<Value>(t).ok());
    for tags in parsed.iter().filter_map(Value::as_object).flat_map(|sets| sets.values()).filter_map(Value::as_object) {
        for (tag, count) in tags {
            let sum = counts.entry(tag.trim().to_owned()).or_default();
            *sum = sum.saturating_add(count.as_u64().unwrap_or(0));
        }
    }
    counts.sort_by(|_, a, _, b| b.cmp(a));
    counts.into_iter().collect()
}

/// The sha256 of the tensors that a file's metadata state (kohya's `sshs_model_hash`, modelspec's `hash_sha256`: both of everything
/// behind the header).
pub fn stated_key(metadata: &IndexMap<String, String>) -> Option<String> {
    let text = metadata.get("sshs_model_hash").or_else(|| metadata.get("modelspec.hash_sha256"))?;
    let hex = text.trim().trim_start_matches("0x").to_lowercase();
    (hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit())).then_some(hex)
}

/// Sha256 of the tensors: of everything behind the header.
///
/// # Errors
/// Files that cannot be read or are no safetensors files.
pub async fn tensors_sha256(source: &dyn ByteSource, name: &str) -> admix_files::Result<String> {
    let index = Index::read(source, name).await?;
    let start = index.tensors.values().map(|t| t.range.start).min().unwrap_or_else(|| source.len());
    let mut hasher = Sha256::new();
    let mut at = start;
    while at < source.len() {
        let end = (at + (4 << 20)).min(source.len());
        hasher.update(source.read(at..end).await?);
        at = end;
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
