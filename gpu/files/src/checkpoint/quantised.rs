//! Weights that are numbers only together with scales beside them: refused by name. Read without the scales they would be thousands of times too
//! large or small, and every check of shapes would pass.

use crate::error::{Error, Result};
use crate::safetensors::TensorInfo;

/// Endings of the keys of such scales: ComfyUI's scaled fp8 (`scale_weight`, `scale_input`; later `weight_scale`, `input_scale`, `comfy_quant`),
/// bitsandbytes' LLM.int8 (`SCB`, `weight_format`) and 4 bits (`absmax`, `quant_map`), GPTQ and AWQ.
const ENDINGS: [&str; 15] = [
    ".scale_weight",
    ".scale_input",
    ".weight_scale",
    ".weight_scale_2",
    ".input_scale",
    ".comfy_quant",
    ".SCB",
    ".weight_format",
    ".absmax",
    ".nested_absmax",
    ".quant_map",
    ".nested_quant_map",
    ".qweight",
    ".qzeros",
    "scaled_fp8",
];

fn tells(key: &str, info: &TensorInfo) -> bool {
    let whole = key.ends_with(".weight") && !info.dtype.is_float();
    whole || key.contains(".quant_state.") || ENDINGS.iter().any(|ending| key.ends_with(ending))
}

/// Refuses a file with such keys.
pub(super) fn refuse<'a>(file: &str, tensors: impl IntoIterator<Item = (&'a String, &'a TensorInfo)>) -> Result<()> {
    let Some((key, info)) = tensors.into_iter().find(|(key, info)| tells(key, info)) else { return Ok(()) };
    Err(Error::Unsupported {
        file: file.into(),
        what: format!("a checkpoint of quantised weights (`{key}`, {})", info.dtype.name()),
        hint: "; use the f16 or bf16 file of this model".into(),
    })
}
