//! Writing a mix to a path: under a temporary name first, renamed when it is whole.

use std::path::{Path, PathBuf};

use admix_files::checkpoint::Export;
use admix_files::safetensors::FileWriter;

use super::{ExportLayout, ExportProgress, ExportReport, Writer, ticker};
use crate::{MixError, Mixer};

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

impl Writer for FileWriter {
    async fn write(&mut self, key: &str, bytes: &[u8]) -> Result<(), MixError> {
        Ok(FileWriter::write(self, key, bytes)?)
    }
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
        let plan = self.plan(layout, one_file).await?;
        if plan.is_folder && one_file {
            let text = format!("{}: this layout is a folder; name one, without .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        if !plan.is_folder && !one_file {
            let text = format!("{}: this layout is one file; give it a name that ends in .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        let mut report = ExportReport { out: out.into(), files: Vec::new(), tensors: 0, changed: 0, bytes: 0 };
        let mut tick = ticker(&plan, progress);
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
            let mut writer = FileWriter::create(&path, self.specs(file), &metadata)?;
            self.write_tensors(file, &mut writer, report, tick).await?;
            writer.finish()?;
            report.files.push(file.path.clone());
        }
        Ok(())
    }
}
