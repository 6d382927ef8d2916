//! What the U-Net is told about the prompts: text states and pooled text of a batch, from the text encoders or given.
//!
//! Three steps that know nothing of each other: [`encode_ids`] runs one encoder over one window of tokens, [`join`] puts the encoders' results
//! side by side, [`encode_text`] makes the batch.

use std::sync::Arc;

use admix_model::text::Reading;
use admix_model::unet::Extras;
use admix_tensor::{Gpu, Tensor};

use crate::EngineError;
use crate::networks::{Encoder, Networks};
use crate::render::Given;
use crate::settings::Settings;

/// What the U-Net is told about a batch, unconditional half first.
pub(crate) struct Context {
    /// Text states, [halves n tokens, width].
    pub states: Tensor,
    /// Pooled text and sizes of SDXL, the guidance scale of LCM.
    pub extras: Extras,
    /// Samples of both halves.
    pub samples: usize,
    /// Most tokens that a prompt lost.
    pub dropped: usize,
}

/// One encoder's reading of one window of tokens.
pub(crate) struct Encoded {
    /// [tokens, width].
    pub states: Vec<f32>,
    pub width: usize,
    /// Projected state of the end token, where the encoder has a projection.
    pub pooled: Option<Vec<f32>>,
}

/// One prompt as the U-Net reads it.
#[derive(Clone)]
pub(crate) struct Prompt {
    /// [tokens, width].
    pub states: Vec<f32>,
    pub tokens: usize,
    pub width: usize,
    /// Empty for models without pooled text.
    pub pooled: Vec<f32>,
}

/// Runs one encoder over one window: `ids` are as many as [`TextEncoder::length`](admix_model::text::TextEncoder::length) says.
pub(crate) async fn encode_ids(
    gpu: &Arc<Gpu>,
    encoder: &Encoder,
    ids: &[u32],
    reading: Reading,
) -> Result<Encoded, EngineError> {
    let text = &encoder.text;
    if let Some(id) = ids.iter().find(|id| **id as usize >= text.vocabulary()) {
        let size = text.vocabulary();
        return Err(EngineError::Input(format!(
            "the prompt gives token {id}, but this text encoder knows only {size}: the checkpoint's tokenizer is missing or belongs to another \
             model; put its vocab.json and merges.txt into the folder's tokenizer/, or give the embeddings yourself (--embeds)"
        )));
    }
    let pass = text.record(gpu, 1, reading)?;
    let bits: Vec<f32> = ids.iter().map(|id| f32::from_bits(*id)).collect();
    pass.tokens.write(gpu, &bits);
    pass.program.submit();
    let pooled = match &pass.projected {
        Some(projected) => {
            let (all, width, at) = (projected.read(gpu).await?, projected.cols, text.pooled_at(ids));
            Some(all[at * width..(at + 1) * width].to_vec())
        }
        None => None,
    };
    Ok(Encoded { states: pass.states.read(gpu).await?, width: text.width(), pooled })
}

/// Puts the encoders' states side by side, token by token; pooled text is the last encoder's that gives one. Errors: encoders that hold
/// different numbers of tokens.
pub(crate) fn join(parts: Vec<Encoded>) -> Result<Prompt, EngineError> {
    let width: usize = parts.iter().map(|p| p.width).sum();
    let counts: Vec<usize> = parts.iter().map(|p| p.states.len() / p.width.max(1)).collect();
    let tokens = counts.first().copied().unwrap_or(0);
    if counts.iter().any(|count| *count != tokens) {
        return Err(EngineError::Input(format!(
            "the text encoders hold {counts:?} tokens; their states cannot be joined"
        )));
    }
    let mut states = Vec::with_capacity(tokens * width);
    for token in 0..tokens {
        for part in &parts {
            states.extend_from_slice(&part.states[token * part.width..(token + 1) * part.width]);
        }
    }
    let pooled = parts.into_iter().rev().find_map(|p| p.pooled).unwrap_or_default();
    Ok(Prompt { states, tokens, width, pooled })
}

/// One prompt through every encoder -> what the U-Net reads, and the most tokens that did not fit.
async fn encode_prompt(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    prompt: &str,
    clip_skip: usize,
) -> Result<(Prompt, usize), EngineError> {
    let trained = networks.reading;
    let reading = Reading { skip: trained.skip.max(clip_skip.saturating_sub(1)), ..trained };
    let (mut parts, mut dropped) = (Vec::new(), 0);
    for encoder in &networks.encoders {
        let encoded = encoder.tokenizer.encode(prompt, encoder.text.length());
        dropped = dropped.max(encoded.dropped);
        parts.push(encode_ids(gpu, encoder, &encoded.ids, reading).await?);
    }
    if parts.is_empty() {
        let why = "this checkpoint has no text encoder; give the embeddings yourself (--embeds)";
        return Err(EngineError::Input(why.into()));
    }
    Ok((join(parts)?, dropped))
}

/// A given tensor and its shape.
type Tensors<'a, const N: usize> = Option<&'a (Vec<f32>, [usize; N])>;

/// Given embeddings as the prompts of `n` samples.
fn given_prompts(
    networks: &Networks,
    name: &str,
    states: &(Vec<f32>, [usize; 3]),
    pooled: Tensors<'_, 2>,
    n: usize,
) -> Result<Vec<Prompt>, EngineError> {
    let refuse = |what: String| Err(EngineError::Input(format!("--embeds: {what}")));
    let (data, [count, tokens, width]) = states;
    let wanted = networks.unet.config().cross_attention(0);
    if *width != wanted {
        return refuse(format!("{name} has {width} features, but this U-Net reads {wanted}"));
    }
    if *count != 1 && *count != n {
        return refuse(format!("{name} holds {count} sequences, but the batch has {n}"));
    }
    let pooled = match pooled.filter(|_| networks.reading.pooled) {
        Some((_, [count, _])) if *count != 1 && *count != n => {
            return refuse(format!("pooled_{name} holds {count} rows, but the batch has {n}"));
        }
        None if networks.reading.pooled => {
            return refuse(format!("pooled_{name} is missing; this model (SDXL) reads it"));
        }
        other => other,
    };
    let row = |data: &[f32], count: usize, i: usize| {
        let each = data.len() / count.max(1);
        let at = if count == 1 { 0 } else { i } * each;
        data[at..at + each].to_vec()
    };
    let one = |i: usize| Prompt {
        states: row(data, *count, i),
        tokens: *tokens,
        width: *width,
        pooled: pooled.map(|(data, [count, _])| row(data, *count, i)).unwrap_or_default(),
    };
    Ok((0..n).map(one).collect())
}

/// Prompt and negative prompt for the whole batch; without guidance the conditional half alone.
pub(crate) async fn encode_text(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    settings: &Settings,
    given: &Given,
    guided: bool,
) -> Result<Context, EngineError> {
    let n = settings.batch;
    let mut wanted = vec![(&settings.prompt, &given.cond, &given.pooled_cond, "cond")];
    if guided {
        wanted.insert(0, (&settings.negative, &given.uncond, &given.pooled_uncond, "uncond"));
    }
    let (mut parts, mut time_ids, mut dropped) = (Vec::new(), Vec::new(), 0);
    for (prompt, states, pooled, name) in wanted {
        let negative = name == "uncond";
        let mut prompts = match states {
            Some(states) => given_prompts(networks, name, states, pooled.as_ref(), n)?,
            None => {
                let (encoded, lost) = encode_prompt(gpu, networks, prompt, settings.clip_skip).await?;
                dropped = dropped.max(lost);
                vec![encoded; n]
            }
        };
        if negative && states.is_none() && networks.zero_negative && prompt.is_empty() {
            for prompt in &mut prompts {
                prompt.states.fill(0.0);
                prompt.pooled.fill(0.0);
            }
        }
        for prompt in &prompts {
            if let Some(count) = networks.unet.time_ids(prompt.pooled.len())? {
                time_ids.extend(settings.sizes.time_ids(count, negative)?);
            }
        }
        parts.extend(prompts);
    }
    let width = networks.unet.config().cross_attention(0);
    let (tokens, features) = (parts[0].tokens, parts[0].pooled.len());
    if parts.iter().any(|p| p.tokens != tokens || p.width != width || p.pooled.len() != features) {
        let found: Vec<_> = parts.iter().map(|p| (p.tokens, p.width, p.pooled.len())).collect();
        return Err(EngineError::Input(format!(
            "prompt and negative prompt differ in shape ({found:?} tokens x features, pooled), or do not fit this U-Net ({width} features)"
        )));
    }
    let data: Vec<f32> = parts.iter().flat_map(|p| p.states.iter().copied()).collect();
    let pooled = parts.iter().flat_map(|p| p.pooled.iter().copied()).collect();
    let states = Tensor::upload(gpu, "context", &data, parts.len() * tokens, width)?;
    let guidance = networks.unet.reads_guidance().then_some(settings.cfg);
    Ok(Context { states, extras: Extras { pooled, time_ids, guidance }, samples: parts.len(), dropped })
}
