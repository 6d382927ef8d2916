//! Methods whose result is a linear combination with factors that follow from inner products alone: one pass for the products, one lane for
//! the factors (`shaders/mix/shared/spherical.wgsl`), one pass for the combination.

use admix_tensor::{Launch, Recorder};

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{HostInputs, Inputs};
use crate::sums::{Vectors, gram, gram_reference};

/// How factors are found.
pub(crate) struct Spherical<'a> {
    /// Shader with `solve`.
    pub shader: &'static str,
    /// What the inner products are of.
    pub of: Vectors,
    /// Knobs of the shader.
    pub knobs: [f64; 4],
    /// Weights of the vectors.
    pub weights: &'a [f64],
}

impl Spherical<'_> {
    /// Records everything for one tensor.
    pub fn record(&self, rec: &mut Recorder, inputs: &Inputs<'_>, out: &Flat) -> Result<(), MixError> {
        let changes = self.of == Vectors::Changes;
        let origin = inputs.origin.filter(|_| changes);
        let what = format!("gram {:?}", self.of);
        let products = inputs.known(rec, &what, |rec| gram(rec, inputs.base, origin, inputs.models, self.of))?;
        let vectors = inputs.models.len() + usize::from(!changes);
        let factors = rec.tensor(1, vectors + 2)?;
        let mut params: Vec<u32> = self.knobs.iter().map(|k| bits(*k)).collect();
        params.extend(self.weights.iter().map(|w| bits(*w)));
        params.resize(12, 0);
        rec.launch(Launch {
            shader: self.shader,
            defines: &[("N", vectors as u32), ("CHANGES", changes.into()), ("ORIGIN", origin.is_some().into())],
            params: &params,
            reads: &[&products],
            writes: &[&factors],
            groups: [1, 1, 1],
        })?;
        // Without an origin of its own the base is one: its factor is in the first place then.
        let models: Vec<&Flat> = inputs.models.iter().copied().chain(origin).collect();
        let extra = [&factors];
        let mut pass = Pass::new("mix/linear", inputs.base, &models);
        pass.defines.push(("COEFFICIENTS", 1));
        pass.extra = &extra;
        pass.write(rec, out)
    }
}

/// CPU twin: `solve` gets the inner products and gives the factors of the vectors.
pub(crate) fn reference(of: Vectors, inputs: &HostInputs<'_>, solve: impl FnOnce(&[Vec<f64>]) -> Vec<f64>) -> Vec<f32> {
    let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let vectors: Vec<Vec<f64>> = match of {
        Vectors::Whole => std::iter::once(&inputs.base).chain(inputs.models).map(|v| wide(v)).collect(),
        Vectors::Changes => {
            let change = |m: &[f32]| m.iter().zip(inputs.origin).map(|(m, o)| f64::from(m - o)).collect();
            inputs.models.iter().map(|m| change(m)).collect()
        }
    };
    let factors = solve(&gram_reference(&vectors));
    let start = if of == Vectors::Changes { wide(inputs.base) } else { vec![0.0; inputs.base.len()] };
    let at = |i: usize| start[i] + factors.iter().zip(&vectors).map(|(f, v)| f * v[i]).sum::<f64>();
    (0..inputs.base.len()).map(|i| at(i) as f32).collect()
}

/// sin((1 - t) angle) / sin(angle) and sin(t angle) / sin(angle).
pub(crate) fn arc(angle: f64, t: f64) -> Vec<f64> {
    vec![((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}
