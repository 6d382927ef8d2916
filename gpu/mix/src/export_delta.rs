//! Writing a mix as the signs of its difference from the base (BitDelta, Liu et al. 2024, arXiv 2402.10193): a thirty-second of the size.
//! The layout is that of `admix_files::adapter::bitdelta`; any recipe on the same base takes the file as an adapter.

use std::path::Path;

use admix_files::DType;
use admix_files::adapter::bitdelta;
use admix_files::safetensors::{FileWriter, TensorSpec};
use indexmap::IndexMap;

use crate::flat::Kind;
use crate::{ExportProgress, ExportReport, MixError, Mixer};

/// How one tensor's difference is stored.
struct Entry {
    /// Canonical name in the base.
    name: String,
    /// Keys: of the signs and the distance, or of the whole difference.
    keys: Vec<String>,
    shape: Vec<usize>,
}

impl Entry {
    fn specs(&self) -> Vec<TensorSpec> {
        let spec = |key: &str, dtype, shape| TensorSpec { name: key.into(), dtype, shape };
        match &self.keys[..] {
            [signs, distance] => {
                let width: usize = self.shape[1..].iter().product();
                vec![
                    spec(signs, DType::U8, vec![self.shape[0], width.div_ceil(8)]),
                    spec(distance, DType::F32, Vec::new()),
                ]
            }
            keys => keys.iter().map(|k| spec(k, DType::F32, self.shape.clone())).collect(),
        }
    }
}

impl Mixer {
    /// Writes what the recipe changes as signs and one distance for each matrix, vectors whole, to a .safetensors file.
    ///
    /// `progress` is called after every tensor and stops the work by returning false. Errors: an output that cannot be written, a recipe that
    /// changes nothing, a result that is not finite (named).
    pub async fn export_bitdelta(
        &self,
        out: &Path,
        progress: &mut dyn FnMut(ExportProgress) -> bool,
    ) -> Result<ExportReport, MixError> {
        if out.extension().is_none_or(|e| !e.eq_ignore_ascii_case("safetensors")) {
            let text = format!("{}: a bitdelta is one file; give it a name that ends in .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        let entries = self.entries()?;
        let metadata = self.delta_metadata();
        let mut writer = FileWriter::create(out, entries.iter().flat_map(Entry::specs).collect(), &metadata)?;
        let mut report = ExportReport { out: out.into(), files: vec![String::new()], tensors: 0, changed: 0, bytes: 0 };
        for entry in &entries {
            let mixed = self.compute(&entry.name, &entry.shape, Kind::F32, false).await?.read_f32(self.gpu()).await?;
            let base = self.base().read_f32(&entry.name).await?;
            let difference: Vec<f32> = mixed.iter().zip(&base).map(|(m, b)| m - b).collect();
            if let Some(at) = difference.iter().position(|v| !v.is_finite()) {
                return Err(MixError::Tensor {
                    place: "result".into(),
                    tensor: entry.name.clone(),
                    reason: format!("element {at} is not finite; lower the weights"),
                });
            }
            let mut put = |key: &str, bytes: &[u8]| {
                report.bytes += bytes.len() as u64;
                writer.write(key, bytes)
            };
            match &entry.keys[..] {
                [signs, distance] => {
                    let (bits, scale) = bitdelta::pack(&difference, entry.shape[1..].iter().product());
                    put(signs, &bits)?;
                    put(distance, &scale.to_le_bytes())?;
                }
                keys => {
                    for key in keys {
                        put(key, &DType::F32.encode_f32(&difference))?;
                    }
                }
            }
            report.tensors += 1;
            report.changed += 1;
            if !progress(ExportProgress { done: report.tensors, total: entries.len(), bytes: report.bytes }) {
                return Err(MixError::Cancelled);
            }
        }
        writer.finish()?;
        Ok(report)
    }

    /// What is stored: everything that the recipe changes.
    fn entries(&self) -> Result<Vec<Entry>, MixError> {
        let mut entries = Vec::new();
        for (name, tensor) in self.base().tensors.iter().filter(|(n, _)| self.is_touched(n)) {
            let layer = |ending: &str| name.strip_suffix(ending);
            let keys = match (layer(".weight"), layer(".bias"), tensor.shape.len()) {
                (Some(module), _, 2..) => vec![format!("{module}.mask"), format!("{module}.coeff")],
                (Some(module), ..) => vec![format!("{module}.diff")],
                (None, Some(module), _) => vec![format!("{module}.diff_b")],
                (None, None, _) => {
                    return Err(MixError::Tensor {
                        place: "result".into(),
                        tensor: name.clone(),
                        reason: "it is neither a weight nor a bias, so a bitdelta has no place for it".into(),
                    });
                }
            };
            entries.push(Entry { name: name.clone(), keys, shape: tensor.shape.clone() });
        }
        if entries.is_empty() {
            return Err(MixError::Output("the recipe changes nothing, so there is no difference to write".into()));
        }
        Ok(entries)
    }

    fn delta_metadata(&self) -> IndexMap<String, String> {
        let recipe = self.recipe_with_checksums();
        let mut metadata = IndexMap::from([
            ("format".to_owned(), "pt".to_owned()),
            (bitdelta::FORMAT.to_owned(), "1".to_owned()),
            ("admix_recipe".to_owned(), recipe.to_json(false)),
        ]);
        let family = match self.base().family.id() {
            "sd1" => "stable-diffusion-v1",
            "sd2" => "stable-diffusion-v2",
            "sdxl" => "stable-diffusion-xl-v1-base",
            _ => return metadata,
        };
        metadata.insert("modelspec.architecture".into(), format!("{family}/bitdelta"));
        metadata
    }
}
