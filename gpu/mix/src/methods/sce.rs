//! SCE: select the elements that differ most between the models, weigh models by their squares, erase minority signs (`shaders/mix/sce.wgsl`).

use admix_tensor::{Recorder, Tensor};

use crate::MixError;
use crate::flat::{Flat, MAX_MODELS, Pass, bits};
use crate::method::{About, Facts, HostInputs, Inputs, Knob, Method, Settings, Survey, SurveyPlan};
use crate::select::{Selection, Zeros, select, select_reference};
use crate::sums;

/// SCE, mergekit's.
pub struct Sce;

static KNOBS: &[Knob] = &[Knob::number(
    "select_topk",
    "Select",
    0.0,
    1.0,
    1.0,
    "Part of the elements that counts, those first in which the models differ most.",
)];

/// Elements to select, if not all.
fn selected(settings: &Settings<'_>) -> Option<usize> {
    let part = settings.knob(KNOBS, "select_topk");
    let differing = settings.fact(0).unwrap_or(settings.len() as f64);
    (part < 1.0).then_some((differing * part) as usize)
}

/// Variance over the models, in the order of the shader's sums.
fn variance(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let count = values.clone().count() as f32;
    let mean = values.clone().sum::<f32>() * (1.0 / count);
    values.map(|d| (d - mean) * (d - mean)).sum::<f32>() * (1.0 / count)
}

/// Counts the elements in which the models differ.
struct Differing(usize);

impl Survey for Differing {
    fn visit(&mut self, _pass: usize, _name: &str, _shape: &[usize], inputs: &HostInputs<'_>) {
        let change = |e: usize| inputs.models.iter().map(move |m| m[e] - inputs.origin[e]);
        self.0 += (0..inputs.base.len()).filter(|e| variance(change(*e)) != 0.0).count();
    }

    fn finish(self: Box<Self>) -> Facts {
        Facts { numbers: vec![self.0 as f64], ..Facts::default() }
    }
}

static ABOUT: About = About::new("sce", "SCE", "Wan et al. 2024, FuseChat, arXiv 2408.07990; mergekit 0.1.5 `sce`")
    .knobs(KNOBS)
    .models(1, MAX_MODELS - 2)
    .without_weights()
    .with_origin();

impl Method for Sce {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn survey(&self, settings: &Settings<'_>) -> Option<SurveyPlan> {
        // How many elements are selected depends on how many differ at all.
        let name = settings.name.to_string();
        let plan = || SurveyPlan { key: name.clone(), names: Some(vec![name.clone()]), survey: Box::new(Differing(0)) };
        (settings.knob(KNOBS, "select_topk") < 1.0).then(plan)
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        let mut pass = Pass::new("mix/sce", inputs.base, inputs.models);
        pass.origin = inputs.origin;
        pass.knobs[0] = bits(settings.len() as f64);
        pass.defines.push(("VARIANCE", 1));
        let mut state = None;
        if let Some(rank) = selected(settings) {
            let selection = Selection { model: 0, rank: rank as u32, descending: true };
            let what = format!("sce {selection:?}");
            state = Some(inputs.known(rec, &what, |rec| select(rec, &pass, &[selection], Zeros::Exact))?);
        }
        pass.defines.extend([("SELECTED", state.is_some().into()), ("RANDOM", 0), ("WINDOW", 0), ("UNIFORMS", 0)]);
        let extra: Vec<&Tensor> = state.iter().collect();
        let mut squares = Pass { extra: &extra, defines: pass.defines.clone(), model: pass.model.clone(), ..pass };
        squares.defines.push(("SUMS", 1));
        let squares = sums::totals(rec, &squares, inputs.models.len())?;
        let extra: Vec<&Tensor> = state.iter().chain([&squares]).collect();
        pass.defines.push(("SUMS", 0));
        Pass { extra: &extra, ..pass }.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let change = |m: &&[f32]| m.iter().zip(inputs.origin).map(|(m, o)| m - o).collect::<Vec<f32>>();
        let changes: Vec<Vec<f32>> = inputs.models.iter().map(change).collect();
        let len = inputs.base.len();
        let taken = match selected(settings) {
            Some(rank) => {
                let spread: Vec<f32> = (0..len).map(|e| variance(changes.iter().map(|c| c[e]))).collect();
                select_reference(&spread, Selection { model: 0, rank: rank as u32, descending: true })
            }
            None => vec![true; len],
        };
        let value = |c: &[f32], e: usize| if taken[e] { f64::from(c[e]) } else { 0.0 };
        let mean_square = |c: &Vec<f32>| (0..len).map(|e| value(c, e).powi(2)).sum::<f64>() / len.max(1) as f64;
        let squares: Vec<f64> = changes.iter().map(mean_square).collect();
        let all: f64 = squares.iter().sum();
        let weight = |i: usize| if all < 1e-6 { 1.0 / changes.len() as f64 } else { squares[i] / all };
        let merged = |e: usize| {
            let up = changes.iter().map(|c| value(c, e) as f32).sum::<f32>() >= 0.0;
            let (mut top, mut bottom) = (0.0, 0.0);
            for (i, change) in changes.iter().enumerate() {
                let d = value(change, e);
                if (up && d > 0.0) || (!up && d < 0.0) {
                    top += d * weight(i);
                    bottom += weight(i);
                }
            }
            top / bottom.max(1e-6)
        };
        (0..len).map(|e| (f64::from(inputs.base[e]) + merged(e)) as f32).collect()
    }
}
