//! Writing the recipe's adapters as one.

use std::path::Path;

use admix_files::DType;
use admix_files::safetensors::{FileWriter, TensorSpec};
use indexmap::IndexMap;

use super::ExportReport;
use crate::{MixError, Mixer};

impl Mixer {
    /// Writes the recipe's adapters as one LoRA file (peft's keys below `unet.` and `text_encoder.`), under a temporary name first.
    ///
    /// Factors are written as f32, or in the type of [`Mixer::with_dtype`]; the weights are inside them, so that the file is used at weight 1.
    /// Errors: an output that cannot be written, adapters that cannot be brought together.
    pub async fn export_adapter(&self, out: &Path) -> Result<ExportReport, MixError> {
        if !out.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
            let text = format!("{}: an adapter is one file; give it a name that ends in .safetensors", out.display());
            return Err(MixError::Output(text));
        }
        let dtype = self.dtype().unwrap_or(DType::F32);
        let parts = self.combined_adapter()?;
        let (mut specs, mut data) = (Vec::new(), Vec::new());
        for (name, shape, factors) in &parts {
            let module = name.strip_suffix(".weight").unwrap_or(name);
            // A convolution's `down` has its kernel, `up` is 1x1.
            let ones = vec![1; shape.len().saturating_sub(2)];
            let down = [&[factors.rank], &shape[1..]].concat();
            let up = [&[factors.out, factors.rank], &ones[..]].concat();
            for (end, shape, values) in [("lora_A", down, &factors.down), ("lora_B", up, &factors.up)] {
                specs.push(TensorSpec { name: format!("{module}.{end}.weight"), dtype, shape });
                data.push(dtype.encode_f32(values));
            }
        }
        let mut metadata = IndexMap::new();
        metadata.insert("format".to_string(), "pt".to_string());
        metadata.insert("admix_recipe".into(), self.recipe_with_checksums().to_json(false));
        let mut writer = FileWriter::create(out, specs.clone(), &metadata)?;
        let mut report =
            ExportReport { out: out.into(), files: Vec::new(), tensors: 0, changed: parts.len(), bytes: 0 };
        for (spec, bytes) in specs.iter().zip(&data) {
            if let Some(at) = crate::quantize::first_non_finite(bytes, dtype) {
                let reason = format!(
                    "element {at} is not finite in {dtype}; lower the weights or write a wider type (--dtype f32)"
                );
                return Err(MixError::Tensor { place: "result".into(), tensor: spec.name.clone(), reason });
            }
            writer.write(&spec.name, bytes)?;
            report.tensors += 1;
            report.bytes += bytes.len() as u64;
        }
        writer.finish()?;
        report.files.push(out.display().to_string());
        Ok(report)
    }
}
