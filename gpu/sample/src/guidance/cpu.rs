//! Carries a guide's operations out on the host, in f64: the twin of the engine's.

use std::collections::BTreeMap;

use super::{Guide, GuideOp, Linear, Value};

/// Values of one batch: samples x rows x channels, flat.
#[derive(Clone, Debug)]
pub struct Values {
    held: BTreeMap<Value, Vec<f64>>,
    samples: usize,
    channels: usize,
    len: usize,
}

/// Dot product.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn spread(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0)).sqrt()
}

/// torch.quantile: linear between order statistics.
pub fn quantile(x: &[f64], p: f64) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    crate::math::interp(&sorted, p * (x.len() - 1) as f64)
}

impl Values {
    /// No values yet.
    pub fn new(samples: usize, channels: usize, len: usize) -> Values {
        Values { held: BTreeMap::new(), samples, channels, len }
    }

    /// Sets one.
    pub fn set(&mut self, value: Value, data: Vec<f64>) {
        self.held.insert(value, data);
    }

    /// One of them; kept values begin as zero.
    pub fn get(&self, value: Value) -> Vec<f64> {
        self.held.get(&value).cloned().unwrap_or_else(|| vec![0.0; self.len])
    }

    /// A sum.
    pub fn sum(&self, terms: &Linear) -> Vec<f64> {
        let mut out = vec![0.0; self.len];
        for (value, c) in terms {
            out.iter_mut().zip(self.get(*value)).for_each(|(o, v)| *o += c * v);
        }
        out
    }

    fn per_sample(&mut self, dst: Value, a: Value, b: Value, f: impl Fn(&[f64], &[f64]) -> Vec<f64>) {
        let (a, b) = (self.get(a), self.get(b));
        let each = self.len / self.samples;
        let out = a.chunks(each).zip(b.chunks(each)).flat_map(|(a, b)| f(a, b)).collect();
        self.set(dst, out);
    }

    /// Carries the operations out and gives the guided and the unconditional clean estimate.
    pub fn run(&mut self, guide: &Guide) -> (Vec<f64>, Vec<f64>) {
        let channels = self.channels;
        for op in &guide.ops {
            match op {
                GuideOp::Combine { dst, terms } => {
                    let sum = self.sum(terms);
                    self.set(*dst, sum);
                }
                GuideOp::Project { dst, a, b, keep, along, eps } => self.per_sample(*dst, *a, *b, |a, b| {
                    let part = along * dot(a, b) / (dot(b, b) + eps);
                    a.iter().zip(b).map(|(a, b)| keep * a + part * b).collect()
                }),
                GuideOp::Dominant { dst, a, b } => self.per_sample(*dst, *a, *b, |a, b| {
                    let (e, f) = dominant(dot(a, a), dot(a, b), dot(b, b));
                    a.iter().zip(b).map(|(a, b)| e * a + f * b).collect()
                }),
                GuideOp::Shorten { x, radius } => self.per_sample(*x, *x, *x, |x, _| {
                    let factor = (radius / dot(x, x).sqrt()).min(1.0);
                    x.iter().map(|v| v * factor).collect()
                }),
                GuideOp::Rescale { x, like, phi } => self.per_sample(*x, *x, *like, |x, like| {
                    let factor = phi * spread(like) / spread(x) + 1.0 - phi;
                    x.iter().map(|v| v * factor).collect()
                }),
                GuideOp::Threshold { x, like, percentile } => {
                    self.per_sample(*x, *x, *like, |x, like| threshold(x, like, channels, *percentile));
                }
            }
        }
        (self.sum(&guide.clean), self.sum(&guide.uncond))
    }
}

/// Factors of a and b that make the projection of b on the first right singular vector of [a, b], from their dot products.
pub fn dominant(aa: f64, ab: f64, bb: f64) -> (f64, f64) {
    // The largest eigenvalue of [[aa, ab], [ab, bb]] and its eigenvector.
    let half = 0.5 * (aa - bb);
    let top = 0.5 * (aa + bb) + half.hypot(ab);
    let (e, f) = if aa >= bb { (top - bb, ab) } else { (ab, top - aa) };
    let length = e * e + f * f;
    if length == 0.0 || top <= 0.0 {
        return (0.0, 0.0);
    }
    // The vector is (e a + f b) / sqrt(top |e, f|^2).
    let along = (e * ab + f * bb) / (top * length);
    (along * e, along * f)
}

fn threshold(x: &[f64], like: &[f64], channels: usize, percentile: Option<f64>) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for c in 0..channels {
        let of = |x: &[f64]| x.iter().skip(c).step_by(channels).copied().collect::<Vec<f64>>();
        let centred = |x: Vec<f64>| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            (x.iter().map(|v| v - mean).collect::<Vec<f64>>(), mean)
        };
        let ((x, mean), (like, _)) = (centred(of(x)), centred(of(like)));
        let magnitudes = |x: &[f64]| x.iter().map(|v| v.abs()).collect::<Vec<f64>>();
        let result: Vec<f64> = match percentile {
            None => {
                let factor = spread(&like) / spread(&x);
                x.iter().map(|v| v * factor).collect()
            }
            Some(p) => {
                let low = magnitudes(&like).into_iter().fold(0.0, f64::max);
                let top = quantile(&magnitudes(&x), p).max(low);
                x.iter().map(|v| v.clamp(-top, top) / top * low).collect()
            }
        };
        for (i, v) in result.into_iter().enumerate() {
            out[i * channels + c] = v + mean;
        }
    }
    out
}
