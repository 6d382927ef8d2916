//! Differences added to the base: B + sum w (M - minus) (`shaders/mix/add_difference.wgsl`). Task arithmetic where `minus` is the base.

use admix_tensor::Recorder;

use crate::MixError;
use crate::flat::{Flat, Kind, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Method, Settings};

/// B + sum w (M - minus).
pub struct AddDifference;

/// What a model is compared with: `minus`, else the origin, else the base.
pub(crate) fn compared<'a>(inputs: &Inputs<'a>, i: usize) -> &'a Flat {
    inputs.minus.get(i).copied().flatten().or(inputs.origin).unwrap_or(inputs.base)
}

fn same(a: &Flat, b: &Flat) -> bool {
    a.data.buffer() == b.data.buffer() && a.data.offset == b.data.offset
}

/// Records a pass of models and what each is compared with (`shaders/mix/shared/compared.wgsl`) by `shader`, in several where the device binds
/// too few buffers: each adds to what the one before left.
pub(crate) fn differences(
    rec: &mut Recorder,
    shader: &'static str,
    inputs: &Inputs<'_>,
    weights: &[f64],
    out: &Flat,
) -> Result<(), MixError> {
    let room = crate::methods::room(rec.gpu(), 0);
    let mut sum: Option<Flat> = None;
    let mut first = 0;
    loop {
        let previous = sum.take();
        let base = previous.as_ref().unwrap_or(inputs.base);
        // The models of this pass, then whatever they are compared with, each once.
        let mut models: Vec<&Flat> = Vec::new();
        let mut others: Vec<&Flat> = Vec::new();
        let mut last = first;
        while let Some(model) = inputs.models.get(last) {
            let other = compared(inputs, last);
            let known = same(other, base) || others.iter().any(|o| same(o, other));
            if models.len() + others.len() + 1 + usize::from(!known) > room {
                break;
            }
            models.push(*model);
            if !known {
                others.push(other);
            }
            last += 1;
        }
        let differences = models.len();
        let mut minus = 0u32;
        for i in 0..differences {
            let other = compared(inputs, first + i);
            let code = match others.iter().position(|o| same(o, other)) {
                Some(at) => 2 + differences + at,
                None => 0,
            };
            minus |= (code as u32) << (4 * i);
        }
        models.extend(others);
        let mut pass = Pass::new(shader, base, &models);
        pass.defines.extend([("DIFFERENCES", differences as u32), ("MINUS", minus)]);
        for (words, weight) in pass.model.iter_mut().zip(&weights[first..last]) {
            words[0] = bits(*weight);
        }
        if last == inputs.models.len() {
            return pass.write(rec, out);
        }
        let next = Flat::temporary(rec, base.len, Kind::F32)?;
        pass.write(rec, &next)?;
        sum = Some(next);
        first = last;
    }
}

static ABOUT: About = About::new(
    "add_difference",
    "Add difference",
    "Ilharco et al. 2023, Editing Models with Task Arithmetic, arXiv 2212.04089; mergekit `task_arithmetic` with lambda 1",
)
.with_minus()
.with_origin();

impl Method for AddDifference {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        differences(rec, "mix/add_difference", inputs, &settings.weights, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let at = |i: usize| {
            let terms = inputs.models.iter().zip(inputs.minus).zip(&settings.weights);
            terms.map(|((m, c), w)| w * (f64::from(m[i]) - f64::from(c[i]))).sum::<f64>()
        };
        (0..inputs.base.len()).map(|i| (f64::from(inputs.base[i]) + at(i)) as f32).collect()
    }
}
