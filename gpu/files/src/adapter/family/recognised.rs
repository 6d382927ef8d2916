//! Kinds that are told apart and named, and refused until someone implements them. To implement one, move it into a
//! file of its own with its own `build`.

use super::{Built, Family, Group, Scaling};
use crate::adapter::Delta;

/// A kind known by its tensors.
pub(super) struct Recognised {
    id: &'static str,
    label: &'static str,
    citation: &'static str,
    endings: &'static [(&'static str, &'static str)],
    /// A module of this kind has one of these roles.
    telling: &'static [&'static str],
}

/// Endings that ordinary weights may have too: they do not make a file an adapter.
pub(super) const ORDINARY: [&str; 4] = [".alpha", ".mask", ".coeff", ".rescale"];

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
        false
    }

    fn claims(&self, group: &Group) -> bool {
        self.telling.iter().any(|role| group.has(role))
    }

    fn build(&self, group: &Group, scaling: &Scaling) -> Result<Built, String> {
        // The smaller side of the first factor is the rank wherever there is one.
        let rank = ["w1_b", "w2_b", "down"].iter().find_map(|r| group.get(r)?.info.shape.first().copied());
        let rank = rank.filter(|r| *r > 0);
        Ok(Built { delta: Delta::Recognised, rank, scale: rank.map_or(1.0, |r| scaling.at(r)) })
    }
}

pub(super) static DORA: Recognised = Recognised {
    id: "dora",
    label: "DoRA",
    citation: "Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv 2402.09353",
    endings: &[
        (".dora_scale", "magnitude"),
        (".lora_magnitude_vector", "magnitude"),
        (".lora_magnitude_vector.weight", "magnitude"),
    ],
    telling: &["magnitude"],
};

pub(super) static LOHA: Recognised = Recognised {
    id: "loha",
    label: "LoHa",
    citation: "Hyeon-Woo et al., FedPara, arXiv 2108.06098; LyCORIS, arXiv 2309.14859",
    endings: &[
        (".hada_w1_a", "w1_a"),
        (".hada_w1_b", "w1_b"),
        (".hada_w2_a", "w2_a"),
        (".hada_w2_b", "w2_b"),
        (".hada_t1", "loha_t1"),
        (".hada_t2", "loha_t2"),
    ],
    telling: &["w1_a"],
};

pub(super) static LOKR: Recognised = Recognised {
    id: "lokr",
    label: "LoKr",
    citation: "Edalati et al., KronA, arXiv 2212.10650; LyCORIS, arXiv 2309.14859",
    endings: &[
        (".lokr_w1", "w1"),
        (".lokr_w2", "w2"),
        (".lokr_w1_a", "lokr_w1_a"),
        (".lokr_w1_b", "lokr_w1_b"),
        (".lokr_w2_a", "lokr_w2_a"),
        (".lokr_w2_b", "lokr_w2_b"),
        (".lokr_t2", "lokr_t2"),
    ],
    telling: &["w1", "w2", "lokr_w1_a", "lokr_w2_a"],
};

pub(super) static GLORA: Recognised = Recognised {
    id: "glora",
    label: "GLoRA",
    citation: "Chavan et al., One-for-All: Generalized LoRA, arXiv 2306.07967",
    endings: &[
        (".a1.weight", "a1"),
        (".a2.weight", "a2"),
        (".b1.weight", "b1"),
        (".b2.weight", "b2"),
        (".bm.weight", "bm"),
    ],
    telling: &["a1"],
};

pub(super) static BOFT: Recognised = Recognised {
    id: "boft",
    label: "BOFT",
    citation: "Liu et al., BOFT, arXiv 2311.06243",
    endings: &[(".boft_R", "boft_r"), (".boft_S", "boft_s"), (".boft_s", "boft_s")],
    telling: &["boft_r"],
};

pub(super) static OFT: Recognised = Recognised {
    id: "oft",
    label: "OFT",
    citation: "Qiu et al., Controlling Text-to-Image Diffusion by Orthogonal Finetuning, arXiv 2306.07280",
    endings: &[
        (".oft_blocks", "oft_blocks"),
        (".oft_diag", "oft_blocks"),
        (".oft_R.weight", "oft_r"),
        (".oft_r", "oft_r"),
        (".oft_R", "oft_r"),
        (".rescale", "rescale"),
    ],
    telling: &["oft_blocks", "oft_r"],
};

pub(super) static IA3: Recognised = Recognised {
    id: "ia3",
    label: "IA3",
    citation: "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning, arXiv 2205.05638",
    endings: &[(".on_input", "on_input"), (".ia3_l", "ia3_l"), (".ia3_l.weight", "ia3_l")],
    telling: &["on_input", "ia3_l"],
};

pub(super) static SHIRA: Recognised = Recognised {
    id: "shira",
    label: "SHiRA",
    citation: "Bhardwaj et al., Sparse High Rank Adapters, arXiv 2406.13175",
    endings: &[(".shira_weight", "shira_weight"), (".shira_indices", "shira_indices")],
    telling: &["shira_weight"],
};

pub(super) static VERA: Recognised = Recognised {
    id: "vera",
    label: "VeRA",
    citation: "Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation, arXiv 2310.11454",
    endings: &[
        (".vera_lambda_b", "vera_b"),
        (".vera_lambda_d", "vera_d"),
        (".vera_A", "vera_a"),
        (".vera_B", "vera_b2"),
    ],
    telling: &["vera_b", "vera_d"],
};

pub(super) static HRA: Recognised = Recognised {
    id: "hra",
    label: "HRA",
    citation: "Yuan et al., Bridging the Gap between Low-rank and Orthogonal Adaptation, arXiv 2405.17484",
    endings: &[(".hra_u", "hra_u")],
    telling: &["hra_u"],
};

pub(super) static BITDELTA: Recognised = Recognised {
    id: "bitdelta",
    label: "BitDelta",
    citation: "Liu et al., BitDelta: Your Fine-Tune May Only Be Worth One Bit, arXiv 2402.10193",
    endings: &[(".mask", "mask"), (".coeff", "coeff")],
    telling: &["coeff"],
};

pub(super) static LORA_EMBEDDING: Recognised = Recognised {
    id: "lora_embedding",
    label: "LoRA on an embedding table",
    citation: "peft's LoRA for nn.Embedding",
    endings: &[(".lora_embedding_A", "embedding_a"), (".lora_embedding_B", "embedding_b")],
    telling: &["embedding_a"],
};

pub(super) static FULL: Recognised = Recognised {
    id: "full",
    label: "full-difference",
    citation: "LyCORIS `full`: the difference of the weights themselves",
    endings: &[
        (".diff", "diff"),
        (".diff_b", "diff_b"),
        (".set_weight", "set_weight"),
        (".reshape_weight", "reshape_weight"),
    ],
    telling: &["diff", "diff_b", "set_weight"],
};

pub(super) static NORM: Recognised = Recognised {
    id: "norm",
    label: "norm-difference",
    citation: "LyCORIS `norms`: the difference of normalisation layers",
    endings: &[(".w_norm", "w_norm"), (".b_norm", "b_norm")],
    telling: &["w_norm", "b_norm"],
};

pub(super) static EMBEDDING: Recognised = Recognised {
    id: "embedding",
    label: "textual-inversion",
    citation: "Gal et al., An Image is Worth One Word, arXiv 2208.01618",
    // Told by whole keys, not by endings; see `open`.
    endings: &[],
    telling: &["rows"],
};
