//! The shared end of the task-vector methods (`shaders/mix/consensus.wgsl`): B + lambda * merge of kept, weighted changes.
//!
//! mergekit's generalized task arithmetic: sparsify each change, optionally restore its L1 norm, weigh, vote on signs, normalise.

use admix_tensor::{Launch, Recorder, Tensor};

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{HostInputs, Inputs, Settings};
use crate::random;
use crate::select::{Selection, Zeros, select, select_reference};
use crate::sums;

/// Which elements of a change are kept.
pub(crate) enum Keep {
    /// Those that selection i takes.
    Selected(Vec<Selection>),
    /// Those that selection 2i takes and 2i + 1 does not.
    Window(Vec<Selection>),
    /// Each with its model's probability.
    Random(Vec<f64>),
}

/// How kept changes become one.
pub(crate) struct Consensus {
    /// What is kept.
    pub keep: Keep,
    /// Vote on signs.
    pub vote: bool,
    /// Divide by the weights that took part.
    pub normalize: bool,
    /// Restore each change's L1 norm after dropping elements.
    pub rescale: bool,
    /// Factor on the result.
    pub lambda: f64,
}

impl Consensus {
    /// Sum of weights, 1 where it is nearly 0: the divisor without a vote.
    fn divisor(weights: &[f64]) -> f64 {
        let sum: f64 = weights.iter().map(|w| f64::from(*w as f32)).sum();
        if sum.abs() < 1e-8 { 1.0 } else { sum }
    }

    /// Records everything for one tensor.
    pub fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        let mut pass = Pass::new("mix/consensus", inputs.base, inputs.models);
        pass.origin = inputs.origin;
        pass.knobs = [bits(self.lambda), bits(Self::divisor(&settings.weights)), 0, 0];
        for (i, words) in pass.model.iter_mut().enumerate() {
            words[0] = bits(settings.weights[i]);
            words[2] = random::fold(settings.seed);
            words[3] = random::stream(settings.name, i);
            if let Keep::Random(probabilities) = &self.keep {
                words[1] = bits(probabilities[i]);
            }
        }
        let uniforms: Vec<&Tensor> = match self.keep {
            Keep::Random(_) => inputs.uniforms.iter().collect(),
            _ => Vec::new(),
        };
        let (selections, window) = match &self.keep {
            Keep::Selected(list) => (list.as_slice(), false),
            Keep::Window(list) => (list.as_slice(), true),
            Keep::Random(_) => (&[][..], false),
        };
        let mut state = None;
        if !selections.is_empty() {
            let mut values = Pass::new("", inputs.base, inputs.models);
            values.origin = inputs.origin;
            values.defines.push(("VARIANCE", 0));
            state = Some(select(rec, &values, selections, Zeros::Free)?);
        }
        pass.defines.extend([
            ("STATE", state.is_some().into()),
            ("SELECTED", state.is_some().into()),
            ("WINDOW", window.into()),
            ("RANDOM", matches!(self.keep, Keep::Random(_)).into()),
            ("UNIFORMS", (!uniforms.is_empty()).into()),
        ]);
        let mut extra: Vec<&Tensor> = state.iter().collect();
        let mut scale = None;
        if self.rescale {
            let both: Vec<&Tensor> = state.iter().chain(uniforms.iter().copied()).collect();
            let sums_pass = Pass {
                shader: "mix/kept_sums",
                defines: pass.defines.clone(),
                extra: &both,
                model: pass.model.clone(),
                ..pass
            };
            let totals = sums::totals(rec, &sums_pass, 2 * inputs.models.len())?;
            let factors = rec.tensor(1, inputs.models.len())?;
            rec.launch(Launch {
                shader: "mix/kept_scale",
                defines: &[],
                params: &[inputs.models.len() as u32, 0, 0, 0],
                reads: &[&totals],
                writes: &[&factors],
                groups: [1, 1, 1],
            })?;
            scale = Some(factors);
        }
        extra.extend(scale.as_ref());
        extra.extend(&uniforms);
        pass.defines.extend([
            ("RESCALE", scale.is_some().into()),
            ("VOTE", self.vote.into()),
            ("NORMALIZE", self.normalize.into()),
        ]);
        let pass = Pass { extra: &extra, ..pass };
        pass.write(rec, out)
    }

    /// CPU twin.
    pub fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let count = inputs.base.len();
        let weights: Vec<f32> = settings.weights.iter().map(|w| *w as f32).collect();
        let mut changes = Vec::new();
        for (i, model) in inputs.models.iter().enumerate() {
            let mut change: Vec<f32> = model.iter().zip(inputs.origin).map(|(m, o)| m - o).collect();
            let kept: Vec<bool> = match &self.keep {
                Keep::Selected(list) => select_reference(&change, list[i]),
                Keep::Window(list) => {
                    let (outer, inner) =
                        (select_reference(&change, list[2 * i]), select_reference(&change, list[2 * i + 1]));
                    outer.iter().zip(&inner).map(|(o, n)| *o && !*n).collect()
                }
                Keep::Random(probability) => {
                    let (seed, stream) = (random::fold(settings.seed), random::stream(settings.name, i));
                    let number = |e: usize| match inputs.uniforms.get(i) {
                        Some(given) => given[e],
                        None => random::uniform(seed, stream, e as u32),
                    };
                    (0..count).map(|e| number(e) < probability[i] as f32).collect()
                }
            };
            let norm = |c: &[f32]| c.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            let before = norm(&change);
            change.iter_mut().zip(&kept).for_each(|(c, k)| *c = if *k { *c } else { 0.0 });
            let after = norm(&change);
            if self.rescale && before >= 1e-7 && after >= 1e-7 {
                change.iter_mut().for_each(|c| *c = (f64::from(*c) * (before / after)) as f32);
            }
            change.iter_mut().for_each(|c| *c *= weights[i]);
            changes.push(change);
        }
        let merged = |e: usize| -> f64 {
            let sum: f32 = changes.iter().map(|c| c[e]).sum();
            if !self.vote {
                let divisor = if self.normalize { Self::divisor(&settings.weights) } else { 1.0 };
                return changes.iter().map(|c| f64::from(c[e])).sum::<f64>() / divisor;
            }
            let agrees = |v: f32| if sum >= 0.0 { v > 0.0 } else { v < 0.0 };
            let (mut top, mut bottom) = (0f64, 0f64);
            for (change, weight) in changes.iter().zip(&weights) {
                if agrees(change[e]) {
                    top += f64::from(change[e]);
                    bottom += f64::from(*weight);
                }
            }
            if self.normalize && bottom != 0.0 { top / bottom } else { top }
        };
        (0..count).map(|e| (f64::from(inputs.base[e]) + self.lambda * merged(e)) as f32).collect()
    }
}

/// Elements that `density` of `len` keeps: mergekit's max(1, floor(density n)), 0 for density 0, all for 1 and above.
pub(crate) fn kept_count(density: f64, len: usize) -> usize {
    if density >= 1.0 {
        len
    } else if density <= 0.0 || len == 0 {
        0
    } else {
        ((density * len as f64) as usize).max(1)
    }
}
