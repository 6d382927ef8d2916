//! HRA: a chain of Householder reflections of the inputs, W' = W H_1 ... H_r, H_i = I - 2 u_i u_i^T (Yuan et al., arXiv 2405.17484), as
//! peft stores it (`hra_u` [in * taps, r]). With `apply_GS` the u_i are made orthogonal first.
//!
//! The product is I - U T U^T with a small upper triangular T (the compact WY form of Schreiber and Van Loan, 1989), so that the weight
//! passes two narrow matrices instead of a square one.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Axis, Change, Changes, Extent, Through};

pub(super) struct Hra;

impl Family for Hra {
    fn id(&self) -> &'static str {
        "hra"
    }

    fn label(&self) -> &'static str {
        "HRA"
    }

    fn citation(&self) -> &'static str {
        "Yuan et al., Bridging the Gap between Low-rank and Orthogonal Adaptation, arXiv 2405.17484"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".hra_u", "hra_u")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("hra_u")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let shape = group.need("hra_u")?;
        match *shape {
            [n, rank] if n > 0 && rank > 0 => Ok(Built::new(Fits::Columns(n), Some(rank), 1.0)),
            _ => Err(format!("its reflections have shape {shape:?}; expected [in, rank]")),
        }
    }

    fn changes(&self, values: &Values, module: &Module, extent: Extent) -> Result<Changes, String> {
        let u = values.need("hra_u")?;
        let (n, rank) = (u.shape[0], u.shape[1]);
        if n != extent.width() {
            return Err(format!("its reflections span {n} inputs, the weight has {}", extent.width()));
        }
        let mut columns: Vec<Vec<f64>> =
            (0..rank).map(|r| (0..n).map(|i| f64::from(u.data[i * rank + r])).collect()).collect();
        let orthogonal = module.settings.flag("apply_GS", false);
        for r in 0..rank {
            let (before, rest) = columns.split_at_mut(r);
            let Some(own) = rest.first_mut() else { continue };
            let stored = dot(own, own).sqrt();
            for other in before.iter().filter(|_| orthogonal) {
                let along = dot(other, own);
                own.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
            }
            let length = dot(own, own).sqrt();
            // What is left of f32 numbers below a millionth of them is rounding.
            if length <= 1e-6 * stored || !length.is_finite() {
                return Err(format!("reflection {r} has no direction of its own"));
            }
            own.iter_mut().for_each(|v| *v /= length);
        }
        // T' = [[T, -2 T U^T u], [0, 2]].
        let mut t = vec![0f64; rank * rank];
        for r in 0..rank {
            let along: Vec<f64> = (0..r).map(|k| dot(&columns[k], &columns[r])).collect();
            for i in 0..r {
                t[i * rank + r] = -2.0 * (i..r).map(|k| t[i * rank + k] * along[k]).sum::<f64>();
            }
            t[r * rank + r] = 2.0;
        }
        let mut back = vec![0f32; rank * n];
        for i in 0..rank {
            for j in 0..n {
                back[i * n + j] = -(i..rank).map(|k| t[i * rank + k] * columns[k][j]).sum::<f64>() as f32;
            }
        }
        let into = (0..n).flat_map(|i| columns.iter().map(move |c| c[i] as f32)).collect();
        let through = Through { axis: Axis::Width, rank, into, back, scale: 1.0, plus: None };
        Ok(Changes { weight: Some(Change::Through(through)), bias: None })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
