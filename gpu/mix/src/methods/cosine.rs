//! The two cosine methods' common part (`shaders/mix/cosine_share.wgsl`, `cosine_sum.wgsl`): cosines of columns along the first dimension,
//! averaged with that of the whole tensor and scaled by their range over the whole model.

use admix_tensor::{Launch, Recorder};

use super::lines::{Along, by_first, line_products, line_products_reference, plain};
use crate::MixError;
use crate::flat::{Flat, Pass, bits};
use crate::method::{About, Facts, HostInputs, Inputs, Method, Settings, Survey, SurveyPlan};

/// B k + M (1 - k), k = clip(scaled cosine - weight, 0, 1) of each column.
#[derive(Clone, Copy)]
pub(crate) struct Cosine {
    about: About,
    /// Columns are normalised before they are compared (cosineA).
    unit: bool,
}

/// The autoencoder is left alone, as SuperMerger does.
fn in_vae(name: &str) -> bool {
    name.starts_with("vae.")
}

impl Method for Cosine {
    fn about(&self) -> &About {
        &self.about
    }

    fn keeps_base(&self, settings: &Settings<'_>) -> bool {
        in_vae(settings.name)
    }

    fn survey(&self, _settings: &Settings<'_>) -> Option<SurveyPlan> {
        Some(self.range_survey())
    }

    fn record(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        self.record_columns(rec, inputs, settings, out)
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        self.reference_columns(inputs, settings)
    }
}

impl Cosine {
    /// A variant: what there is to know of it, and whether columns are normalised.
    pub const fn new(about: About, unit: bool) -> Cosine {
        Cosine { about: about.models(1, 1), unit }
    }

    /// The cosine of every column, and of the whole tensor (of the normalised columns where `unit` is set).
    fn cosines(self, base: &[f32], model: &[f32], shape: &[usize]) -> (Vec<f64>, f64) {
        let sums = line_products_reference((base, model), by_first(shape), Along::Columns);
        let least = if self.unit { 1e-12 } else { 1e-8 };
        let of = |s: &[f64; 3]| s[0] / (s[1].sqrt().max(least) * s[2].sqrt().max(least));
        let columns: Vec<f64> = sums.iter().map(of).collect();
        let live = |v: f64| f64::from(u8::from(v > 0.0));
        let whole = sums.iter().zip(&columns).fold([0f64; 3], |t, (s, c)| {
            let add = if self.unit { [*c, live(s[1]), live(s[2])] } else { *s };
            [t[0] + add[0], t[1] + add[1], t[2] + add[2]]
        });
        (columns, whole[0] / (whole[1].sqrt() * whole[2].sqrt()))
    }

    /// The survey that finds the range.
    fn range_survey(self) -> SurveyPlan {
        SurveyPlan { key: "range".into(), names: None, survey: Box::new(Range { cosine: self, found: Vec::new() }) }
    }

    fn range(settings: &Settings<'_>) -> (f64, f64) {
        (settings.fact(0).unwrap_or(0.0), settings.fact(1).unwrap_or(1.0))
    }

    fn alpha(self, settings: &Settings<'_>) -> f64 {
        if self.unit { settings.weights[0].abs() } else { settings.weights[0] }
    }

    /// Records everything for one tensor.
    fn record_columns(
        self,
        rec: &mut Recorder,
        inputs: &Inputs<'_>,
        settings: &Settings<'_>,
        out: &Flat,
    ) -> Result<(), MixError> {
        let (rows, columns) = by_first(settings.shape);
        let (base, model) = (plain(rec, inputs.base)?, plain(rec, inputs.models[0])?);
        let sums = line_products(rec, (&base, &model), (rows, columns), Along::Columns)?;
        let shares = rec.tensor(1, columns.max(1))?;
        let (low, high) = Self::range(settings);
        rec.launch(Launch {
            shader: "mix/cosine_share",
            defines: &[("UNIT", self.unit.into())],
            params: &[columns as u32, 0, 0, 0, bits(low), bits(high), bits(self.alpha(settings)), 0],
            reads: &[&sums],
            writes: &[&shares],
            groups: [1, 1, 1],
        })?;
        let extra = [&shares];
        let mut pass = Pass::new("mix/cosine_sum", inputs.base, inputs.models);
        pass.knobs[0] = columns as u32;
        pass.extra = &extra;
        pass.write(rec, out)
    }

    /// CPU twin.
    fn reference_columns(self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (_, columns) = by_first(settings.shape);
        let (own, whole) = self.cosines(inputs.base, inputs.models[0], settings.shape);
        let (low, high) = Self::range(settings);
        let share = |c: f64| ((0.5 * (c + whole) - low) / (high - low) - self.alpha(settings)).clamp(0.0, 1.0);
        let share = |i: usize| if whole.is_nan() { 1.0 } else { share(own[i % columns]) };
        let pairs = inputs.base.iter().zip(inputs.models[0]).enumerate();
        pairs.map(|(i, (b, m))| (f64::from(*m) * (1.0 - share(i)) + f64::from(*b) * share(i)) as f32).collect()
    }
}

/// Collects the cosines of a whole model.
struct Range {
    cosine: Cosine,
    found: Vec<f32>,
}

impl Survey for Range {
    fn visit(&mut self, _pass: usize, name: &str, shape: &[usize], inputs: &HostInputs<'_>) {
        if in_vae(name) {
            return;
        }
        let (columns, whole) = self.cosine.cosines(inputs.base, inputs.models[0], shape);
        let value = |c: &f64| if self.cosine.unit { *c } else { 0.5 * (c + whole) };
        self.found.extend(columns.iter().map(value).filter(|v| !v.is_nan()).map(|v| v as f32));
    }

    /// What lies below the 1st percentile is dropped, then what lies above the 99th of the rest.
    fn finish(self: Box<Self>) -> Facts {
        let mut found = self.found;
        found.sort_by(f32::total_cmp);
        // Midway between the two neighbours of the percentile, as numpy's `midpoint`.
        let percentile = |values: &[f32], part: f64| {
            let at = part * values.len().saturating_sub(1) as f64;
            let value = |i: f64| f64::from(values[i as usize]);
            0.5 * (value(at.floor()) + value(at.ceil()))
        };
        if found.is_empty() {
            return Facts { numbers: vec![0.0, 1.0], ..Facts::default() };
        }
        let low = percentile(&found, 0.01);
        found.retain(|v| f64::from(*v) >= low);
        let high = percentile(&found, 0.99);
        found.retain(|v| f64::from(*v) <= high);
        let end = |v: Option<&f32>| v.copied().unwrap_or(0.0).into();
        Facts { numbers: vec![end(found.first()), end(found.last())], ..Facts::default() }
    }
}
