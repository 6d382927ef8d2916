//! `--noise`, `--embeds` and `--latents-out`: small safetensors files.

use std::path::Path;

use admix_engine::files::safetensors::{FileWriter, Index, TensorSpec};
use admix_engine::files::{ByteSource, DType, FileSource, ready};

use super::fault::Fault;

/// The tensors of one file.
pub struct TensorFile {
    name: String,
    source: FileSource,
    index: Index,
}

impl TensorFile {
    /// Opens a safetensors file.
    pub fn open(path: &Path) -> Result<TensorFile, Fault> {
        let name = path.display().to_string();
        let source = FileSource::open(path)?;
        let index = ready(Index::read(&source, &name))?;
        Ok(TensorFile { name, source, index })
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, tensor: &str) -> bool {
        self.index.tensors.contains_key(tensor)
    }

    /// A tensor of `N` dimensions as f32. `axes` names them for the error. Errors: not there, other dimensions, no floats, nothing in it, values that
    /// are not finite.
    pub fn read<const N: usize>(&self, tensor: &str, axes: &str) -> Result<(Vec<f32>, [usize; N]), Fault> {
        let refuse = |why: String| Fault::input(format!("{}: tensor `{tensor}` {why}", self.name));
        let Some(info) = self.index.tensors.get(tensor) else {
            let some: Vec<&str> = self.index.tensors.keys().take(5).map(String::as_str).collect();
            let there = if some.is_empty() { "it is empty".into() } else { format!("it has {}", some.join(", ")) };
            return Err(refuse(format!("is not in this file ({there}); it must be there as {axes}")));
        };
        let shape: [usize; N] = info
            .shape
            .clone()
            .try_into()
            .map_err(|_| refuse(format!("has the shape {:?}; it must be {axes}", info.shape)))?;
        if shape.contains(&0) {
            return Err(refuse(format!("has the shape {shape:?}: there is nothing in it")));
        }
        if !info.dtype.is_float() {
            return Err(refuse(format!(
                "has the type {}; it must hold floating-point numbers (F32 or F16)",
                info.dtype
            )));
        }
        let data = info.dtype.decode_f32(&ready(self.source.read(info.range.clone()))?);
        if let Some(at) = data.iter().position(|v| !v.is_finite()) {
            return Err(refuse(format!("is not finite at element {at}; the file is damaged")));
        }
        Ok((data, shape))
    }
}

/// Writes one f32 tensor under `name`, whole or not at all.
pub fn write(path: &Path, name: &str, data: &[f32], shape: &[usize]) -> Result<(), Fault> {
    let spec = TensorSpec { name: name.into(), dtype: DType::F32, shape: shape.to_vec() };
    let mut writer = FileWriter::create(path, vec![spec], &Default::default())?;
    writer.write(name, &DType::F32.encode_f32(data))?;
    Ok(writer.finish()?)
}
