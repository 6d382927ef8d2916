//! From an opened adapter to the facts of its card.

use crate::card::Card;
use crate::refine::{Facts, refine};
use admix_files::Bundle;
use admix_files::adapter::Adapter;
use admix_files::safetensors::Index;
use admix_files::source::ByteSource;
use indexmap::IndexMap;
use sha2::{Digest, Sha256};

/// Everything that an adapter's own files and what lies beside them state; what the tensors tell counts more.
pub fn facts(adapter: &Adapter, stem: &str) -> Facts {
    let stated = adapter.facts.clone();
    let context = context(adapter);
    let family = match context {
        Some(768) => Some("sd1"),
        Some(1024) => Some("sd2"),
        Some(2048) => Some("sdxl"),
        _ => stated.family,
    };
    Facts {
        stem: stem.to_owned(),
        title: stated.title,
        description: stated.description.or(stated.usage),
        licence: stated.license,
        triggers: stated.triggers,
        captions: stated.tags.into_iter().map(|t| (t.text, t.count)).collect(),
        labels: stated.labels,
        family: family.map(str::to_owned),
        context,
        weight: stated.weight,
        resolution: stated.resolution,
        module: stated.training.module,
        sources: stated.sources.into_iter().map(str::to_owned).collect(),
    }
}

/// Width of the text embedding that the cross-attention layers read: the inputs of their keys and values.
fn context(adapter: &Adapter) -> Option<usize> {
    adapter.modules.values().find_map(|m| {
        let reads_text = m.name.contains("attn2") && ["to_k", "to_v"].iter().any(|p| m.name.ends_with(p));
        m.fits.columns().filter(|_| reads_text)
    })
}

/// The sha256 of the tensors that a file's metadata state (kohya's `sshs_model_hash`, modelspec's `hash_sha256`: both of everything
/// behind the header).
pub fn stated_key(metadata: &IndexMap<String, String>) -> Option<String> {
    let text = metadata.get("sshs_model_hash").or_else(|| metadata.get("modelspec.hash_sha256"))?;
    let hex = text.trim().trim_start_matches("0x").to_lowercase();
    (hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit())).then_some(hex)
}

/// Files up to this size are hashed while they are read; larger ones in the background.
pub const HASHED_AT_ONCE: u64 = 512 << 10;
/// Bytes hashed in one go: some milliseconds, so that a browser tab stays alive.
const SLICE: u64 = 1 << 20;

/// The card of an adapter's files, and the hash of its tensors if its metadata state it.
///
/// # Errors
/// Files that cannot be read or hold no adapter.
pub async fn read(bundle: Bundle, name: &str) -> admix_files::Result<(Card, Option<String>)> {
    let adapter = Adapter::load(bundle).await?;
    Ok((refine(&facts(&adapter, name)), stated_key(&adapter.metadata)))
}

/// Sha256 of the tensors: of everything behind the header. None when `go_on`, which is asked before every megabyte, says no.
///
/// # Errors
/// Files that cannot be read or are no safetensors files.
pub async fn tensors_sha256(
    source: &dyn ByteSource,
    name: &str,
    go_on: &dyn Fn() -> bool,
) -> admix_files::Result<Option<String>> {
    let index = Index::read(source, name).await?;
    let start = index.tensors.values().map(|t| t.range.start).min().unwrap_or_else(|| source.len());
    let mut hasher = Sha256::new();
    let mut at = start;
    while at < source.len() {
        if !go_on() {
            return Ok(None);
        }
        let end = (at + SLICE).min(source.len());
        hasher.update(source.read(at..end).await?);
        at = end;
    }
    Ok(Some(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()))
}
