//! Which file holds which key when a checkpoint (or a mix on its base) is written, in any layout.

use super::{Checkpoint, Format, ModelFamily, TensorRef, TokenizerFiles};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::ldm::{self, UNetBlocks, VaeBlocks};
use crate::layout::{Hints, Transform, component_of};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// The layout to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As the base is: the same files, the same keys.
    Same,
    /// The base's keys in one file, with the component before those of a folder.
    SameInOneFile,
    /// One file with the names other programs read.
    Ldm,
    /// A diffusers folder.
    Diffusers,
}

/// Where the bytes of a written tensor come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A canonical tensor as it is.
    Whole(String),
    /// Canonical tensors one below another (fused q, k, v).
    Stacked(Vec<String>),
    /// A canonical matrix, transposed.
    Transposed(String),
    /// Something that is no weight, to be copied unchanged.
    Copied(TensorRef),
}

/// One tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTensor {
    /// Key in the written file.
    pub key: String,
    /// Shape in the written file.
    pub shape: Vec<usize>,
    /// Element type it had.
    pub dtype: DType,
    /// Its content.
    pub content: Content,
}

impl ExportTensor {
    /// Puts the written bytes together from those of its canonical tensors, all already in the written element type and
    /// in the order of [`ExportTensor::names`]. Not for [`Content::Copied`], which [`Checkpoint::read_ref`] reads.
    pub fn assemble(&self, mut parts: Vec<Vec<u8>>, dtype: DType) -> Vec<u8> {
        match (&self.content, parts.len()) {
            (Content::Transposed(_), 1) => {
                let canonical = [self.shape.get(1).copied().unwrap_or(1), self.shape.first().copied().unwrap_or(1)];
                transpose(&parts[0], &canonical, dtype.size())
            }
            (_, 1) => parts.swap_remove(0),
            _ => parts.concat(),
        }
    }

    /// The canonical tensors it is made of.
    pub fn names(&self) -> Vec<&str> {
        match &self.content {
            Content::Whole(n) | Content::Transposed(n) => vec![n],
            Content::Stacked(ns) => ns.iter().map(String::as_str).collect(),
            Content::Copied(_) => Vec::new(),
        }
    }
}

/// One weights file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Path below the output folder; empty where the output is one file.
    pub path: String,
    /// Tensors in the order to write them.
    pub tensors: Vec<ExportTensor>,
}

/// Everything to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whether the output is a folder.
    pub is_folder: bool,
    /// Weight files.
    pub files: Vec<ExportFile>,
    /// Configuration, tokenizer and index files by path below the output folder.
    pub texts: IndexMap<String, Vec<u8>>,
    /// Metadata of a single file that lets it be opened with the same configurations.
    pub metadata: IndexMap<String, String>,
}

/// A matrix of `shape`, transposed.
pub(super) fn transpose(bytes: &[u8], shape: &[usize], element: usize) -> Vec<u8> {
    let [rows, cols] = *shape else { return bytes.to_vec() };
    let mut out = Vec::with_capacity(bytes.len());
    for c in 0..cols {
        for r in 0..rows {
            let at = (r * cols + c) * element;
            out.extend_from_slice(bytes.get(at..at + element).unwrap_or_default());
        }
    }
    out
}

impl Checkpoint {
    /// Plans the writing of this checkpoint in a layout.
    ///
    /// # Errors
    /// Where the layout cannot hold the model: a missing configuration, a name without an ldm spelling.
    pub async fn export(&self, layout: Layout) -> Result<Export> {
        match layout {
            Layout::Same if self.bundle.is_folder() => self.same_folder().await,
            Layout::Same | Layout::SameInOneFile => Ok(self.one_file(self.stored_tensors(true))),
            Layout::Ldm => self.ldm_file(),
            Layout::Diffusers if self.format == Format::Diffusers => self.same_folder().await,
            Layout::Diffusers => self.diffusers_folder(),
        }
    }

    /// The configurations as the metadata [`Hints`] reads.
    pub fn config_metadata(&self) -> IndexMap<String, String> {
        let mut map = Map::new();
        if let Some(c) = &self.unet {
            map.insert("unet".into(), c.to_json());
        }
        if let Some(c) = &self.vae {
            map.insert("vae".into(), c.to_json());
        }
        for (component, config) in [("text_encoder", &self.text_encoder), ("text_encoder_2", &self.text_encoder_2)] {
            if let Some(c) = config {
                map.insert(component.into(), c.to_json());
            }
        }
        // A guess must not come back as a statement.
        let mut scheduler = self.scheduler.to_json();
        if !self.prediction_stated
            && self.format != Format::Diffusers
            && let Some(fields) = scheduler.as_object_mut()
        {
            fields.remove("prediction_type");
        }
        map.insert("scheduler".into(), scheduler);
        let mut metadata = IndexMap::from([(Hints::KEY.to_owned(), Value::Object(map).to_string())]);
        // Without its tokenizer a model of another vocabulary than CLIP's would read prompts differently.
        let vocabulary = self.text_encoder.as_ref().map_or(0, |c| c.vocab_size);
        if let Some(text) = self.tokenizer.as_ref().and_then(|t| t.to_metadata(vocabulary)) {
            metadata.insert(TokenizerFiles::METADATA.to_owned(), text);
        }
        metadata
    }

    fn one_file(&self, tensors: Vec<ExportTensor>) -> Export {
        Export {
            is_folder: false,
            files: vec![ExportFile { path: String::new(), tensors }],
            texts: IndexMap::new(),
            metadata: self.config_metadata(),
        }
    }

    /// Stored tensors in the order of their files, each with what it is made of.
    fn stored(&self) -> IndexMap<(usize, String), ExportTensor> {
        let mut stored: IndexMap<(usize, String), Vec<(String, &TensorRef)>> = IndexMap::new();
        for (name, t) in &self.tensors {
            stored.entry((t.source, t.key.clone())).or_default().push((name.clone(), t));
        }
        let mut out: IndexMap<(usize, String), ExportTensor> = IndexMap::new();
        for (place, mut parts) in stored {
            parts.sort_by_key(|(_, t)| match t.transform {
                Transform::Rows { start, .. } => start,
                _ => 0,
            });
            let Some((name, first)) = parts.first().cloned() else { continue };
            let content = match first.transform {
                Transform::Same => Content::Whole(name),
                Transform::Transpose => Content::Transposed(name),
                Transform::Rows { .. } => Content::Stacked(parts.into_iter().map(|(n, _)| n).collect()),
            };
            let (key, shape, dtype) = (place.1.clone(), first.info.shape.clone(), first.info.dtype);
            out.insert(place, ExportTensor { key, shape, dtype, content });
        }
        for t in self.extra.values() {
            let (key, shape, dtype) = (t.key.clone(), t.info.shape.clone(), t.info.dtype);
            let content = Content::Copied(t.clone());
            out.insert((t.source, t.key.clone()), ExportTensor { key, shape, dtype, content });
        }
        out.sort_by(|a, _, b, _| a.cmp(b));
        out
    }

    fn stored_tensors(&self, prefixed: bool) -> Vec<ExportTensor> {
        let prefix = |part: usize| match self.parts.get(part) {
            Some(p) if prefixed && !p.component.is_empty() => format!("{}.", p.component),
            _ => String::new(),
        };
        self.stored()
            .into_iter()
            .map(|((part, key), t)| ExportTensor { key: format!("{}{key}", prefix(part)), ..t })
            .collect()
    }

    async fn same_folder(&self) -> Result<Export> {
        let mut files: Vec<ExportFile> =
            self.parts.iter().map(|p| ExportFile { path: p.name.clone(), tensors: Vec::new() }).collect();
        for ((part, _), tensor) in self.stored() {
            if let Some(file) = files.get_mut(part) {
                file.tensors.push(tensor);
            }
        }
        let mut texts = IndexMap::new();
        for name in self.bundle.names().filter(|n| n.ends_with(".json") || n.starts_with("tokenizer")) {
            if let Some(text) = self.bundle.text(name).await? {
                texts.insert(name.to_owned(), text);
            }
        }
        Ok(Export { is_folder: true, files, texts, metadata: IndexMap::new() })
    }

    fn diffusers_folder(&self) -> Result<Export> {
        let mut files: IndexMap<String, ExportFile> = IndexMap::new();
        for (name, t) in &self.tensors {
            let component = component_of(name);
            let file = if component.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
            let path = format!("{component}/{file}.safetensors");
            let entry = files.entry(component.to_owned()).or_insert(ExportFile { path, tensors: Vec::new() });
            entry.tensors.push(ExportTensor {
                key: name[component.len() + 1..].to_owned(),
                shape: t.shape.clone(),
                dtype: t.info.dtype,
                content: Content::Whole(name.clone()),
            });
        }
        let mut texts = IndexMap::new();
        let mut put = |path: &str, json: Value| {
            texts.insert(path.to_owned(), format!("{json:#}\n").into_bytes());
        };
        let class =
            if self.family == ModelFamily::Sdxl { "StableDiffusionXLPipeline" } else { "StableDiffusionPipeline" };
        let mut index = json!({ "_class_name": class, "scheduler": ["diffusers", self.scheduler.class_name] });
        if let Some(c) = &self.unet {
            put("unet/config.json", c.to_json());
            index["unet"] = json!(["diffusers", "UNet2DConditionModel"]);
        }
        if let Some(c) = &self.vae {
            put("vae/config.json", c.to_json());
            index["vae"] = json!(["diffusers", "AutoencoderKL"]);
        }
        for (component, config) in [("text_encoder", &self.text_encoder), ("text_encoder_2", &self.text_encoder_2)] {
            if let Some(c) = config {
                put(&format!("{component}/config.json"), c.to_json());
                let class = if c.has_projection { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
                index[component] = json!(["transformers", class]);
            }
        }
        put("scheduler/scheduler_config.json", self.scheduler.to_json());
        if let Some(t) = &self.tokenizer {
            index["tokenizer"] = json!(["transformers", "CLIPTokenizer"]);
            for (file, text) in [
                ("vocab.json", &t.vocab),
                ("merges.txt", &t.merges),
                ("tokenizer.json", &t.tokenizer),
                ("tokenizer_config.json", &t.config),
                ("special_tokens_map.json", &t.special_tokens),
            ] {
                if let Some(text) = text {
                    texts.insert(format!("tokenizer/{file}"), text.clone());
                }
            }
        }
        texts.insert("model_index.json".into(), format!("{index:#}\n").into_bytes());
        Ok(Export { is_folder: true, files: files.into_values().collect(), texts, metadata: IndexMap::new() })
    }

    fn ldm_file(&self) -> Result<Export> {
        if self.format == Format::Ldm {
            return Ok(self.one_file(self.stored_tensors(false)));
        }
        let unet = self.unet.as_ref().map(|c| UNetBlocks::of(c).renames());
        let vae = self.vae.as_ref().map(|c| VaeBlocks::of(c).renames());
        let mut tensors = Vec::new();
        let mut stacks: IndexMap<String, [Option<String>; 3]> = IndexMap::new();
        for (name, t) in &self.tensors {
            let component = component_of(name);
            let rest = &name[component.len() + 1..];
            let no_name = || {
                let why = format!("`{name}` has no name in the ldm layout; write it as a diffusers folder instead");
                Error::NotA { file: self.name.clone(), why }
            };
            let whole = |key: String, shape: Vec<usize>| ExportTensor {
                key,
                shape,
                dtype: t.info.dtype,
                content: Content::Whole(name.clone()),
            };
            match component {
                "unet" => {
                    let key = unet.as_ref().and_then(|r| r.ldm(rest)).ok_or_else(no_name)?;
                    tensors.push(whole(format!("{}{key}", ldm::UNET), t.shape.clone()));
                }
                "vae" => {
                    let key = vae.as_ref().and_then(|r| r.ldm(rest)).ok_or_else(no_name)?;
                    let mut shape = t.shape.clone();
                    if rest.contains(".attentions.") && shape.len() == 2 {
                        shape.extend([1, 1]);
                    }
                    tensors.push(whole(format!("{}{key}", ldm::VAE), shape));
                }
                "text_encoder" if self.family != ModelFamily::Sd2 => {
                    let prefix = if self.family == ModelFamily::Sdxl { ldm::SDXL_CLIP } else { ldm::CLIP };
                    tensors.push(whole(format!("{prefix}{rest}"), t.shape.clone()));
                }
                _ => {
                    let prefix = match component {
                        "text_encoder" => ldm::OPEN_CLIP,
                        _ if self.text_encoder.is_none() => ldm::REFINER_OPEN_CLIP,
                        _ => ldm::SDXL_OPEN_CLIP,
                    };
                    match crate::layout::open_clip_key(rest).ok_or_else(no_name)? {
                        (key, Some(which)) => {
                            stacks.entry(format!("{prefix}{key}")).or_default()[which] = Some(name.clone());
                        }
                        (key, None) if key == "text_projection" => {
                            let shape = t.shape.iter().rev().copied().collect();
                            let content = Content::Transposed(name.clone());
                            let key = format!("{prefix}{key}");
                            tensors.push(ExportTensor { key, shape, dtype: t.info.dtype, content });
                        }
                        (key, None) => tensors.push(whole(format!("{prefix}{key}"), t.shape.clone())),
                    }
                }
            }
        }
        for (key, parts) in stacks {
            let [Some(q), Some(k), Some(v)] = parts else {
                let why = format!("`{key}` cannot be put together: one of q, k, v is missing");
                return Err(Error::Mismatch { file: self.name.clone(), why });
            };
            let t = self.tensor(&q)?;
            let mut shape = t.shape.clone();
            if let Some(rows) = shape.first_mut() {
                *rows *= 3;
            }
            tensors.push(ExportTensor { key, shape, dtype: t.info.dtype, content: Content::Stacked(vec![q, k, v]) });
        }
        tensors.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(self.one_file(tensors))
    }
}
