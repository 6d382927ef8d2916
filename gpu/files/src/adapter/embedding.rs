//! Textual inversions (Gal et al., An Image is Worth One Word, arXiv 2208.01618): rows for the token table under a word of their own.
//!
//! A file holds one tensor of rows [n, width] (or one row of that width) for each text encoder: A1111's `emb_params`, a pickle's
//! `string_to_param` kept as a key, diffusers' word itself (`<cat>`), and `clip_l` / `clip_g` for SDXL's two encoders.

use super::{Adapter, Slot};
use crate::error::{Error, Result};
use crate::safetensors::TensorInfo;

/// Which text encoder a set of rows belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// `text_encoder`: the only one of SD 1 and 2, CLIP L in SDXL.
    First,
    /// `text_encoder_2`: OpenCLIP bigG in SDXL.
    Second,
}

impl Encoder {
    /// The component's canonical name.
    pub fn component(self) -> &'static str {
        match self {
            Encoder::First => "text_encoder",
            Encoder::Second => "text_encoder_2",
        }
    }
}

/// The rows for one text encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRows {
    /// The encoder.
    pub encoder: Encoder,
    /// Number of tokens that the word becomes.
    pub tokens: usize,
    /// Width of the encoder's token table.
    pub width: usize,
    /// [tokens, width], row-major.
    pub values: Vec<f32>,
}

/// A textual inversion: words, and what they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Words that call it up: the key where that is a word, and the file's stem, which A1111 and ComfyUI go by.
    pub names: Vec<String>,
    /// Rows, one entry for each text encoder the file serves, in the order of [`Encoder`].
    pub rows: Vec<EmbeddingRows>,
}

impl Embedding {
    /// The rows for an encoder whose token table is `width` wide. Errors: none that wide, with what there is.
    pub fn rows_for(&self, encoder: Encoder, width: usize) -> Result<&EmbeddingRows> {
        let found = self.rows.iter().find(|r| r.encoder == encoder);
        match found {
            Some(rows) if rows.width == width => Ok(rows),
            other => {
                let found = other.or(self.rows.first()).map_or(0, |r| r.width);
                let why = format!(
                    "its rows are {found} wide{}; this model's {} needs {width}",
                    made_for(found),
                    encoder.component()
                );
                Err(Error::Mismatch { file: self.names.first().cloned().unwrap_or_default(), why })
            }
        }
    }
}

/// A remark on whose width that is.
pub(super) fn made_for(width: usize) -> &'static str {
    match width {
        768 => " (SD 1.x)",
        1024 => " (SD 2.x)",
        1280 => " (SDXL's second encoder)",
        _ => "",
    }
}

/// What a key holds, if a textual inversion has such keys. `alone`: the file holds no other tensor.
pub(super) fn encoder_of_key(key: &str, info: &TensorInfo, alone: bool) -> Option<Encoder> {
    // No text encoder is narrower; a scalar or a handful of numbers is something else.
    const NARROWEST: usize = 16;
    let shaped = info.dtype.is_float()
        && match info.shape[..] {
            [width] => width >= NARROWEST,
            [rows, width] => (1..=1024).contains(&rows) && width >= NARROWEST,
            _ => false,
        };
    // A token's own word as the only key, with a few rows. A word may have dots, but does not end as a weight or an adapter's tensor does.
    let word = super::family::split_key(key).is_none() && !key.starts_with("base_model.");
    let lone = alone && word && matches!(info.shape[..], [_] | [..=128, _]);
    match key {
        "clip_g" if shaped => Some(Encoder::Second),
        "emb_params" | "clip_l" | "<emb>" if shaped => Some(Encoder::First),
        _ if shaped && (key.starts_with("string_to_param") || lone) => Some(Encoder::First),
        _ => None,
    }
}

/// The word that a key is, where it is one.
fn word_of_key(key: &str) -> Option<&str> {
    match key {
        "emb_params" | "clip_l" | "clip_g" | "<emb>" => None,
        _ if key.starts_with("string_to_param") => None,
        _ => Some(key),
    }
}

/// File name without folder and ending.
fn stem(name: &str) -> &str {
    let file = name.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".safetensors").unwrap_or(file)
}

pub(super) async fn read(adapter: &Adapter, slots: &[(Encoder, Slot)]) -> Result<Embedding> {
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<EmbeddingRows> = Vec::new();
    for (encoder, slot) in slots {
        let values = adapter.read_f32(slot).await?;
        crate::checkpoint::first_non_finite(&adapter.name, &slot.key, &values)?;
        let (tokens, width) = match slot.info.shape[..] {
            [width] => (1, width),
            [tokens, width] => (tokens, width),
            _ => continue,
        };
        names.extend(word_of_key(&slot.key).map(str::to_owned));
        match rows.iter().find(|r| r.encoder == *encoder) {
            None => rows.push(EmbeddingRows { encoder: *encoder, tokens, width, values }),
            Some(_) => {
                let why = format!("`{}` is a second set of rows for one text encoder", slot.key);
                return Err(Error::NotA { file: adapter.name.clone(), why });
            }
        }
    }
    rows.sort_by_key(|r| r.encoder == Encoder::Second);
    if let [a, b] = &rows[..]
        && a.tokens != b.tokens
    {
        let why = format!("it has {} rows for the first text encoder and {} for the second", a.tokens, b.tokens);
        return Err(Error::NotA { file: adapter.name.clone(), why });
    }
    let stem = stem(&adapter.name).to_owned();
    if !names.contains(&stem) {
        names.push(stem);
    }
    Ok(Embedding { names, rows })
}
