//! What the U-Net is told about the prompts: text states of a batch, from the text encoder or given.

use std::sync::Arc;

use admix_model::text::TextEncoder;
use admix_tensor::{Gpu, Tensor};

use crate::EngineError;
use crate::networks::Networks;
use crate::render::Given;
use crate::settings::Settings;

/// Text states of the batch, unconditional half first: [halves n tokens, width].
pub(crate) struct Context {
    pub states: Tensor,
    pub samples: usize,
    pub dropped: usize,
}

/// States of prompt and negative prompt for the whole batch; without guidance the conditional half alone.
pub(crate) async fn encode_text(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    settings: &Settings,
    given: &Given,
    guided: bool,
) -> Result<Context, EngineError> {
    let n = settings.batch;
    let halves = if guided { 2 } else { 1 };
    let mut dropped = 0;
    let mut parts: Vec<(Vec<f32>, usize, usize)> = Vec::new(); // states of one sequence, tokens, width
    let width = networks.unet.config().cross_attention(0);
    let mut wanted = vec![(&settings.prompt, &given.cond, "cond")];
    if guided {
        wanted.insert(0, (&settings.negative, &given.uncond, "uncond"));
    }
    for (prompt, tensor, name) in wanted {
        if let Some((data, [count, tokens, dim])) = tensor {
            if *dim != width {
                return Err(EngineError::Input(format!(
                    "--embeds: {name} has {dim} features, but this U-Net reads {width}"
                )));
            }
            if *count != 1 && *count != n {
                return Err(EngineError::Input(format!(
                    "--embeds: {name} holds {count} sequences, but the batch has {n}"
                )));
            }
            for i in 0..n {
                let at = if *count == 1 { 0 } else { i } * tokens * dim;
                parts.push((data[at..at + tokens * dim].to_vec(), *tokens, *dim));
            }
            continue;
        }
        let text = networks.text.as_ref().ok_or_else(|| {
            EngineError::Input("this checkpoint has no text encoder; give the embeddings yourself (--embeds)".into())
        })?;
        let (states, lost) = encode_prompt(gpu, networks, text, prompt, settings.clip_skip).await?;
        dropped = dropped.max(lost);
        for _ in 0..n {
            parts.push((states.clone(), text.length(), text.width()));
        }
    }
    let tokens = parts[0].1;
    if parts.iter().any(|p| p.1 != tokens || p.2 != width) {
        let found: Vec<_> = parts.iter().map(|p| (p.1, p.2)).collect();
        return Err(EngineError::Input(format!(
            "prompt and negative prompt differ in shape ({found:?} tokens x features), or do not fit this U-Net ({width} features)"
        )));
    }
    let data: Vec<f32> = parts.into_iter().flat_map(|p| p.0).collect();
    let states = Tensor::upload(gpu, "context", &data, halves * n * tokens, width)?;
    Ok(Context { states, samples: halves * n, dropped })
}

/// One prompt -> (states [length, width], tokens that did not fit).
async fn encode_prompt(
    gpu: &Arc<Gpu>,
    networks: &Networks,
    text: &TextEncoder,
    prompt: &str,
    clip_skip: usize,
) -> Result<(Vec<f32>, usize), EngineError> {
    let encoded = networks.tokenizer.encode(prompt, text.length());
    if let Some(id) = encoded.ids.iter().find(|id| **id as usize >= text.vocabulary()) {
        let size = text.vocabulary();
        return Err(EngineError::Input(format!(
            "the prompt gives token {id}, but this text encoder knows only {size}: the checkpoint's tokenizer is missing or belongs to another \
             model; put its vocab.json and merges.txt into the folder's tokenizer/, or give the embeddings yourself (--embeds)"
        )));
    }
    let pass = text.record(gpu, 1, clip_skip.saturating_sub(1))?;
    let bits: Vec<f32> = encoded.ids.iter().map(|id| f32::from_bits(*id)).collect();
    pass.tokens.write(gpu, &bits);
    pass.program.submit();
    Ok((pass.states.read(gpu).await?, encoded.dropped))
}
