//! Kinds that are told apart and named, and refused until someone implements them. To implement one, move it into a
//! file of its own with its own `build` and `changes`.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Changes, Extent};

/// A kind known by its tensors.
pub(super) struct Recognised {
    id: &'static str,
    label: &'static str,
    citation: &'static str,
    /// A module of this kind has a key with one of these endings; the roles are theirs alone.
    endings: &'static [(&'static str, &'static str)],
    applied: bool,
}

impl Family for Recognised {
    fn id(&self) -> &'static str {
        self.id
    }

    fn label(&self) -> &'static str {
        self.label
    }

    fn citation(&self) -> &'static str {
        self.citation
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        self.endings
    }

    fn is_applied(&self) -> bool {
        self.applied
    }

    fn claims(&self, group: &Group) -> bool {
        self.endings.iter().any(|(_, role)| group.has(role))
    }

    fn build(&self, _: &Group, _: &Settings) -> Result<Built, String> {
        Ok(Built::new(Fits::Any, None, 1.0))
    }

    fn changes(&self, _: &Values, _: &Module, _: Extent) -> Result<Changes, String> {
        Err(format!("{} adapters are recognised but not applied yet", self.label))
    }
}

const fn refused(
    id: &'static str,
    label: &'static str,
    citation: &'static str,
    endings: &'static [(&'static str, &'static str)],
) -> Recognised {
    Recognised { id, label, citation, endings, applied: false }
}

/// Told by whole keys, not by endings, and applied to prompts: see [`crate::adapter::embedding`].
pub(super) static EMBEDDING: Recognised = Recognised {
    id: "embedding",
    label: "textual-inversion",
    citation: "Gal et al., An Image is Worth One Word, arXiv 2208.01618",
    endings: &[],
    applied: true,
};

pub(super) static ADALORA: Recognised =
    refused("adalora", "AdaLoRA", "Zhang et al., AdaLoRA, arXiv 2303.10512", &[(".lora_E", "adalora_e")]);

pub(super) static OLD_OFT: Recognised = refused(
    "oft_old",
    "OFT of peft before 0.15",
    "Qiu et al., arXiv 2306.07280, with peft's former parameters",
    &[(".oft_r", "oft_old_r")],
);

pub(super) static FOURIERFT: Recognised = refused(
    "fourierft",
    "FourierFT",
    "Gao et al., Parameter-Efficient Fine-Tuning with Discrete Fourier Transform, arXiv 2405.03003",
    &[(".fourierft_spectrum", "fourierft_spectrum")],
);

pub(super) static WAVEFT: Recognised = refused(
    "waveft",
    "WaveFT",
    "Bilican et al., Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets, arXiv 2505.12532",
    &[(".waveft_spectrum", "waveft_spectrum")],
);

pub(super) static VBLORA: Recognised = refused(
    "vblora",
    "VB-LoRA",
    "Li et al., VB-LoRA, arXiv 2405.15179",
    &[(".vblora_logits_A", "vblora_a"), (".vblora_logits_B", "vblora_b"), (".vblora_vector_bank", "vblora_bank")],
);

pub(super) static RANDLORA: Recognised = refused(
    "randlora",
    "RandLoRA",
    "Albert et al., RandLoRA, arXiv 2502.00987",
    &[(".randlora_lambda", "randlora_lambda"), (".randlora_gamma", "randlora_gamma")],
);

pub(super) static C3A: Recognised = refused(
    "c3a",
    "C3A",
    "Chen et al., Parameter-Efficient Fine-Tuning via Circular Convolution, arXiv 2407.19342",
    &[(".c3a_kernel", "c3a_kernel")],
);

pub(super) static DELORA: Recognised = refused(
    "delora",
    "DeLoRA",
    "Bini et al., Decoupling Angles and Strength in Low-rank Adaptation, arXiv 2503.18225",
    &[(".delora_A", "delora_a"), (".delora_B", "delora_b"), (".delora_lambda", "delora_lambda")],
);

pub(super) static MISS: Recognised = refused(
    "miss",
    "MiSS or Bone",
    "Kang and Yin, MiSS, arXiv 2409.15371",
    &[(".miss_block", "miss_block"), (".bone_block", "miss_block")],
);

pub(super) static GRALORA: Recognised = refused(
    "gralora",
    "GraLoRA",
    "Jung et al., GraLoRA, arXiv 2505.20355",
    &[(".gralora_A", "gralora_a"), (".gralora_B", "gralora_b")],
);

pub(super) static TLORA: Recognised = refused(
    "tlora",
    "T-LoRA",
    "Soboleva et al., T-LoRA: Single Image Diffusion Model Customization Without Overfitting, arXiv 2507.05964",
    &[(".lambda_layer", "tlora_lambda"), (".q_layer.weight", "tlora_q"), (".p_layer.weight", "tlora_p")],
);

pub(super) static LN_TUNING: Recognised = refused(
    "ln_tuning",
    "LN tuning",
    "Zhao et al., Tuning LayerNorm in Attention, arXiv 2312.11420",
    &[(".ln_tuning_layers.weight", "ln_tuning_weight"), (".ln_tuning_layers.bias", "ln_tuning_bias")],
);
