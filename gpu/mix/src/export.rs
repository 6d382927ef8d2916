//! Writing a mix: tensor by tensor, the next one's computation running while the last one's bytes are written.

use std::path::{Path, PathBuf};

use admix_files::checkpoint::{Content, Export, ExportTensor, Layout};
use admix_files::safetensors::{FileWriter, TensorSpec};
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

/// A temporary path that is removed unless it was renamed.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Best effort: the error that led here is the one worth reporting.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn failed(path: &Path, error: std::io::Error) -> MixError {
    MixError::Output(format!("cannot write {}: {error}", path.display()))
}

impl Mixer {
    /// Writes the mix to `out` under a temporary name and renames it when it is whole.
    ///
    /// `dtype` of [`Mixer::with_dtype`] decides the type; integer tensors are copied as they are. `progress` is called after every tensor and
    /// stops the work by returning false. Errors: an output that cannot be written, a layout that cannot hold the model, a result that is not
    /// finite (named).
    pub async fn export(
        &self,
        out: &Path,
        layout: ExportLayout,
        progress: &mut dyn FnMut(ExportProgress) -> bool,
    ) -> Result<ExportReport, MixError> {
        let one_file = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
        let plan = self.base().export(match layout {
            ExportLayout::Same if one_file => Layout::SameInOneFile,
            ExportLayout::Same => Layout::Same,
            ExportLayout::Ldm => Layout::Ldm,
            ExportLayout::Diffusers => Layout::Diffusers,
        });
        let plan = plan.await?;
        if plan.is_folder && one_file {
            let text = format!("{}: this layout is a folder; name one, without .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        if !plan.is_folder && !one_file {
            let text = format!("{}: this layout is one file; give it a name that ends in .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        let total: usize = plan.files.iter().map(|f| f.tensors.len()).sum();
        let mut report = ExportReport { out: out.into(), files: Vec::new(), tensors: 0, changed: 0, bytes: 0 };
        let mut tick = |report: &ExportReport| {
            let going = progress(ExportProgress { done: report.tensors, total, bytes: report.bytes });
            if going { Ok(()) } else { Err(MixError::Cancelled) }
        };
        if !plan.is_folder {
            self.write_files(&plan, out, &mut report, &mut tick).await?;
            return Ok(report);
        }
        if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) || out.is_file() {
            let text = format!("{} already exists and is not empty; remove it or choose another name", out.display());
            return Err(MixError::Output(text));
        }
        let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = out.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let mut temporary = Temporary(Some(beside.clone()));
        std::fs::create_dir(&beside).map_err(|e| failed(out, e))?;
        for (path, text) in &plan.texts {
            let path = beside.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| failed(out, e))?;
            }
            std::fs::write(&path, text).map_err(|e| failed(out, e))?;
        }
        self.write_files(&plan, &beside, &mut report, &mut tick).await?;
        // An empty folder of that name may be replaced.
        let _ = std::fs::remove_dir(out);
        std::fs::rename(&beside, out).map_err(|e| failed(out, e))?;
        temporary.0 = None;
        Ok(report)
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

    async fn write_files(
        &self,
        plan: &Export,
        out: &Path,
        report: &mut ExportReport,
        tick: &mut impl FnMut(&ExportReport) -> Result<(), MixError>,
    ) -> Result<(), MixError> {
        let metadata = self.metadata(plan);
        for file in &plan.files {
            let path = if plan.is_folder { out.join(&file.path) } else { out.to_path_buf() };
            if let Some(folder) = path.parent().filter(|_| plan.is_folder) {
                std::fs::create_dir_all(folder).map_err(|e| failed(out, e))?;
            }
            let specs = file.tensors.iter().map(|t| TensorSpec {
                name: t.key.clone(),
                dtype: self.written_type(t),
                shape: t.shape.clone(),
            });
            let mut writer = FileWriter::create(&path, specs.collect(), &metadata)?;
            // One tensor ahead: the device computes the next while this one's bytes are read back and written.
            let mut ahead = None;
            for (at, tensor) in file.tensors.iter().enumerate() {
                let current = match ahead.take() {
                    Some(started) => started,
                    None => self.start_tensor(tensor).await?,
                };
                if let Some(next) = file.tensors.get(at + 1) {
                    ahead = Some(self.start_tensor(next).await?);
                }
                let bytes = self.finish_tensor(tensor, current).await?;
                writer.write(&tensor.key, &bytes)?;
                report.tensors += 1;
                report.bytes += bytes.len() as u64;
                report.changed += usize::from(tensor.names().iter().any(|n| self.is_touched(n)));
                tick(report)?;
            }
            writer.finish()?;
            report.files.push(file.path.clone());
        }
        Ok(())
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
            started.push(if same_type && !self.is_touched(name) {
                None
            } else {
                Some(self.start_bytes(name).await?.0)
            });
        }
        Ok(started)
    }

    async fn finish_tensor(&self, tensor: &ExportTensor, started: Vec<Option<Flat>>) -> Result<Vec<u8>, MixError> {
        if let Content::Copied(stored) = &tensor.content {
            return Ok(self.base().read_ref(stored).await?);
        }
        let dtype = self.written_type(tensor);
        let mut parts = Vec::new();
        for (name, flat) in tensor.names().into_iter().zip(started) {
            parts.push(match flat {
                Some(flat) => self.finish_bytes(name, &flat, dtype).await?,
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
