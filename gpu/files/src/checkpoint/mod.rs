//! A checkpoint: a model's tensors under canonical names, its configurations and what else its files say.

mod detect;
mod export;
mod folder;
mod quantised;
pub(crate) mod recognised;
mod single;
mod validate;

pub use detect::Evidence;
pub use export::{Content, Export, ExportFile, ExportTensor, Layout};
pub use validate::first_non_finite;

use crate::bundle::Bundle;
use crate::config::{Prediction, SchedulerConfig, TextConfig, UNetConfig, VaeConfig};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Transform;
use crate::safetensors::TensorInfo;
use crate::source::SharedSource;
use indexmap::IndexMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

/// How a checkpoint's files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A diffusers folder.
    Diffusers,
    /// One file with the original Stable Diffusion names.
    Ldm,
    /// One file with diffusers' names and the components before them, as `admix mix` writes.
    Prefixed,
    /// One component alone, under diffusers' names.
    Component,
}

impl Format {
    /// The name in reports: `diffusers`, `ldm`, `prefixed`, `component`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Diffusers => "diffusers",
            Format::Ldm => "ldm",
            Format::Prefixed => "prefixed",
            Format::Component => "component",
        }
    }
}

/// The class of models a checkpoint belongs to; adapters are made for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelFamily {
    /// Stable Diffusion 1.x: one CLIP text encoder, 1x1 convolutions around attention.
    Sd1,
    /// Stable Diffusion 2.x: OpenCLIP, linear projections.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// No U-Net, or an unknown one.
    Other,
}

impl ModelFamily {
    /// The name in reports: `sd1`, `sd2`, `sdxl`, `other`.
    pub fn id(self) -> &'static str {
        match self {
            ModelFamily::Sd1 => "sd1",
            ModelFamily::Sd2 => "sd2",
            ModelFamily::Sdxl => "sdxl",
            ModelFamily::Other => "other",
        }
    }

    /// The name in sentences.
    pub fn label(self) -> &'static str {
        match self {
            ModelFamily::Sd1 => "SD 1.x",
            ModelFamily::Sd2 => "SD 2.x",
            ModelFamily::Sdxl => "SDXL",
            ModelFamily::Other => "another kind of model",
        }
    }
}

/// Where a canonical tensor lies and how its bytes come from the stored ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// Which of the checkpoint's files.
    pub source: usize,
    /// Key in that file.
    pub key: String,
    /// The stored tensor.
    pub info: TensorInfo,
    /// Canonical shape.
    pub shape: Vec<usize>,
    /// From the stored bytes to the canonical ones.
    pub transform: Transform,
}

impl TensorRef {
    /// Where its bytes lie in the file; transposed ones still have to be put in order.
    fn range(&self) -> Range<u64> {
        let whole = self.info.range.clone();
        let Transform::Rows { start, end } = self.transform else { return whole };
        let row = self.info.shape.iter().skip(1).product::<usize>() as u64 * self.info.dtype.size() as u64;
        whole.start + start as u64 * row..whole.start + end as u64 * row
    }

    /// Number of elements of the canonical tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One weights file of a checkpoint.
pub struct Part {
    /// Name within the bundle, e.g. `unet/diffusion_pytorch_model.safetensors`.
    pub name: String,
    /// Its component, or empty for a file that holds the whole model.
    pub component: String,
    source: SharedSource,
}

/// A tokenizer's files, whole.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles {
    /// `vocab.json`.
    pub vocab: Option<Vec<u8>>,
    /// `merges.txt`.
    pub merges: Option<Vec<u8>>,
    /// `tokenizer.json`, of transformers' fast tokenizers.
    pub tokenizer: Option<Vec<u8>>,
    /// `tokenizer_config.json`.
    pub config: Option<Vec<u8>>,
    /// `special_tokens_map.json`.
    pub special_tokens: Option<Vec<u8>>,
}

impl TokenizerFiles {
    /// The metadata key under which a single file carries its tokenizer: a JSON object of file names and their texts.
    pub const METADATA: &'static str = "admix_tokenizer";
    /// Tokens of CLIP's own vocabulary: programs have that one built in, so files need not carry it.
    const CLIP_VOCABULARY: usize = 49_408;
    /// Longest text that goes into a header.
    const LONGEST: usize = 8 << 20;

    fn named(&self) -> [(&'static str, &Option<Vec<u8>>); 5] {
        [
            ("vocab.json", &self.vocab),
            ("merges.txt", &self.merges),
            ("tokenizer.json", &self.tokenizer),
            ("tokenizer_config.json", &self.config),
            ("special_tokens_map.json", &self.special_tokens),
        ]
    }

    /// The text for a single file's metadata; none for CLIP's own vocabulary and for texts too long for a header.
    pub fn to_metadata(&self, vocabulary: usize) -> Option<String> {
        if vocabulary == Self::CLIP_VOCABULARY {
            return None;
        }
        let mut map = serde_json::Map::new();
        for (name, text) in self.named() {
            if let Some(text) = text.as_ref().and_then(|t| std::str::from_utf8(t).ok()) {
                map.insert(name.into(), text.into());
            }
        }
        let text = serde_json::Value::Object(map).to_string();
        (text.len() <= Self::LONGEST).then_some(text)
    }

    /// Reads what [`TokenizerFiles::to_metadata`] wrote; `file` names the checkpoint in errors.
    pub fn from_metadata(file: &str, text: &str) -> Result<Self> {
        let wrong = || Error::config(file, format!("the metadata `{}` is not an object of texts", Self::METADATA));
        let map: IndexMap<String, String> = serde_json::from_str(text).map_err(|_| wrong())?;
        let take = |name: &str| map.get(name).map(|t| t.clone().into_bytes());
        Ok(TokenizerFiles {
            vocab: take("vocab.json"),
            merges: take("merges.txt"),
            tokenizer: take("tokenizer.json"),
            config: take("tokenizer_config.json"),
            special_tokens: take("special_tokens_map.json"),
        })
    }
}

/// What the caller knows better than the file.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Weight variant of a diffusers folder, e.g. `fp16`; the plain one where there is one, else the only one.
    pub variant: Option<String>,
    /// What the U-Net predicts, instead of what the file says.
    pub prediction: Option<Prediction>,
    /// What it is, instead of what its shapes say.
    pub family: Option<ModelFamily>,
}

/// An opened checkpoint: headers and configurations are read, tensor data is not.
pub struct Checkpoint {
    /// What errors and reports call it.
    pub name: String,
    /// How its files are laid out.
    pub format: Format,
    /// The class of models it belongs to.
    pub family: ModelFamily,
    /// Weights by canonical name.
    pub tensors: IndexMap<String, TensorRef>,
    /// What is in the files besides: integer buffers, EMA copies, training state. By key, with the component before it
    /// in a folder.
    pub extra: IndexMap<String, TensorRef>,
    /// The U-Net's configuration.
    pub unet: Option<UNetConfig>,
    /// The autoencoder's configuration.
    pub vae: Option<VaeConfig>,
    /// The text encoder's configuration.
    pub text_encoder: Option<TextConfig>,
    /// SDXL's second text encoder's configuration.
    pub text_encoder_2: Option<TextConfig>,
    /// The noise schedule.
    pub scheduler: SchedulerConfig,
    /// Whether the file itself states what the U-Net predicts (or the caller did).
    pub prediction_stated: bool,
    /// Layer of the text encoder that sampling reads by default, counted from the end (1 = last).
    pub clip_skip: usize,
    /// What this model was told from.
    pub evidence: Vec<Evidence>,
    /// The tokenizer's files, where there are any.
    pub tokenizer: Option<TokenizerFiles>,
    /// The second tokenizer's files (SDXL folders).
    pub tokenizer_2: Option<TokenizerFiles>,
    /// Whether an empty negative prompt stands for zeros rather than for the encoded empty text (diffusers' `force_zeros_for_empty_prompt`).
    pub zero_empty_negative: bool,
    /// The weight files' metadata (of all parts; the first to state a key wins).
    pub metadata: IndexMap<String, String>,
    /// The weight files.
    pub parts: Vec<Part>,
    bundle: Bundle,
    /// What [`Checkpoint::state_sum`] says beside the checksum, once somebody asked: a tokenizer has megabytes.
    beside: OnceLock<u64>,
}

impl Checkpoint {
    /// Opens a `.safetensors` file or a diffusers folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// As [`Checkpoint::open`], with options.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_with(path: impl AsRef<std::path::Path>, options: &OpenOptions) -> Result<Self> {
        crate::source::ready(Self::load(Bundle::open(path)?, options))
    }

    /// Opens a bundle: reads headers and configurations.
    ///
    /// # Errors
    /// Damaged files, adapters and other things that are no checkpoint, configurations that are missing or wrong. Whether
    /// all tensors are there is asked with [`Checkpoint::validate`], whether the engine can run it with
    /// [`Checkpoint::check_supported`].
    pub async fn load(bundle: Bundle, options: &OpenOptions) -> Result<Self> {
        let mut checkpoint =
            if bundle.is_folder() { folder::load(bundle, options).await? } else { single::load(bundle).await? };
        if let Some(prediction) = options.prediction {
            checkpoint.scheduler.prediction_type = prediction;
            checkpoint.prediction_stated = true;
            checkpoint.evidence.push(Evidence::new("prediction", prediction.name(), "the caller says so"));
        }
        let (family, why_family) = match options.family {
            Some(family) => {
                checkpoint.check_family(family)?;
                (family, "the caller says so".into())
            }
            None => checkpoint.find_family(),
        };
        checkpoint.family = family;
        let (clip_skip, why_skip) = checkpoint.find_clip_skip();
        checkpoint.clip_skip = clip_skip;
        let noise = std::mem::take(&mut checkpoint.evidence);
        checkpoint.evidence = checkpoint.more_evidence(why_family, why_skip);
        if checkpoint.unet.is_some() {
            checkpoint.evidence.extend(noise);
        }
        checkpoint.adopt_implied_shapes();
        Ok(checkpoint)
    }

    /// What the U-Net predicts.
    pub fn prediction(&self) -> Prediction {
        self.scheduler.prediction_type
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|t| t.elements() as u64).sum()
    }

    /// The type most of the weights have.
    pub fn dtype(&self) -> Option<DType> {
        let mut counts: IndexMap<DType, u64> = IndexMap::new();
        for t in self.tensors.values() {
            *counts.entry(t.info.dtype).or_default() += t.elements() as u64;
        }
        counts.into_iter().max_by_key(|(_, n)| *n).map(|(d, _)| d)
    }

    /// SHA-256 of the file, or of a folder as [`crate::hash::bundle_sha256`] defines it.
    pub async fn sha256(&self) -> Result<String> {
        crate::hash::bundle_sha256(&self.bundle).await
    }

    /// [`Checkpoint::sha256`] and, behind it, a digest of what else makes its networks: configurations and tokenizers. For whoever keeps networks; the
    /// checksum alone stays when a folder's JSON files change.
    pub async fn state_sum(&self) -> Result<String> {
        Ok(format!("{} {:016x}", self.sha256().await?, self.beside.get_or_init(|| self.digest_beside())))
    }

    /// Names configurations and tokenizers, for comparing inside one process.
    fn digest_beside(&self) -> u64 {
        // Where a configuration lies does not matter.
        let plain = |text: String, file: &str| text.replace(&format!("{file:?}"), "");
        let mut hasher = std::hash::DefaultHasher::new();
        format!("{:?}", self.family).hash(&mut hasher);
        self.unet.as_ref().map(|c| plain(format!("{c:?}"), &c.file)).hash(&mut hasher);
        self.vae.as_ref().map(|c| plain(format!("{c:?}"), &c.file)).hash(&mut hasher);
        for config in [&self.text_encoder, &self.text_encoder_2] {
            config.as_ref().map(|c| plain(format!("{c:?}"), &c.file)).hash(&mut hasher);
        }
        for tokenizer in [&self.tokenizer, &self.tokenizer_2] {
            tokenizer.as_ref().map(TokenizerFiles::named).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The files it was opened from.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// A tensor by canonical name.
    pub fn tensor(&self, name: &str) -> Result<&TensorRef> {
        self.tensors
            .get(name)
            .or_else(|| self.extra.get(name))
            .ok_or_else(|| Error::Mismatch { file: self.name.clone(), why: format!("there is no tensor `{name}`") })
    }

    /// A tensor's canonical bytes, in its stored element type.
    pub async fn read_raw(&self, name: &str) -> Result<Vec<u8>> {
        self.read_ref(self.tensor(name)?).await
    }

    /// A tensor's canonical elements as f32.
    pub async fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        Ok(tensor.info.dtype.decode_f32(&self.read_ref(tensor).await?))
    }

    /// The source of a tensor and where its canonical bytes lie in it, for reading them piece by piece; none where they do not lie there in
    /// order ([`Checkpoint::read_raw`] puts them in order).
    pub fn bytes_of(&self, name: &str) -> Result<Option<(&SharedSource, Range<u64>)>> {
        let tensor = self.tensor(name)?;
        if tensor.transform == Transform::Transpose {
            return Ok(None);
        }
        Ok(self.parts.get(tensor.source).map(|part| (&part.source, tensor.range())))
    }

    /// The bytes of a run of a tensor's canonical elements, in its stored element type: no more is read than asked for, except of
    /// transposed tensors (OpenCLIP's projection, a few megabytes).
    pub async fn read_elements(&self, name: &str, elements: Range<usize>) -> Result<Vec<u8>> {
        let tensor = self.tensor(name)?;
        if elements.start > elements.end || elements.end > tensor.elements() {
            let count = tensor.elements();
            return Err(Error::Usage(format!("elements {elements:?} of `{name}`, which has {count}")));
        }
        let size = tensor.info.dtype.size();
        let Some((source, range)) = self.bytes_of(name)? else {
            let all = self.read_ref(tensor).await?;
            return Ok(all.get(elements.start * size..elements.end * size).unwrap_or_default().to_vec());
        };
        let at = |element: usize| range.start + (element * size) as u64;
        source.read(at(elements.start)..at(elements.end)).await
    }

    /// The canonical bytes of a reference of this checkpoint.
    pub async fn read_ref(&self, tensor: &TensorRef) -> Result<Vec<u8>> {
        let part = self
            .parts
            .get(tensor.source)
            .ok_or_else(|| Error::Usage(format!("tensor `{}` belongs to another checkpoint", tensor.key)))?;
        let bytes = part.source.read(tensor.range()).await?;
        Ok(match tensor.transform {
            Transform::Transpose => export::transpose(&bytes, &tensor.info.shape, tensor.info.dtype.size()),
            _ => bytes,
        })
    }
}
