//! The shared end of the task-vector methods (`shaders/mix/consensus.wgsl`): B + lambda * merge of kept, weighted changes.
//!
//! mergekit's generalized task arithmetic: sparsify each change, optionally restore its L1 norm, weigh, vote on signs, normalise.
//! A method that differs from the others in these steps only is a [`TaskVectors`].

use admix_tensor::{Launch, Recorder, Tensor};

use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings, SurveyPlan};
use crate::random;
use crate::select::{Selection, Zeros, select, select_reference};
use crate::sums;

use super::ranks;

/// A task-vector method: what there is to know of it, and how its knobs become a [`Consensus`].
pub(crate) struct TaskVectors {
    about: About,
    /// The steps for one tensor.
    plan: fn(&Settings<'_>) -> Consensus,
    /// What has to be known of the whole model first.
    survey: fn(&Settings<'_>) -> Option<SurveyPlan>,
}

impl TaskVectors {
    /// A method that looks at one tensor at a time.
    pub const fn new(
        about: About,
        knobs: &'static [Knob],
        model_knobs: &'static [Knob],
        plan: fn(&Settings<'_>) -> Consensus,
    ) -> TaskVectors {
        let about = about.knobs(knobs).model_knobs(model_knobs).with_origin();
        TaskVectors { about, plan, survey: |_| None }
    }

    /// With a survey of the whole model.
    pub const fn with_survey(self, survey: fn(&Settings<'_>) -> Option<SurveyPlan>) -> TaskVectors {
        TaskVectors { survey, ..self }
    }
}

impl Method for TaskVectors {
    fn about(&self) -> &About {
        &self.about
    }

    fn survey(&self, settings: &Settings<'_>) -> Option<SurveyPlan> {
        (self.survey)(settings)
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        (self.plan)(settings).record(rec, inputs, settings, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        (self.plan)(settings).reference(inputs, settings)
    }
}

/// Which elements of a change are kept.
#[derive(Debug)]
pub(crate) enum Keep {
    /// Those that selection i takes.
    Selected(Vec<Selection>),
    /// Those that selection 2i takes and 2i + 1 does not.
    Window(Vec<Selection>),
    /// Each with its model's probability.
    Random(Vec<f64>),
    /// Each with a probability that rises with its rank in its row: density - epsilon to density + epsilon, a pair for each model.
    Ranked(Vec<(f64, f64)>),
    /// Those of at least this magnitude, a number for each model.
    Above(Vec<f32>),
}

/// How a sign is chosen for an element, and what the elements that have it become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    /// No vote: all changes count.
    None = 0,
    /// mergekit: the sign of the sum of the weighted changes, zero being plus; divided by the weights that agree.
    Weighted = 1,
    /// peft `total`: the sign of the sum of the changes before they are weighted; divided by how many agree.
    Total = 2,
    /// peft `frequency`: the sign that most changes have; divided by how many agree.
    Frequency = 3,
}

/// `knob` of every model's recipe.
pub(crate) fn each_model(settings: &Settings<'_>, table: &[Knob], knob: &str) -> Vec<f64> {
    (0..settings.weights.len()).map(|i| settings.model_knob(table, i, knob)).collect()
}

/// How kept changes become one.
pub(crate) struct Consensus {
    /// What is kept.
    pub keep: Keep,
    /// Vote on signs.
    pub vote: Vote,
    /// The sign where a vote ends at zero: plus unless set.
    pub tie: f32,
    /// Divide by what took part.
    pub normalize: bool,
    /// Restore each change's L1 norm after dropping elements.
    pub rescale: bool,
    /// Factor on the result.
    pub lambda: f64,
}

impl Consensus {
    /// What mergekit's methods have in common after their choice of elements: `normalize`, `rescale` and `lambda` of the stage, those of `table`.
    pub fn mergekits(keep: Keep, vote: Vote, table: &[Knob], settings: &Settings<'_>) -> Consensus {
        Consensus {
            keep,
            vote,
            tie: 1.0,
            normalize: settings.switch(table, "normalize"),
            rescale: settings.switch(table, "rescale"),
            lambda: settings.knob(table, "lambda"),
        }
    }

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
        pass.knobs = [bits(self.lambda), bits(Self::divisor(&settings.weights)), bits(self.tie.into()), 0];
        let masks = match &self.keep {
            Keep::Ranked(ranges) => Some(ranks::masks(rec, inputs, settings, ranges)?),
            _ => None,
        };
        for (i, words) in pass.model.iter_mut().enumerate() {
            words[0] = bits(settings.weights[i]);
            words[2] = random::fold(settings.seed);
            words[3] = random::stream(settings.name, i);
            if let Keep::Random(probabilities) = &self.keep {
                words[1] = bits(probabilities[i]);
            }
        }
        let random = matches!(self.keep, Keep::Random(_));
        let per_element: Vec<&Tensor> = match self.keep {
            Keep::Random(_) => inputs.uniforms.iter().collect(),
            _ => masks.iter().collect(),
        };
        let (selections, window) = match &self.keep {
            Keep::Selected(list) => (list.as_slice(), false),
            Keep::Window(list) => (list.as_slice(), true),
            _ => (&[][..], false),
        };
        let mut state = match &self.keep {
            Keep::Above(thresholds) => Some(thresholds_state(rec, thresholds)?),
            _ => None,
        };
        if !selections.is_empty() {
            let mut values = Pass::new("", inputs.base, inputs.models);
            values.origin = inputs.origin;
            values.defines.push(("VARIANCE", 0));
            let what = format!("select {selections:?}");
            state = Some(inputs.known(rec, &what, |rec| select(rec, &values, selections, Zeros::Free))?);
        }
        pass.defines.extend([
            ("STATE", state.is_some().into()),
            ("SELECTED", state.is_some().into()),
            ("WINDOW", window.into()),
            ("BEGIN", state.is_some().into()),
            ("CUTS", (state.is_some() && selections.iter().all(|s| s.descending)).into()),
            ("RANDOM", random.into()),
            ("UNIFORMS", (random && !per_element.is_empty()).into()),
            ("MASKED", masks.is_some().into()),
        ]);
        let mut extra: Vec<&Tensor> = state.iter().collect();
        let mut scale = None;
        if self.rescale {
            let sums_pass = Pass {
                shader: "mix/kept_sums",
                defines: pass.defines.clone(),
                extra: &extra,
                sliced: &per_element,
                model: pass.model.clone(),
                ..pass
            };
            let count = inputs.models.len();
            let what = format!("kept {:?} {}", self.keep, settings.seed);
            scale = Some(inputs.known(rec, &what, |rec| {
                let totals = sums::totals(rec, &sums_pass, 2 * count)?;
                let factors = rec.tensor(1, count)?;
                rec.launch(Launch {
                    shader: "mix/kept_scale",
                    defines: &[],
                    params: &[count as u32, 0, 0, 0],
                    reads: &[&totals],
                    writes: &[&factors],
                    groups: [1, 1, 1],
                })?;
                Ok(factors)
            })?);
        }
        extra.extend(scale.as_ref());
        pass.defines.extend([
            ("RESCALE", scale.is_some().into()),
            ("VOTE", self.vote as u32),
            ("PLUS", u32::from(self.tie == 1.0)),
            ("NORMALIZE", self.normalize.into()),
        ]);
        let pass = Pass { extra: &extra, sliced: &per_element, ..pass };
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
                    let number = host_uniforms(inputs, settings, i);
                    (0..count).map(|e| number(e) < probability[i] as f32).collect()
                }
                Keep::Ranked(ranges) => {
                    let number = host_uniforms(inputs, settings, i);
                    let probability = ranks::probabilities(&change, settings.shape, ranges[i]);
                    probability.iter().enumerate().map(|(e, p)| number(e) < *p).collect()
                }
                Keep::Above(thresholds) => change.iter().map(|c| c.abs() >= thresholds[i]).collect(),
            };
            let norm = |c: &[f32]| c.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            let before = norm(&change);
            change.iter_mut().zip(&kept).for_each(|(c, k)| *c = if *k { *c } else { 0.0 });
            let after = norm(&change);
            if self.rescale && before >= 1e-7 && after >= 1e-7 {
                change.iter_mut().for_each(|c| *c = (f64::from(*c) * (before / after)) as f32);
            }
            if matches!(self.vote, Vote::None | Vote::Weighted) {
                change.iter_mut().for_each(|c| *c *= weights[i]);
            }
            changes.push(change);
        }
        let merged = |e: usize| -> f64 {
            let sum: f32 = match self.vote {
                Vote::Frequency => changes.iter().filter(|c| c[e] != 0.0).map(|c| c[e].signum()).sum(),
                _ => changes.iter().map(|c| c[e]).sum(),
            };
            let sign = if sum == 0.0 { self.tie } else { sum };
            let agrees = |v: f32| if sign >= 0.0 { v > 0.0 } else { v < 0.0 };
            let (mut top, mut bottom) = (0f64, 0f64);
            for (change, weight) in changes.iter().zip(&weights) {
                match self.vote {
                    Vote::None => top += f64::from(change[e]),
                    _ if !agrees(change[e]) => {}
                    Vote::Weighted => {
                        top += f64::from(change[e]);
                        bottom += f64::from(*weight);
                    }
                    Vote::Total | Vote::Frequency => {
                        top += f64::from(change[e]) * f64::from(*weight);
                        bottom += 1.0;
                    }
                }
            }
            if self.vote == Vote::None {
                bottom = Self::divisor(&settings.weights);
            }
            if self.normalize && bottom != 0.0 { top / bottom } else { top }
        };
        (0..count).map(|e| (f64::from(inputs.base[e]) + self.lambda * merged(e)) as f32).collect()
    }
}

/// The uniform number of element e of model i on the host: the one given, else the generator's.
fn host_uniforms(inputs: &HostInputs<'_>, settings: &Settings<'_>, i: usize) -> impl Fn(usize) -> f32 {
    let (seed, stream) = (random::fold(settings.seed), random::stream(settings.name, i));
    let given = inputs.uniforms.get(i).copied();
    move |e| given.map_or_else(|| random::uniform(seed, stream, e as u32), |numbers| numbers[e])
}

/// A selection state that takes every element of at least a threshold (see [`select`]).
fn thresholds_state(rec: &Recorder, thresholds: &[f32]) -> Result<Tensor, MixError> {
    let words = thresholds.iter().flat_map(|t| [0, t.to_bits(), 0, 0, 1, u32::MAX, 1, 0]);
    let words: Vec<f32> = words.map(f32::from_bits).collect();
    Ok(Tensor::upload(rec.gpu(), "thresholds", &words, 1, words.len())?)
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
