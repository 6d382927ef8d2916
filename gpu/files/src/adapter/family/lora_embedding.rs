//! peft's LoRA on a token table: `lora_embedding_A` [rank, tokens], `lora_embedding_B` [width, rank], D = s (B A)^T.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::change::{Change, Changes, Extent};
use crate::adapter::{Factors, Module};

pub(super) struct LoraEmbedding;

impl Family for LoraEmbedding {
    fn id(&self) -> &'static str {
        "lora_embedding"
    }

    fn label(&self) -> &'static str {
        "LoRA on a token table"
    }

    fn citation(&self) -> &'static str {
        "peft's LoRA for nn.Embedding; Hu et al., arXiv 2106.09685"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".lora_embedding_A", "embedding_a"), (".lora_embedding_B", "embedding_b")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("embedding_a")
    }

    fn build(&self, group: &Group, settings: &Settings) -> Result<Built, String> {
        super::lora_variants::check(settings)?;
        let (a, b) = (group.need("embedding_a")?, group.need("embedding_b")?);
        match (a, b) {
            (&[rank, tokens], &[width, r]) if rank == r && rank > 0 => {
                Ok(Built::new(Fits::Whole(vec![tokens, width]), Some(rank), settings.at(rank)))
            }
            _ => Err(format!("its factors do not fit together: {a:?} and {b:?}")),
        }
    }

    fn changes(&self, values: &Values, module: &Module, _: Extent) -> Result<Changes, String> {
        let (a, b) = (values.need("embedding_a")?, values.need("embedding_b")?);
        let factors = Factors::new(a.transposed(), b.transposed(), a.shape[0], module.scale)?;
        Ok(Changes { weight: Some(Change::LowRank(factors)), bias: None })
    }
}
