//! Arcee Fusion: the model's elements whose change stands out, the base's elsewhere (`shaders/mix/softmax_kl.wgsl`, `arcee_fusion.wgsl`).

use admix_tensor::{Launch, Recorder};

use super::lines::{by_last, plain, row_windows};
use crate::MixError;
use crate::flat::{Flat, Kind, Pass};
use crate::method::{About, HostInputs, Inputs, Method, Settings};
use crate::select::{Selection, Zeros, select};

/// Arcee Fusion, mergekit's; its quartiles are exact where mergekit draws a sample of a million elements.
pub struct ArceeFusion;

/// Ranks, from 1, of the quartiles among `len` rising values.
fn quartiles(len: usize) -> [u32; 3] {
    [1, 2, 3].map(|q| (q * (len.max(1) - 1) / 4) as u32 + 1)
}

static ABOUT: About = About::new(
    "arcee_fusion",
    "Arcee Fusion",
    "Arcee AI 2025, mergekit 0.1.5 `arcee_fusion`, with exact quartiles of large tensors",
)
.models(1, 1)
.without_weights();

impl Method for ArceeFusion {
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
        let (rows, last) = by_last(settings.shape);
        let (model, base) = (plain(rec, inputs.models[0])?, plain(rec, inputs.base)?);
        let divergence = rec.tensor(1, rows.max(1))?;
        for w in row_windows(rec.gpu(), rows, last) {
            let groups = (w.rows as u32).div_ceil(64);
            let across = groups.clamp(1, 32_768);
            rec.launch(Launch {
                shader: "mix/softmax_kl",
                defines: &[],
                params: &[w.rows as u32, last as u32, w.shift as u32, w.first as u32, across, 0, 0, 0],
                reads: &[&w.of(&model), &w.of(&base)],
                writes: &[&divergence],
                groups: [across, groups.div_ceil(across), 1],
            })?;
        }
        let importance = Flat::temporary(rec, inputs.base.len, Kind::F32)?;
        let extra = [&divergence];
        let mut pass = Pass::new("mix/importance", inputs.base, inputs.models);
        pass.knobs[0] = last as u32;
        pass.extra = &extra;
        pass.write(rec, &importance)?;
        // Selections rank the base of their pass where the model they name does not exist.
        let mut values = Pass::new("", &importance, &[]);
        values.defines.push(("VARIANCE", 0));
        let wanted = quartiles(importance.len).map(|rank| Selection { model: 15, rank, descending: false });
        let state = select(rec, &values, &wanted, Zeros::Free)?;
        let models = [inputs.models[0], &importance];
        let extra = [&state];
        let mut pass = Pass::new("mix/arcee_fusion", inputs.base, &models);
        pass.extra = &extra;
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (_, last) = by_last(settings.shape);
        let (model, base) = (inputs.models[0], inputs.base);
        let softmax = |row: &[f32]| -> Vec<f64> {
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let powers: Vec<f64> = row.iter().map(|v| f64::from(v - top).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|p| p / sum + 1e-8).collect()
        };
        let mut importance = Vec::with_capacity(base.len());
        for (m, b) in model.chunks(last).zip(base.chunks(last)) {
            let pairs = softmax(m).into_iter().zip(softmax(b));
            let kl = pairs.map(|(u, v)| u * (u / v).ln()).sum::<f64>().max(0.0) as f32;
            importance.extend(m.iter().zip(b).map(|(m, b)| (m - b).abs() * kl));
        }
        let mut order = importance.clone();
        order.sort_by(f32::total_cmp);
        let [q1, median, q3] = quartiles(base.len()).map(|rank| order[rank as usize - 1]);
        let threshold = median + 1.5 * (q3 - q1);
        (0..base.len()).map(|i| if importance[i] >= threshold { model[i] } else { base[i] }).collect()
    }
}
