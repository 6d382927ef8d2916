//! Linear combinations of latents (`shaders/combine.wgsl`): every solver step and classifier-free guidance are sums of these.

use super::grid64;
use crate::{Launch, Recorder, Tensor, TensorError};

/// One term: `coef` times the elements of `tensor` from row `row` on.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// Where to read.
    pub tensor: &'a Tensor,
    /// First row.
    pub row: usize,
    /// Factor.
    pub coef: f32,
}

impl<'a> Term<'a> {
    /// `coef` times the whole tensor.
    pub fn new(tensor: &'a Tensor, coef: f32) -> Term<'a> {
        Term { tensor, row: 0, coef }
    }
}

impl Recorder {
    /// `target[row..row + rows] = sum of terms`. `target` may be one of the terms' tensors only through a copy made here.
    pub fn combine(&mut self, terms: &[Term<'_>], target: &Tensor, row: usize, rows: usize) -> Result<(), TensorError> {
        // Bindings must not alias: sum into scratch when the target is also read.
        if terms.iter().any(|t| t.tensor.buffer() == target.buffer()) || terms.len() > 4 {
            let scratch = self.tensor(rows, target.cols)?;
            self.combine_into(&terms[..terms.len().min(4)], &scratch, 0, rows)?;
            for chunk in terms.get(4..).unwrap_or_default().chunks(3) {
                let next = self.tensor(rows, target.cols)?;
                let mut more = vec![Term::new(&scratch, 1.0)];
                more.extend_from_slice(chunk);
                self.combine_into(&more, &next, 0, rows)?;
                self.copy(&next, 0, &scratch, 0, next.bytes());
            }
            self.copy(&scratch, 0, target, (row * target.stride * 4) as u64, scratch.bytes());
            return Ok(());
        }
        self.combine_into(terms, target, row, rows)
    }

    fn combine_into(
        &mut self,
        terms: &[Term<'_>],
        target: &Tensor,
        row: usize,
        rows: usize,
    ) -> Result<(), TensorError> {
        let count = rows * target.stride / 4;
        let (groups, row_groups) = grid64(count);
        let term = |i: usize| terms.get(i).unwrap_or(&terms[0]);
        let coef = |i: usize| terms.get(i).map_or(0.0f32, |t| t.coef).to_bits();
        let at = |i: usize| (term(i).row * term(i).tensor.stride / 4) as u32;
        debug_assert!(terms.iter().all(|t| t.tensor.stride == target.stride));
        self.launch(Launch {
            shader: "combine",
            defines: &[],
            params: &[
                coef(0),
                coef(1),
                coef(2),
                coef(3),
                at(0),
                at(1),
                at(2),
                at(3),
                count as u32,
                (row * target.stride / 4) as u32,
                terms.len() as u32,
                row_groups,
            ],
            reads: &[term(0).tensor, term(1).tensor, term(2).tensor, term(3).tensor],
            writes: &[target],
            groups,
        })
    }
}

/// CPU twin.
pub fn combine_reference(terms: &[(f32, &[f32])]) -> Vec<f32> {
    (0..terms[0].1.len())
        .map(|i| terms.iter().map(|(c, x)| f64::from(*c) * f64::from(x[i])).sum::<f64>() as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::*;

    #[test]
    fn combine_matches_its_twin() {
        let gpu = &devices()[0];
        let data: Vec<Vec<f32>> = (0..6).map(|i| random(11 * 4, i)).collect();
        let tensors: Vec<Tensor> = data.iter().map(|d| upload(gpu, d, 4)).collect();
        for count in 1..=6 {
            let terms: Vec<Term<'_>> =
                tensors[..count].iter().enumerate().map(|(i, t)| Term::new(t, 0.5 + i as f32)).collect();
            let mut rec = Recorder::new(gpu);
            let y = Tensor::empty(gpu, "y", 11, 4).expect("small");
            rec.combine(&terms, &y, 0, 11).expect("records");
            let expected: Vec<(f32, &[f32])> =
                data[..count].iter().enumerate().map(|(i, d)| (0.5 + i as f32, &d[..])).collect();
            assert!(distance(&run(gpu, rec, &y), &combine_reference(&expected)) < 5e-7, "{count} terms");
        }
        // The target among the terms.
        let mut rec = Recorder::new(gpu);
        rec.combine(&[Term::new(&tensors[0], 2.0), Term::new(&tensors[1], -1.0)], &tensors[0], 0, 11).expect("records");
        let expected = combine_reference(&[(2.0, &data[0]), (-1.0, &data[1])]);
        assert!(distance(&run(gpu, rec, &tensors[0]), &expected) < 5e-7);
    }
}
