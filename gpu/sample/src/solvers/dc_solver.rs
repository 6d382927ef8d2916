//! DC-Solver: UniPC whose newest evaluation is moved along the trajectory to make up for the corrector.

use super::unipc::{Options, run};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::Plan;
use crate::{Info, Knob, Result, SampleError};

/// Zhao et al. 2024. The compensation ratios come from the authors' cascade polynomial regression over guidance scale, number of steps and step
/// (fitted on Stable Diffusion 2.1), or from a search on a few points ([`crate::compensation`]), given as a list.
pub struct DcSolver;

const ORDER: Knob = Knob::number("order", "Order", 1.0, 3.0, 2.0, "order of the predictor; the corrector has one more");
const RATIOS: Knob = Knob::text(
    "dc_ratios",
    "Ratios",
    "compensation ratio of each step, separated by commas; empty: the published regression",
);
const CFG: Knob = Knob::number("dc_cfg", "Guidance", 1.0, 20.0, 7.5, "guidance scale that the regression is asked for");

/// Order of the interpolation.
const DC_ORDER: usize = 2;

/// The regression that the authors publish for Stable Diffusion 2.1: rows of [a, b, c] of a x^2 + b x + c in n / 50, three of them for the
/// quadratic in cfg / 12, and one such quadratic for each power of step / n from 0 to 3.
pub const PUBLISHED: [f64; 36] = [
    1523.67661966,
    -1111.47464508,
    198.38349618,
    -1346.08900228,
    1007.19494126,
    -186.25475774,
    168.39730243,
    -128.03894894,
    24.88478975,
    -8140.64401858,
    5906.74827912,
    -1035.99411231,
    6941.41389940,
    -5193.98065982,
    950.32056530,
    -848.21046751,
    650.69033333,
    -121.28674277,
    13309.27038462,
    -9616.67032053,
    1668.76859621,
    -11037.10779439,
    8256.66668566,
    -1503.79920359,
    1293.97404351,
    -999.56293282,
    188.22170414,
    -6747.42182161,
    4853.15305335,
    -835.51167928,
    5489.11518378,
    -4096.89721821,
    743.09534131,
    -619.56127633,
    480.14971466,
    -90.89633129,
];

impl Solver for DcSolver {
    fn info(&self) -> Info {
        Info {
            name: "dc_solver",
            label: "DC-Solver",
            citation: "Zhao et al. 2024, arXiv 2409.03755; wl-zhao/DC-Solver DCSolverMultistepScheduler",
            knobs: &[ORDER, RATIOS, CFG],
            aliases: &["dcsolver", "dcsolvermultistepscheduler"],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules { ends_at_min: true, ..GridRules::DPM }
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let steps = job.grid.steps() - job.grid.start.min(job.grid.steps());
        let mut ratios = job.knobs.list(&RATIOS)?;
        if ratios.is_empty() {
            let cfg = job.knobs.get(&CFG).clamp(FITTED_CFG.0, FITTED_CFG.1);
            ratios = if FITTED_STEPS.contains(&steps) { predicted(&PUBLISHED, cfg, steps) } else { vec![1.0; steps] };
        } else if ratios.len() != steps {
            return Err(SampleError::setting("dc_ratios", format!("{} ratios for {steps} steps", ratios.len())));
        }
        let compensation = Some((&ratios[..], DC_ORDER));
        // The first step is never corrected, as in the reference.
        run(job, &Options { order: job.knobs.get(&ORDER) as usize, bh1: false, corrector_from: 2, compensation })
    }
}

/// Steps that the published regression was fitted for; beyond them its polynomials run away, and the ratios are 1.
const FITTED_STEPS: std::ops::RangeInclusive<usize> = 5..=20;
/// Guidance scales that it was fitted for; others are taken to the nearest.
const FITTED_CFG: (f64, f64) = (1.5, 7.5);

/// The ratios that a cascade polynomial regression predicts for a guidance scale and a number of steps; 1 for the first two, as in the reference.
pub fn predicted(coefficients: &[f64; 36], cfg: f64, steps: usize) -> Vec<f64> {
    let square = |c: &[f64], x: f64| (c[0] * x + c[1]) * x + c[2];
    let (n, cfg) = (steps as f64 / 50.0, cfg / 12.0);
    let powers: Vec<f64> = coefficients
        .chunks(9)
        .map(|c| {
            let inner: Vec<f64> = c.chunks(3).map(|c| square(c, n)).collect();
            square(&inner, cfg)
        })
        .collect();
    let at = |step: usize| {
        let x = step as f64 / steps as f64;
        powers.iter().rev().fold(0.0, |v, c| v * x + c)
    };
    (1..=steps).map(|s| if s < 3 { 1.0 } else { at(s) }).collect()
}
