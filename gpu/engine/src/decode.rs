//! Latents to pictures and back: exactly, whatever the device binds, and in tiles where a picture is larger than 1024 x 1024 pixels or the
//! device has no room to do it at once.

use std::sync::{Arc, Mutex, PoisonError};

use admix_model::ModelError;
use admix_model::vae::{Vae, VaePass};
use admix_tensor::kernels::Picture as Size;
use admix_tensor::{Gpu, TensorError};

use crate::control::{Control, Progress};
use crate::{EngineError, memory};

/// Latent cells that are decoded at once at most: 1024 x 1024 pixels for a factor of 8.
const WHOLE: usize = 128 * 128;
/// Edges of tiles in latent cells, the largest first that the device has room for.
const TILES: [usize; 4] = [96, 64, 32, 16];
/// Latent cells by which neighbouring tiles overlap; their results are blended linearly.
const OVERLAP: usize = 16;

/// Bytes of intermediate results beyond which a recorded pass is not kept for the next picture.
const MOST_KEPT: u64 = 64 << 20;

/// A recorded pass of a decoder, kept for the next picture of the same size.
#[derive(Default)]
pub(crate) struct Pass(Mutex<Option<(Size, Arc<VaePass>)>>);

impl Pass {
    /// The pass over latents of `size`, recorded with `record` if the last one was another.
    pub fn over(
        &self,
        size: Size,
        record: impl FnOnce() -> Result<VaePass, ModelError>,
    ) -> Result<Arc<VaePass>, ModelError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pass)) = held.as_ref().filter(|(of, _)| *of == size) {
            return Ok(pass.clone());
        }
        // Before the next one takes memory of its own.
        *held = None;
        let pass = Arc::new(record()?);
        if pass.program.intermediate_bytes() <= MOST_KEPT {
            *held = Some((size, pass.clone()));
        }
        Ok(pass)
    }

    /// Lets go of what is kept.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A recorded pass, and how a picture is cut for it.
struct Cut<T> {
    pass: T,
    /// Edge of a tile in latent cells.
    tile: usize,
    /// Cells by which tiles overlap.
    overlap: usize,
}

/// Records a pass for a picture of `h` x `w` latent cells, or for the largest tiles of it that the device has room for. `free`: bytes for
/// intermediate results, where that is known.
async fn fit<T>(
    gpu: &Gpu,
    vae: &Vae,
    (h, w): (usize, usize),
    free: Option<u64>,
    mut record: impl FnMut(Size) -> Result<T, ModelError>,
) -> Result<Cut<T>, EngineError> {
    let longer = h.max(w);
    let whole = Some(longer).filter(|_| h * w <= WHOLE);
    let mut edges = whole.into_iter().chain(TILES.into_iter().filter(|t| *t < longer)).peekable();
    let mut refused = TensorError::Device("there is no picture to decode".into());
    while let Some(tile) = edges.next() {
        let size = Size { n: 1, h: tile.min(h), w: tile.min(w) };
        // The smallest is tried in any case: the device shall say itself that it cannot.
        if edges.peek().is_some() && free.is_some_and(|free| memory::vae_bytes(vae.config(), size.h, size.w) > free) {
            continue;
        }
        let (made, has_room) = gpu.with_room(|| record(size)).await;
        refused = match made {
            Ok(pass) if has_room => {
                let overlap = if tile < longer { OVERLAP.min(tile / 2) } else { 0 };
                return Ok(Cut { pass, tile, overlap });
            }
            Ok(without_memory) => {
                drop(without_memory);
                TensorError::Device("it has no memory left to decode even a part of the picture".into())
            }
            Err(ModelError::Tensor(error @ TensorError::TooLarge { .. })) => error,
            Err(error) => return Err(error.into()),
        };
        // Buffers that were let go are freed when the device is looked after.
        gpu.finished().await?;
    }
    Err(refused.into())
}

/// One sample: NHWC floats of `c` channels.
pub struct Grid {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// h * w * c values.
    pub data: Vec<f32>,
}

/// Starts of the tiles that cover `length` cells: evenly stepped, the last one flush with the end.
fn starts(length: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let step = tile - overlap;
    let count = (length - tile).div_ceil(step) + 1;
    (0..count).map(|i| (i * step).min(length - tile)).collect()
}

/// Weight of position `i` of a tile of `len` that overlaps its neighbours by `ramp`: a linear rise and fall, never 0.
fn feather(i: usize, len: usize, ramp: usize, first: bool, last: bool) -> f32 {
    let up = if first { 1.0 } else { (i as f32 + 1.0) / (ramp as f32 + 1.0) };
    let down = if last { 1.0 } else { (len - i) as f32 / (ramp as f32 + 1.0) };
    up.min(down).min(1.0)
}

impl Grid {
    fn crop(&self, top: usize, left: usize, h: usize, w: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(h * w * self.c);
        for y in top..top + h {
            let start = (y * self.w + left) * self.c;
            out.extend_from_slice(&self.data[start..start + w * self.c]);
        }
        out
    }
}

/// Runs `work` over tiles of `input` and blends the results; sizes scale by `up / down`.
async fn tiled<F>(
    input: &Grid,
    tile: usize,
    overlap: usize,
    scale: (usize, usize),
    out_c: usize,
    mut work: F,
) -> Result<Grid, EngineError>
where
    F: AsyncFnMut(Vec<f32>, usize, usize) -> Result<Vec<f32>, EngineError>,
{
    let (up, down) = scale;
    let (h, w) = (input.h * up / down, input.w * up / down);
    let mut sum = vec![0f32; h * w * out_c];
    let mut weight = vec![0f32; h * w];
    let (rows, columns) = (starts(input.h, tile, overlap), starts(input.w, tile, overlap));
    let (th, tw) = (tile.min(input.h), tile.min(input.w));
    let ramp = overlap * up / down;
    for (i, &top) in rows.iter().enumerate() {
        for (j, &left) in columns.iter().enumerate() {
            let part = work(input.crop(top, left, th, tw), th, tw).await?;
            let (oh, ow) = (th * up / down, tw * up / down);
            for y in 0..oh {
                let fy = feather(y, oh, ramp, i == 0, i + 1 == rows.len());
                for x in 0..ow {
                    let f = fy * feather(x, ow, ramp, j == 0, j + 1 == columns.len());
                    let at = (top * up / down + y) * w + left * up / down + x;
                    weight[at] += f;
                    for c in 0..out_c {
                        sum[at * out_c + c] += f * part[(y * ow + x) * out_c + c];
                    }
                }
            }
        }
    }
    for (at, f) in weight.iter().enumerate() {
        for v in &mut sum[at * out_c..(at + 1) * out_c] {
            *v /= f;
        }
    }
    Ok(Grid { h, w, c: out_c, data: sum })
}

/// Decodes one sample's latents (sampler's scale) to a picture in [-1, 1]. `kept`: the pass of the picture before. `free`: bytes for
/// intermediate results, where that is known.
pub(crate) async fn decode(
    gpu: &Arc<Gpu>,
    vae: &Vae,
    kept: &Pass,
    latents: &Grid,
    free: Option<u64>,
    control: &mut Control,
) -> Result<Grid, EngineError> {
    let config = vae.config();
    let (scale, shift) = (config.scaling_factor as f32, config.shift_factor as f32);
    let data = latents.data.iter().map(|v| v / scale + shift).collect();
    let input = Grid { data, ..*latents };
    let record = |size| kept.over(size, || vae.record_decode(gpu, size));
    let cut = fit(gpu, vae, (latents.h, latents.w), free, record).await;
    let Cut { pass, tile, overlap } = cut.inspect_err(|_| kept.forget())?;
    let total = starts(input.h, tile, overlap).len() * starts(input.w, tile, overlap).len();
    let mut done = 0;
    tiled(&input, tile, overlap, (vae.factor(), 1), config.out_channels, async |part: Vec<f32>, _, _| {
        control.report(Progress::Decode { done, total })?;
        pass.input.write(gpu, &part);
        pass.program.submit();
        done += 1;
        Ok(pass.output.read(gpu).await?)
    })
    .await
}

/// Encodes a picture in [-1, 1] to the mean of its latent distribution, at the sampler's scale. `free`: as for [`decode`].
pub(crate) async fn encode(
    gpu: &Arc<Gpu>,
    vae: &Vae,
    picture: &Grid,
    free: Option<u64>,
    control: &mut Control,
) -> Result<Grid, EngineError> {
    let config = vae.config();
    let factor = vae.factor();
    let record = |size: Size| vae.record_encode(gpu, Size { n: 1, h: size.h * factor, w: size.w * factor });
    let cells = (picture.h / factor, picture.w / factor);
    let Cut { pass, tile, overlap } = fit(gpu, vae, cells, free, record).await?;
    let latent = config.latent_channels;
    let (tile, overlap) = (tile * factor, overlap * factor);
    let mut out = tiled(picture, tile, overlap, (1, factor), latent, async |part: Vec<f32>, _, _| {
        control.check()?;
        pass.input.write(gpu, &part);
        pass.program.submit();
        let moments = pass.output.read(gpu).await?;
        let width = pass.output.cols;
        Ok(moments.chunks(width).flat_map(|m| m[..latent].to_vec()).collect())
    })
    .await?;
    let (scale, shift) = (config.scaling_factor as f32, config.shift_factor as f32);
    out.data.iter_mut().for_each(|v| *v = (*v - shift) * scale);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_and_blend_to_one() {
        for (h, w) in [(64, 64), (65, 130), (100, 97), (200, 64)] {
            let data: Vec<f32> = (0..h * w).map(|i| (i % 251) as f32).collect();
            let input = Grid { h, w, c: 1, data: data.clone() };
            let out =
                pollster::block_on(tiled(&input, 64, 16, (1, 1), 1, async |part, _, _| Ok(part))).expect("identity");
            // Blending the same value with itself gives it back up to rounding.
            assert!(out.data.iter().zip(&data).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0)), "{h}x{w}");
        }
    }
}
