//! CLIP text encoder (Radford et al. 2021), as transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`: pre-norm transformer with
//! causal attention.

use std::sync::Arc;

use admix_files::config::TextConfig;
use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::combine::Term;
use admix_tensor::kernels::{Activation, Weight};
use admix_tensor::{Program, Recorder, Tensor};

use crate::ModelError;
use crate::store::{Layer, Norm, Store};

struct Block {
    norm1: Norm,
    qkv: Layer,
    out: Layer,
    norm2: Norm,
    fc1: Layer,
    fc2: Layer,
}

/// A text encoder whose weights live in a [`Store`].
pub struct TextEncoder {
    width: usize,
    heads: usize,
    activation: Activation,
    eps: f32,
    /// The token table, in pieces where it is larger than a binding.
    table: Vec<Weight>,
    position: Tensor,
    length: usize,
    blocks: Vec<Block>,
    final_norm: Norm,
    projection: Option<Layer>,
    end: u32,
}

/// What is read of a text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Leave out that many last layers (A1111's "Clip skip" minus 1).
    pub skip: usize,
    /// Put the final layer norm over the states: Stable Diffusion 1 and 2 do, XL does not.
    pub normed: bool,
    /// Also compute the projection of the last layer's normed states, which is what pooled text is taken from.
    pub pooled: bool,
}

/// A recorded pass: write `tokens` (u32 bits, [1, n length]), submit, read `states` [n length, width].
pub struct TextPass {
    /// Token ids as u32 bits.
    pub tokens: Tensor,
    /// Hidden states.
    pub states: Tensor,
    /// Projected states [n length, projection width], where they were asked for and the model has a projection: the pooled text of a sequence
    /// is its row at [`TextEncoder::pooled_at`].
    pub projected: Option<Tensor>,
    /// The commands.
    pub program: Arc<Program>,
}

impl TextEncoder {
    /// Allocates the layers of `config` under `prefix` (`text_encoder`).
    pub fn new(store: &mut Store, config: &TextConfig, prefix: &str) -> Result<TextEncoder, ModelError> {
        let c = config.hidden_size;
        let activation = match config.hidden_act.as_str() {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            "silu" | "swish" => Activation::Silu,
            "relu" => Activation::Relu,
            other => {
                return Err(ModelError::Unsupported {
                    component: "text_encoder",
                    what: format!("hidden_act \"{other}\""),
                });
            }
        };
        let root = format!("{prefix}.text_model");
        let table = store.table(&format!("{root}.embeddings.token_embedding.weight"), config.vocab_size, c, true)?;
        let length = config.max_position_embeddings;
        let position = store.table(&format!("{root}.embeddings.position_embedding.weight"), length, c, false)?;
        let mut blocks = Vec::new();
        for i in 0..config.num_hidden_layers {
            let at = format!("{root}.encoder.layers.{i}");
            let parts = ["q_proj", "k_proj", "v_proj"].map(|p| (format!("{at}.self_attn.{p}"), c));
            blocks.push(Block {
                norm1: store.norm(&format!("{at}.layer_norm1"), c)?,
                qkv: store.fused(&parts, c, true)?,
                out: store.linear(&format!("{at}.self_attn.out_proj"), c, c, true)?,
                norm2: store.norm(&format!("{at}.layer_norm2"), c)?,
                fc1: store.linear(&format!("{at}.mlp.fc1"), config.intermediate_size, c, true)?,
                fc2: store.linear(&format!("{at}.mlp.fc2"), c, config.intermediate_size, true)?,
            });
        }
        // Packed with its rows rounded up to fours; far too small for a second piece.
        let position = position[0].data.reshape(admix_tensor::padded(length), c).slice_rows(0, length);
        let final_norm = store.norm(&format!("{root}.final_layer_norm"), c)?;
        let (heads, eps) = (config.num_attention_heads, config.layer_norm_eps as f32);
        let projection = match config.has_projection {
            true => Some(store.linear(&format!("{prefix}.text_projection"), config.projection_dim, c, false)?),
            false => None,
        };
        let end = config.eos_token_id as u32;
        Ok(TextEncoder {
            width: c,
            heads,
            activation,
            eps,
            table,
            position,
            length,
            blocks,
            final_norm,
            projection,
            end,
        })
    }

    /// Width of the pooled text, where the model gives one.
    pub fn pooled_width(&self) -> Option<usize> {
        self.projection.as_ref().map(|p| p.weight.n)
    }

    /// The token whose projected state stands for the whole sequence: the first end token, as transformers finds it. Where the
    /// configuration names token 2 (a mistake that old files keep), the first of the largest id.
    pub fn pooled_at(&self, ids: &[u32]) -> usize {
        let end = if self.end == 2 { ids.iter().max().copied().unwrap_or(0) } else { self.end };
        ids.iter().position(|id| *id == end).unwrap_or(0)
    }

    /// Tokens a sequence holds (77).
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tokens the embedding table holds.
    pub fn vocabulary(&self) -> usize {
        self.table.iter().map(|piece| piece.k).sum()
    }

    /// Elements of a token's state.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Every layer that un-merged adapters can attach to.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        let blocks = self.blocks.iter_mut().flat_map(|b| [&mut b.qkv, &mut b.out, &mut b.fc1, &mut b.fc2]);
        blocks.chain(&mut self.projection)
    }

    /// Records the encoding of `n` sequences.
    pub fn record(&self, gpu: &Arc<admix_tensor::Gpu>, n: usize, reading: Reading) -> Result<TextPass, ModelError> {
        self.record_with(gpu, n, reading, &[])
    }

    /// The same with vectors of `width` numbers in place of some tokens' embeddings, by their places in [n length]: textual inversion. Positions are added to
    /// them as to any token.
    pub fn record_with(
        &self,
        gpu: &Arc<admix_tensor::Gpu>,
        n: usize,
        reading: Reading,
        vectors: &[(usize, &[f32])],
    ) -> Result<TextPass, ModelError> {
        let rows = n * self.length;
        let tokens = Tensor::empty(gpu, "tokens", 1, rows)?;
        let mut rec = Recorder::new(gpu);
        let mut x = rec.embed(&tokens, rows, &self.table, &self.position)?;
        for (at, vector) in vectors.iter().filter(|(at, vector)| *at < rows && vector.len() == self.width) {
            let vector = Tensor::upload(gpu, "vector", vector, 1, self.width)?;
            let place = Term { tensor: &self.position, row: at % self.length, coef: 1.0 };
            rec.combine(&[Term::new(&vector, 1.0), place], &x, *at, 1)?;
        }
        let d = self.width / self.heads;
        let s = Heads { n, heads: self.heads, d, tq: self.length, tk: self.length, causal: true };
        let step = admix_tensor::padded(self.width);
        let projection = self.projection.as_ref().filter(|_| reading.pooled);
        let read = self.blocks.len() - reading.skip.min(self.blocks.len());
        let mut states = None;
        for (i, block) in self.blocks.iter().enumerate() {
            if i == read {
                states = Some(self.read(&mut rec, &x, reading.normed)?);
                if projection.is_none() {
                    break;
                }
            }
            let h = rec.layer_norm(&x, self.eps, &block.norm1.gamma, &block.norm1.beta)?;
            let qkv = block.qkv.linear(&mut rec, &h, Activation::None, None)?;
            let part = |i: usize| Operand { tensor: &qkv, at: i * step };
            let h = rec.attention(part(0), part(1), part(2), s)?;
            x = block.out.linear(&mut rec, &h, Activation::None, Some(&x))?;
            let h = rec.layer_norm(&x, self.eps, &block.norm2.gamma, &block.norm2.beta)?;
            let h = block.fc1.linear(&mut rec, &h, self.activation, None)?;
            x = block.fc2.linear(&mut rec, &h, Activation::None, Some(&x))?;
        }
        let states = match states {
            Some(states) => states,
            None => self.read(&mut rec, &x, reading.normed)?,
        };
        let projected = match projection {
            Some(layer) => {
                let last = self.read(&mut rec, &x, true)?;
                Some(layer.linear(&mut rec, &last, Activation::None, None)?)
            }
            None => None,
        };
        Ok(TextPass { tokens, states, projected, program: rec.finish() })
    }

    fn read(&self, rec: &mut Recorder, x: &Tensor, normed: bool) -> Result<Tensor, ModelError> {
        if !normed {
            return Ok(x.clone());
        }
        Ok(rec.layer_norm(x, self.eps, &self.final_norm.gamma, &self.final_norm.beta)?)
    }
}
