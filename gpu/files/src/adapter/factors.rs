//! The numbers of a low-rank module.

use super::{Adapter, Delta, Module};
use crate::error::{Error, Result};

/// Two matrices whose scaled product is the change of a weight, seen as the matrix [out, in * kh * kw].
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Rows of the weight.
    pub out: usize,
    /// Columns of the weight, kernel included.
    pub inp: usize,
    /// Rank.
    pub rank: usize,
    /// [out, rank].
    pub up: Vec<f32>,
    /// [rank, inp].
    pub down: Vec<f32>,
    /// Factor of the product.
    pub scale: f64,
}

impl Factors {
    /// `scale * up @ down`, [out, inp], summed in f64: the reference for what the device computes.
    pub fn delta(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.out * self.inp);
        for row in self.up.chunks(self.rank) {
            let mut sums = vec![0f64; self.inp];
            for (u, down) in row.iter().zip(self.down.chunks(self.inp)) {
                for (sum, d) in sums.iter_mut().zip(down) {
                    *sum += f64::from(*u) * f64::from(*d);
                }
            }
            out.extend(sums.iter().map(|s| (s * self.scale) as f32));
        }
        out
    }
}

pub(super) async fn read(adapter: &Adapter, module: &Module) -> Result<Factors> {
    let Delta::LowRank { up, down, mid } = &module.delta else {
        return Err(Error::NotA {
            file: adapter.name.clone(),
            why: format!("module `{}` is of type {}, not a low-rank one", module.name, module.family),
        });
    };
    let values_up = adapter.read_f32(up).await?;
    let values_down = adapter.read_f32(down).await?;
    for (slot, values) in [(up, &values_up), (down, &values_down)] {
        crate::checkpoint::first_non_finite(&adapter.name, &slot.key, values)?;
    }
    let (out, rank) = (up.info.shape[0], up.info.shape[1]);
    let inp = down.info.shape[1..].iter().product();
    let Some(mid) = mid else {
        return Ok(Factors { out, inp, rank, up: values_up, down: values_down, scale: module.scale });
    };
    let values_mid = adapter.read_f32(mid).await?;
    crate::checkpoint::first_non_finite(&adapter.name, &mid.key, &values_mid)?;
    let kernel: usize = mid.info.shape[2..].iter().product();
    let down = fold(&values_mid, &values_down, rank, down.info.shape[0], inp, kernel);
    Ok(Factors { out, inp: inp * kernel, rank, up: values_up, down, scale: module.scale })
}

/// Tucker's middle and `down` as one matrix: [m, i * k] = sum over n of mid[m, n, k] down[n, i].
fn fold(mid: &[f32], down: &[f32], m: usize, n: usize, i: usize, k: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * i * k);
    for a in 0..m {
        for b in 0..i {
            for c in 0..k {
                let sum: f64 = (0..n).map(|j| f64::from(mid[(a * n + j) * k + c]) * f64::from(down[j * i + b])).sum();
                out.push(sum as f32);
            }
        }
    }
    out
}
