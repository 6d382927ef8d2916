//! Texts through the text encoders: every window of every text once, side by side where there are two encoders.

use std::sync::Arc;

use admix_model::prompt::{Encoding, Placed, Rules, Window};
use admix_model::text::{Reading, TextPass};
use admix_tensor::Gpu;

use super::Inversions;
use crate::EngineError;
use crate::networks::{Encoder, Networks};

/// One text as the U-Net reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    /// [tokens, width].
    pub states: Vec<f32>,
    pub tokens: usize,
    pub width: usize,
    /// Empty for models without pooled text.
    pub pooled: Vec<f32>,
    /// Tokens of the text that did not fit.
    pub dropped: usize,
}

/// One encoder at work: a recorded window, run once for each.
struct Worker<'a> {
    gpu: &'a Arc<Gpu>,
    encoder: &'a Encoder,
    /// Its place among the model's encoders.
    number: usize,
    reading: Reading,
    inversions: &'a Inversions,
    pass: TextPass,
    /// States of the empty prompt, when they were needed.
    empty: Option<Vec<f32>>,
}

impl Worker<'_> {
    /// States [length, width] of one window, and its pooled text where the encoder has one.
    async fn window(&self, window: &Window) -> Result<(Vec<f32>, Option<Vec<f32>>), EngineError> {
        let text = &self.encoder.text;
        if let Some(id) = window.ids.iter().find(|id| **id as usize >= text.vocabulary()) {
            let size = text.vocabulary();
            return Err(EngineError::Input(format!(
                "the prompt gives token {id}, but this text encoder knows only {size}: the checkpoint's tokenizer is missing or belongs to another \
                 model; put its vocab.json and merges.txt into the folder's tokenizer/, or give the embeddings yourself (--embeds)"
            )));
        }
        let bits: Vec<f32> = window.ids.iter().map(|id| f32::from_bits(*id)).collect();
        // Vectors of inversions stand in the recording itself: such windows have one of their own.
        let own = if window.placed.is_empty() { None } else { Some(self.placed(window)?) };
        let pass = own.as_ref().unwrap_or(&self.pass);
        pass.tokens.write(self.gpu, &bits);
        pass.program.submit();
        let pooled = match &pass.projected {
            Some(projected) => {
                let (all, width, at) = (projected.read(self.gpu).await?, projected.cols, text.pooled_at(&window.ids));
                Some(all[at * width..(at + 1) * width].to_vec())
            }
            None => None,
        };
        Ok((pass.states.read(self.gpu).await?, pooled))
    }

    /// A recording with the vectors that a window places.
    fn placed(&self, window: &Window) -> Result<TextPass, EngineError> {
        let text = &self.encoder.text;
        let vector = |p: &Placed| Ok((p.at, self.inversions.vector(p.inversion, p.vector, self.number, text.width())?));
        let vectors = window.placed.iter().map(vector).collect::<Result<Vec<_>, EngineError>>()?;
        Ok(text.record_with(self.gpu, 1, self.reading, &vectors)?)
    }

    /// One text: states, their width, pooled text (the first window's, as A1111 and ComfyUI have it), tokens that did not fit.
    async fn text(&mut self, text: &str, rules: Rules) -> Result<Encoded, EngineError> {
        let (length, width) = (self.encoder.text.length(), self.encoder.text.width());
        let encoding = Encoding::new(&self.encoder.tokenizer, text, length, rules, &self.inversions.words);
        let (mut states, mut pooled) = (Vec::new(), None);
        for window in &encoding.windows {
            let (found, pool) = self.window(window).await?;
            states.push(found);
            pooled = pooled.or(pool);
        }
        if encoding.needs_empty() && self.empty.is_none() {
            let empty = Encoding::new(&self.encoder.tokenizer, "", length, rules, &[]);
            if let Some(window) = empty.windows.first() {
                self.empty = Some(self.window(window).await?.0);
            }
        }
        let states = encoding.finish(states, width, self.empty.as_deref());
        let tokens = states.len() / width.max(1);
        Ok(Encoded { states, tokens, width, pooled: pooled.unwrap_or_default(), dropped: encoding.dropped() })
    }
}

/// All encoders of a model.
pub(super) struct Encoders<'a>(Vec<Worker<'a>>);

impl<'a> Encoders<'a> {
    /// Records a window of each. `clip_skip` counts from the end, 1 is the last layer; models that were trained on an earlier one read no later one.
    pub fn new(
        gpu: &'a Arc<Gpu>,
        networks: &'a Networks,
        clip_skip: usize,
        inversions: &'a Inversions,
    ) -> Result<Encoders<'a>, EngineError> {
        if networks.encoders.is_empty() {
            let why = "this checkpoint has no text encoder; give the embeddings yourself (--embeds)";
            return Err(EngineError::Input(why.into()));
        }
        let trained = networks.reading;
        let reading = Reading { skip: trained.skip.max(clip_skip.saturating_sub(1)), ..trained };
        let mut workers = Vec::new();
        for (number, encoder) in networks.encoders.iter().enumerate() {
            let pass = encoder.text.record(gpu, 1, reading)?;
            workers.push(Worker { gpu, encoder, number, reading, inversions, pass, empty: None });
        }
        Ok(Encoders(workers))
    }

    /// One text through every encoder: what the U-Net reads, and the most tokens that did not fit.
    pub async fn text(&mut self, text: &str, rules: Rules) -> Result<Encoded, EngineError> {
        let mut parts = Vec::new();
        for worker in &mut self.0 {
            parts.push(worker.text(text, rules).await?);
        }
        join(parts)
    }
}

/// Puts the encoders' states side by side, token by token; pooled text is the last encoder's that gives one. Errors: different numbers of tokens.
fn join(mut parts: Vec<Encoded>) -> Result<Encoded, EngineError> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let width: usize = parts.iter().map(|p| p.width).sum();
    let counts: Vec<usize> = parts.iter().map(|p| p.tokens).collect();
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
    let dropped = parts.iter().map(|p| p.dropped).max().unwrap_or(0);
    let pooled = parts.into_iter().rev().map(|p| p.pooled).find(|p| !p.is_empty()).unwrap_or_default();
    Ok(Encoded { states, tokens, width, pooled, dropped })
}
