//! What two models' changes have in common, or what they have not, added to the base (`shaders/mix/extract.wgsl`).

use admix_tensor::Recorder;

use super::lines::{Along, by_last, change, line_products, line_products_reference};
use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, HostInputs, Inputs, Knob, Method, Settings};

/// B + lerp(a, b, alpha) lerp(d, 1 - d, beta), d = ((cos + 1) / 2)^gamma by rows of the last dimension.
pub struct Extract;

static KNOBS: &[Knob] = &[
    Knob::number(
        "alpha",
        "Alpha",
        0.0,
        1.0,
        0.5,
        "Between the two models: 0 takes the first one's change, 1 the second's.",
    ),
    Knob::number("beta", "Beta", 0.0, 1.0, 0.0, "0 takes what the two have in common, 1 what they have not."),
    Knob::number("gamma", "Gamma", 0.0, 10.0, 1.0, "How sharply common and different are told apart."),
];

static ABOUT: About = About::new(
    "extract",
    "Extract",
    "SuperMerger `extract`, https://github.com/hako-mikan/sd-webui-supermerger/blob/main/calcmode_en.md",
)
.knobs(KNOBS)
.models(2, 2)
.without_weights();

impl Method for Extract {
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
        let first = change(rec, inputs.models[0], inputs.base)?;
        let second = change(rec, inputs.models[1], inputs.base)?;
        let products = line_products(rec, (&first, &second), (rows, last), Along::Rows)?;
        let knob = |name| bits(settings.knob(KNOBS, name));
        let extra = [&products];
        let mut pass = Pass::new("mix/extract", inputs.base, inputs.models);
        pass.knobs = [knob("alpha"), knob("beta"), knob("gamma"), last as u32];
        pass.extra = &extra;
        pass.write(rec, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (rows, last) = by_last(settings.shape);
        let change = |m: &[f32]| m.iter().zip(inputs.base).map(|(m, b)| m - b).collect::<Vec<f32>>();
        let (first, second) = (change(inputs.models[0]), change(inputs.models[1]));
        let products = line_products_reference((&first, &second), (rows, last), Along::Rows);
        let knob = |name| settings.knob(KNOBS, name);
        let lerp = |a: f64, b: f64, t: f64| a + t * (b - a);
        let at = |i: usize| {
            let [dot, aa, bb] = products[i / last];
            let cos = (dot / (aa.sqrt().max(1e-8) * bb.sqrt().max(1e-8))).clamp(-1.0, 1.0);
            let d = (0.5 * (cos + 1.0)).powf(knob("gamma"));
            let change = lerp(first[i].into(), second[i].into(), knob("alpha"));
            (f64::from(inputs.base[i]) + change * lerp(d, 1.0 - d, knob("beta"))) as f32
        };
        (0..inputs.base.len()).map(at).collect()
    }
}
