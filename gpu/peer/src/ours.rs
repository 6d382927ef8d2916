//! The work on Admix's kernels. They read rows with channels last, so the field's layout is turned on the host, before and after.

use std::sync::Arc;

use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::{Epilogue, Pack, Picture, Source, Weight};
use admix_tensor::{Gpu, Program, Recorder, Tensor};

use crate::PeerError;
use crate::work::Work;

/// A recorded program with its result.
pub struct Prepared {
    gpu: Arc<Gpu>,
    program: Arc<Program>,
    result: Tensor,
    /// The result is [outer, rows, columns] and is wanted as [outer, columns, rows].
    outer: usize,
    turned: bool,
    work: Work,
}

impl Prepared {
    pub fn new(gpu: &Arc<Gpu>, work: Work, inputs: &[Vec<f32>]) -> Result<Prepared, PeerError> {
        let mut rec = Recorder::new(gpu);
        let (result, outer, turned) = match work {
            Work::Linear { m, k, n } => {
                let x = Tensor::upload(gpu, "x", &inputs[0], m, k)?;
                let w = weight(gpu, &inputs[1], Pack::linear(n, k))?;
                (rec.linear(&x, &w, Epilogue::default())?, 1, false)
            }
            Work::Conv { n, edge, c, o } => {
                let size = Picture { n, h: edge, w: edge };
                let x = Tensor::upload(gpu, "x", &padded(&inputs[0], size, c), size.padded_pixels(), c)?;
                let w = weight(gpu, &inputs[1], Pack { out: o, inp: c, kernel: 3, glu: false })?;
                (rec.conv3x3(&x, size, &w, 1, Epilogue::default())?.0, n, true)
            }
            Work::Attention { n, heads, tokens, d } => {
                // [n, heads, tokens, d] -> [n tokens, heads d]
                let upload = |data: &[f32]| {
                    let rows = swapped(data, n, heads, tokens, d);
                    Tensor::upload(gpu, "heads", &rows, n * tokens, heads * d)
                };
                let (q, k, v) = (upload(&inputs[0])?, upload(&inputs[1])?, upload(&inputs[2])?);
                let at = |tensor| Operand { tensor, at: 0 };
                let sizes = Heads { n, heads, d, tq: tokens, tk: tokens, causal: false };
                (rec.attention(at(&q), at(&k), at(&v), sizes)?, n, false)
            }
        };
        Ok(Prepared { gpu: gpu.clone(), program: rec.finish(), result, outer, turned, work })
    }

    /// One run, waited for.
    pub fn run(&self) -> Result<(), PeerError> {
        self.program.submit();
        Ok(pollster::block_on(self.gpu.finished())?)
    }

    /// Runs and reads the result in the field's layout.
    pub fn result(&self) -> Result<Vec<f32>, PeerError> {
        self.run()?;
        let rows = pollster::block_on(self.result.read(&self.gpu))?;
        let columns = self.result.cols;
        Ok(match self.work {
            Work::Attention { n, heads, tokens, d } => swapped(&rows, n, tokens, heads, d),
            _ if self.turned => swapped(&rows, self.outer, rows.len() / columns / self.outer, columns, 1),
            _ => rows,
        })
    }
}

fn weight(gpu: &Arc<Gpu>, data: &[f32], pack: Pack) -> Result<Weight, PeerError> {
    let weight = Weight::empty(gpu, "weight", &[pack], false)?;
    let mut rec = Recorder::new(gpu);
    rec.pack(&Source::f32(gpu, "weight", data)?, pack, &weight, 0)?;
    rec.finish().submit();
    Ok(weight)
}

/// [a, b, c, d] -> [a, c, b, d].
fn swapped(data: &[f32], a: usize, b: usize, c: usize, d: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for i in 0..a {
        for k in 0..c {
            for j in 0..b {
                let at = ((i * b + j) * c + k) * d;
                out.extend_from_slice(&data[at..at + d]);
            }
        }
    }
    out
}

/// [n, c, h, w] -> zero-padded rows [n (h+2) (w+2), c].
fn padded(data: &[f32], size: Picture, c: usize) -> Vec<f32> {
    let mut out = vec![0.0; size.padded_pixels() * c];
    for n in 0..size.n {
        for y in 0..size.h {
            for x in 0..size.w {
                let row = (n * (size.h + 2) + y + 1) * (size.w + 2) + x + 1;
                for channel in 0..c {
                    out[row * c + channel] = data[((n * c + channel) * size.h + y) * size.w + x];
                }
            }
        }
    }
    out
}
