//! Weights from files to the device, a few megabytes at a time: neither a file nor a large tensor is ever whole in the host's memory.

use std::ops::Range;

use admix_files::{Checkpoint, DType};
use admix_tensor::kernels::Source;
use admix_tensor::{Gpu, Tensor};

use crate::EngineError;

/// Elements read at once: 16 MiB of f32, in a browser tab, whose one thread draws as well, 2. Even, so that f16 chunks end on whole words.
const CHUNK: usize = if cfg!(target_arch = "wasm32") { 1 << 19 } else { 4 << 20 };
/// Bytes handed to the queue before it is waited for: until then the driver keeps a copy of each.
const IN_FLIGHT: u64 = 48 << 20;

/// Hands tensors of a checkpoint to the device as they are in the file.
pub(crate) struct Feed<'a> {
    gpu: &'a Gpu,
    checkpoint: &'a Checkpoint,
    in_flight: u64,
}

impl<'a> Feed<'a> {
    pub fn new(gpu: &'a Gpu, checkpoint: &'a Checkpoint) -> Feed<'a> {
        Feed { gpu, checkpoint, in_flight: 0 }
    }

    /// Uploads elements of a tensor: f16 as it is, 8-bit floats as f16, every other type as f32. Nothing is rounded (but f64). Errors: values that are not finite; more than the device binds at
    /// once.
    pub async fn source(&mut self, name: &str, elements: Range<usize>) -> Result<Source, EngineError> {
        let dtype = self.checkpoint.tensor(name)?.info.dtype;
        let f16 = dtype.is_exact_in_f16();
        let words = if f16 { elements.len().div_ceil(2) } else { elements.len() };
        let data = Tensor::empty(self.gpu, name, 1, words)?;
        let mut at = elements.start;
        while at < elements.end {
            let next = elements.end.min(at + CHUNK);
            let bytes = self.checkpoint.read_elements(name, at..next).await?;
            let mut bytes = if dtype == DType::F16 {
                check_halves(self.checkpoint, name, &bytes, at)?;
                bytes
            } else {
                let values = dtype.decode_f32(&bytes);
                if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                    return Err(not_finite(self.checkpoint, name, at + i));
                }
                if f16 { DType::F16.encode_f32(&values) } else { bytemuck::cast_slice(&values).to_vec() }
            };
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let offset = (at - elements.start) as u64 * if f16 { 2 } else { 4 };
            self.gpu.queue.write_buffer(data.buffer(), offset, &bytes);
            self.in_flight += bytes.len() as u64;
            if self.in_flight >= IN_FLIGHT {
                self.flush().await?;
            }
            at = next;
        }
        Ok(Source { data, f16 })
    }

    /// Waits until the device has everything, so that the driver lets its copies go.
    pub async fn flush(&mut self) -> Result<(), EngineError> {
        self.in_flight = 0;
        self.gpu.queue.submit([]);
        Ok(self.gpu.finished().await?)
    }
}

fn check_halves(checkpoint: &Checkpoint, name: &str, bytes: &[u8], at: usize) -> Result<(), EngineError> {
    // An exponent of all ones is infinity or NaN.
    let bad = bytes.chunks_exact(2).position(|b| b[1] & 0x7c == 0x7c);
    bad.map_or(Ok(()), |i| Err(not_finite(checkpoint, name, at + i)))
}

fn not_finite(checkpoint: &Checkpoint, name: &str, at: usize) -> EngineError {
    EngineError::Input(format!(
        "{}: tensor {name}: element {at} is not finite; the file is damaged, use another copy",
        checkpoint.name
    ))
}
