//! Guidance on whole samples (`shaders/project.wgsl`): projections, the main direction of two vectors, shortening.

use super::combine::Term;
use crate::{Launch, Recorder, Tensor, TensorError};

/// What becomes of a, by its dot products with b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Projection {
    /// keep a + along (a . b / (b . b + eps)) b
    Parallel {
        /// Factor of a.
        keep: f32,
        /// Factor of its part along b.
        along: f32,
        /// Added to b . b.
        eps: f32,
    },
    /// b projected on the first right singular vector of the rows [a, b].
    Dominant,
    /// a, no longer than this.
    Shorten(f32),
}

impl Recorder {
    /// dst = projection of a and b over each of `n` samples. The terms' coefficients must be 1; dst is [n rows, c] and none of them.
    pub fn project(
        &mut self,
        a: Term<'_>,
        b: Term<'_>,
        n: usize,
        how: Projection,
        dst: &Tensor,
    ) -> Result<(), TensorError> {
        debug_assert!(a.coef == 1.0 && b.coef == 1.0);
        let per_sample = dst.rows / n * dst.stride;
        let (mode, keep, along, eps, radius) = match how {
            Projection::Parallel { keep, along, eps } => (0, keep, along, eps, 0.0),
            Projection::Dominant => (1, 0.0, 0.0, 0.0, 0.0),
            Projection::Shorten(radius) => (2, 0.0, 0.0, 0.0, radius),
        };
        let at = |t: Term<'_>| (t.row * t.tensor.stride) as u32;
        self.launch(Launch {
            shader: "project",
            defines: &[],
            params: &[
                per_sample as u32,
                at(a),
                at(b),
                mode,
                keep.to_bits(),
                along.to_bits(),
                eps.to_bits(),
                radius.to_bits(),
            ],
            reads: &[a.tensor, b.tensor],
            writes: &[dst],
            groups: [n as u32, 1, 1],
        })
    }
}

/// CPU twin for one sample.
pub fn project_reference(a: &[f32], b: &[f32], how: Projection) -> Vec<f32> {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let (aa, ab, bb) = (dot(a, a), dot(a, b), dot(b, b));
    let (e, f) = match how {
        Projection::Parallel { keep, along, eps } => (f64::from(keep), f64::from(along) * ab / (bb + f64::from(eps))),
        Projection::Shorten(radius) => ((f64::from(radius) / aa.sqrt()).min(1.0), 0.0),
        Projection::Dominant => {
            let top = 0.5 * (aa + bb) + (0.5 * (aa - bb)).hypot(ab);
            let (e, f) = if aa >= bb { (top - bb, ab) } else { (ab, top - aa) };
            let along = (e * ab + f * bb) / (top * (e * e + f * f));
            (along * e, along * f)
        }
    };
    a.iter().zip(b).map(|(a, b)| (e * f64::from(*a) + f * f64::from(*b)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn projections_match_their_twins() {
        for gpu in devices() {
            let (n, rows, c) = (2, 37, 3);
            let a = random(n * rows * c, 1);
            let b: Vec<f32> = random(n * rows * c, 2).iter().zip(&a).map(|(r, a)| 0.3 * r + a).collect();
            let (ta, tb) = (upload(&gpu, &a, c), upload(&gpu, &b, c));
            for how in [
                Projection::Parallel { keep: 1.0, along: -1.0, eps: 0.0 },
                Projection::Parallel { keep: 0.0, along: 1.0, eps: 1e-8 },
                Projection::Dominant,
                Projection::Shorten(2.0),
                Projection::Shorten(2000.0),
            ] {
                let mut rec = Recorder::new(&gpu);
                let y = Tensor::empty(&gpu, "y", n * rows, c).expect("small");
                rec.project(Term::new(&ta, 1.0), Term::new(&tb, 1.0), n, how, &y).expect("records");
                let found = run(&gpu, rec, &y);
                for (i, found) in found.chunks(rows * c).enumerate() {
                    let part = |x: &[f32]| x[i * rows * c..][..rows * c].to_vec();
                    let expected = project_reference(&part(&a), &part(&b), how);
                    // The orthogonal part is a fifth of a: cancellation costs that much of f32's digits.
                    assert!(distance(found, &expected) < 3e-6, "{how:?}");
                }
            }
        }
    }
}
