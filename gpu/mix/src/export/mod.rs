//! Writing a mix: batch by batch of tensors, the next one's computation running while the last one's bytes are read back and written.

#[cfg(not(target_arch = "wasm32"))]
mod adapter;
#[cfg(not(target_arch = "wasm32"))]
mod path;

use std::path::PathBuf;

use admix_files::checkpoint::{Content, Export, ExportFile, ExportTensor, Layout};
use admix_files::safetensors::{Sink, SinkWriter, TensorSpec};
use admix_files::{Checkpoint, DType};
use indexmap::IndexMap;
use serde_json::json;

use crate::flat::Flat;
use crate::{MixError, Mixer};

/// Which keys and files an export gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportLayout {
    /// Those of the base; of a folder, one file with prefixed keys where the output ends in `.safetensors`.
    #[default]
    Same,
    /// One file with the keys other programs read.
    Ldm,
    /// A diffusers folder.
    Diffusers,
}

impl ExportLayout {
    /// The layout of a command-line name: `same`, `ldm`, `diffusers`.
    pub fn from_name(name: &str) -> Option<ExportLayout> {
        match name {
            "same" => Some(ExportLayout::Same),
            "ldm" => Some(ExportLayout::Ldm),
            "diffusers" => Some(ExportLayout::Diffusers),
            _ => None,
        }
    }
}

/// How far an export is.
#[derive(Clone, Copy, Debug)]
pub struct ExportProgress {
    /// Tensors written.
    pub done: usize,
    /// Tensors in all.
    pub total: usize,
    /// Bytes written.
    pub bytes: u64,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct ExportReport {
    /// The file or folder.
    pub out: PathBuf,
    /// Weight files, relative to a folder.
    pub files: Vec<String>,
    /// Tensors written.
    pub tensors: usize,
    /// Of these, how many the recipe changed.
    pub changed: usize,
    /// Bytes of tensor data.
    pub bytes: u64,
}

/// Results that are under way together, at most: enough that waiting for them costs little (a browser waits long for few bytes as for many),
/// little enough that two batches and their inputs fit beside a tab.
const BATCH_BYTES: usize = 16 << 20;
/// Tensors of a batch at most.
const BATCH_TENSORS: usize = 128;

/// A tensor whose parts the device computes; none of those that are copied.
struct Started<'a> {
    tensor: &'a ExportTensor,
    flats: Vec<Option<Flat>>,
}

/// A tensor and what was read back of its parts.
type Read<'a> = (&'a ExportTensor, Vec<Option<Vec<u8>>>);

/// Takes the tensors of one file in order.
trait Writer {
    async fn write(&mut self, key: &str, bytes: &[u8]) -> Result<(), MixError>;
}

impl Writer for SinkWriter<'_> {
    async fn write(&mut self, key: &str, bytes: &[u8]) -> Result<(), MixError> {
        Ok(SinkWriter::write(self, key, bytes).await?)
    }
}

/// Tells `progress` of every tensor and stops where it says so.
fn ticker(
    plan: &Export,
    progress: &mut dyn FnMut(ExportProgress) -> bool,
) -> impl FnMut(&ExportReport) -> Result<(), MixError> {
    let total = plan.files.iter().map(|f| f.tensors.len()).sum();
    move |report| {
        let going = progress(ExportProgress { done: report.tensors, total, bytes: report.bytes });
        if going { Ok(()) } else { Err(MixError::Cancelled) }
    }
}

impl Mixer {
    /// Writes the mix as one file into `sink`: the bytes that [`Mixer::export`] writes to a path, where there are no paths.
    ///
    /// `progress` is called after every tensor and stops the work by returning false. Errors: a layout that is a folder or cannot hold the
    /// model, a sink that takes no more, a result that is not finite (named).
    pub async fn export_to(
        &self,
        sink: &mut dyn Sink,
        layout: ExportLayout,
        progress: &mut dyn FnMut(ExportProgress) -> bool,
    ) -> Result<ExportReport, MixError> {
        let plan = self.plan(layout, true).await?;
        let [file] = &plan.files[..] else {
            return Err(MixError::Output("this layout is a folder; here a mix can only be written as one file".into()));
        };
        let mut report = ExportReport { out: PathBuf::new(), files: Vec::new(), tensors: 0, changed: 0, bytes: 0 };
        let mut writer = SinkWriter::create(sink, self.specs(file), &self.metadata(&plan)).await?;
        self.write_tensors(file, &mut writer, &mut report, &mut ticker(&plan, progress)).await?;
        writer.finish()?;
        report.files.push(file.path.clone());
        Ok(report)
    }

    /// Which file gets which key.
    async fn plan(&self, layout: ExportLayout, one_file: bool) -> Result<Export, MixError> {
        let plan = self.base().export(match layout {
            ExportLayout::Same if one_file => Layout::SameInOneFile,
            ExportLayout::Same => Layout::Same,
            ExportLayout::Ldm => Layout::Ldm,
            ExportLayout::Diffusers => Layout::Diffusers,
        });
        Ok(plan.await?)
    }

    /// Strings that every written file carries: the recipe, and what other programs look for.
    fn metadata(&self, plan: &Export) -> IndexMap<String, String> {
        let mut metadata = plan.metadata.clone();
        // transformers and diffusers refuse files without it.
        metadata.insert("format".into(), "pt".into());
        let recipe = self.recipe_with_checksums();
        metadata.insert("admix_recipe".into(), recipe.to_json(false));
        if !recipe.merge.is_empty() || !recipe.adapters.is_empty() {
            let mut models = serde_json::Map::new();
            for stage in &recipe.merge {
                for model in &stage.models {
                    let sum = model.source.sha256.clone().unwrap_or_default();
                    models.insert(sum, json!({ "name": model.source.reference, "weight": model.weight }));
                }
            }
            let base = recipe.base.sha256.clone().unwrap_or_default();
            models.insert(base, json!({ "name": recipe.base.reference }));
            let merge = serde_json::to_value(&recipe.merge).unwrap_or_default();
            metadata.insert("sd_merge_recipe".into(), json!({ "type": "admix", "merge": merge }).to_string());
            metadata.insert("sd_merge_models".into(), serde_json::Value::Object(models).to_string());
        }
        let family = match self.base().family.id() {
            "sd1" => Some("stable-diffusion-v1"),
            "sd2" => Some("stable-diffusion-v2"),
            "sdxl" => Some("stable-diffusion-xl-v1-base"),
            _ => None,
        };
        if let Some(family) = family {
            metadata.insert("modelspec.sai_model_spec".into(), "1.0.0".into());
            metadata.insert("modelspec.architecture".into(), family.into());
            metadata.insert("modelspec.implementation".into(), "diffusers".into());
        }
        metadata
    }

    /// What a file's header says of its tensors.
    fn specs(&self, file: &ExportFile) -> Vec<TensorSpec> {
        let spec =
            |t: &ExportTensor| TensorSpec { name: t.key.clone(), dtype: self.written_type(t), shape: t.shape.clone() };
        file.tensors.iter().map(spec).collect()
    }

    async fn write_tensors(
        &self,
        file: &ExportFile,
        writer: &mut impl Writer,
        report: &mut ExportReport,
        tick: &mut impl FnMut(&ExportReport) -> Result<(), MixError>,
    ) -> Result<(), MixError> {
        // One batch ahead: the device computes the next while this one's bytes are read back and written.
        let mut rest = file.tensors.as_slice();
        let mut ahead = self.start_batch(&mut rest).await?;
        while !ahead.is_empty() {
            let batch = std::mem::replace(&mut ahead, self.start_batch(&mut rest).await?);
            for (tensor, raw) in self.read_batch(batch).await? {
                let bytes = self.finish_tensor(tensor, raw).await?;
                writer.write(&tensor.key, &bytes).await?;
                report.tensors += 1;
                report.bytes += bytes.len() as u64;
                report.changed += usize::from(tensor.names().iter().any(|n| self.is_touched(n)));
                tick(report)?;
            }
        }
        Ok(())
    }

    /// Starts tensors from the front of `rest` until a batch of results is under way; empty at the end.
    async fn start_batch<'a>(&self, rest: &mut &'a [ExportTensor]) -> Result<Vec<Started<'a>>, MixError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((tensor, others)) = rest.split_first() {
            let started = self.start_tensor(tensor).await?;
            bytes += started.iter().flatten().map(Flat::bytes).sum::<usize>();
            batch.push(Started { tensor, flats: started });
            *rest = others;
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_TENSORS {
                break;
            }
        }
        Ok(batch)
    }

    /// Waits once for the results of a batch.
    async fn read_batch<'a>(&self, batch: Vec<Started<'a>>) -> Result<Vec<Read<'a>>, MixError> {
        let flats: Vec<&Flat> = batch.iter().flat_map(|started| started.flats.iter().flatten()).collect();
        let mut read = Flat::read_all(self.gpu(), &flats).await?.into_iter();
        let raw = |flats: &[Option<Flat>], read: &mut dyn Iterator<Item = Vec<u8>>| {
            flats.iter().map(|flat| flat.as_ref().and_then(|_| read.next())).collect()
        };
        Ok(batch.iter().map(|started| (started.tensor, raw(&started.flats, &mut read))).collect())
    }

    /// The type a tensor is written in.
    fn written_type(&self, tensor: &ExportTensor) -> DType {
        match tensor.content {
            Content::Copied(_) => tensor.dtype,
            _ => self.dtype().filter(|_| tensor.dtype.is_float()).unwrap_or(tensor.dtype),
        }
    }

    async fn start_tensor(&self, tensor: &ExportTensor) -> Result<Vec<Option<Flat>>, MixError> {
        let mut started = Vec::new();
        for name in tensor.names() {
            let same_type = self.written_type(tensor) == tensor.dtype;
            started.push(if same_type && !self.is_touched(name) { None } else { Some(self.start_bytes(name).await?) });
        }
        Ok(started)
    }

    /// A tensor as the file holds it; `raw`: what was read back of its parts, none of those that are copied.
    async fn finish_tensor(&self, tensor: &ExportTensor, raw: Vec<Option<Vec<u8>>>) -> Result<Vec<u8>, MixError> {
        if let Content::Copied(stored) = &tensor.content {
            return Ok(self.base().read_ref(stored).await?);
        }
        let dtype = self.written_type(tensor);
        let mut parts = Vec::new();
        for (name, raw) in tensor.names().into_iter().zip(raw) {
            parts.push(match raw {
                Some(raw) => self.file_bytes(name, raw, dtype)?,
                None => untouched(self.base(), name, dtype).await?,
            });
        }
        Ok(tensor.assemble(parts, dtype))
    }
}

/// A tensor's own bytes, refused where they are not finite.
async fn untouched(base: &Checkpoint, name: &str, dtype: DType) -> Result<Vec<u8>, MixError> {
    let bytes = base.read_raw(name).await?;
    match crate::quantize::first_non_finite(&bytes, dtype) {
        None => Ok(bytes),
        Some(at) => Err(MixError::Tensor {
            place: base.name.clone(),
            tensor: name.into(),
            reason: format!("element {at} is not finite; the file is damaged, use another copy"),
        }),
    }
}
