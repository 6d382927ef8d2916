//! Every sampler against diffusers or the formulas of k-diffusion and ComfyUI (tests/golden/make_schedules.py and make_solvers.py).
//!
//! Tolerances. Sigmas: 5e-7 relative, since the reference rounds them to f32 (6e-8) after f32 tables and powers; with rescaled betas another
//! 1.2e-7 (1 + 1 / sigma^2), two f32 digits of alpha bar, because torch's vectorised square root, through which they go, is not exact there.
//! Timesteps: whole ones equal; fractional ones 5e-4, since the reference finds them from f32 logarithms (2e-7 each) of levels that lie 5e-3
//! apart in log sigma, through rescaled betas somewhat less exactly. Final values: 1e-4 relative L2 is what is promised; the reference works in
//! f32 and at high noise divides its rounding by alpha (0.068), which reaches 3e-5 here.

use std::path::PathBuf;

use admix_sample::grid::{GridRequest, GridRules};
use admix_sample::{BetaSchedule, KnobValues, ModelSampling, NoiseConfig, Op, PlanRequest, Prediction, Spacing, cpu};
use serde_json::Value;

const M: f64 = 0.9;
const S: f64 = 0.4;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/schedules")
}

fn read(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The network of the fixtures.
fn net(x: &[f64], t: f64, prediction: Prediction) -> Vec<f64> {
    if prediction == Prediction::Flow {
        let (u, a) = (t / 1000.0, 1.0 - t / 1000.0);
        let wide = S * S * a * a + u * u;
        let clean = |x: f64| (S * S * a * x + u * u * M * (M * a * x / wide).tanh()) / wide;
        return x.iter().map(|x| (x - clean(*x)) / u).collect();
    }
    let edm = prediction == Prediction::Edm;
    let sigma = if edm { (4.0 * t).exp() } else { (-3.5 + 6.2 * t / 999.0).exp() };
    let root = sigma.hypot(if edm { 0.5 } else { 1.0 });
    let one = |x: &f64| {
        let z = x * root;
        let wide = S * S + sigma * sigma;
        let clean = (S * S * z + sigma * sigma * M * (M * z / wide).tanh()) / wide;
        let eps = (z - clean) / sigma;
        match prediction {
            Prediction::Epsilon => eps,
            Prediction::V => (eps - sigma * clean) / root,
            Prediction::Sample => clean,
            _ => (clean - z * (0.5 / root).powi(2)) * root / (sigma * 0.5),
        }
    };
    x.iter().map(one).collect()
}

struct Inputs {
    noises: Vec<Vec<f64>>,
    init: Vec<f64>,
}

impl Inputs {
    fn read() -> Self {
        let v = read("inputs");
        Inputs { noises: v["noises"].as_array().unwrap().iter().map(floats).collect(), init: floats(&v["init"]) }
    }

    fn noise(&self, i: usize) -> Vec<f64> {
        let mut v = self.noises[i % 4].clone();
        v.rotate_left((i / 4 * 5) % 16);
        v
    }
}

fn model(case: &Value) -> ModelSampling {
    let (start, end) = (0.00085, 0.012);
    let prediction = Prediction::from_name(case["prediction"].as_str().unwrap()).unwrap();
    ModelSampling::new(&NoiseConfig {
        betas: match case["beta_schedule"].as_str() {
            Some("linear") => BetaSchedule::Linear { start, end },
            Some("squaredcos_cap_v2") => BetaSchedule::SquaredCos,
            _ if prediction == Prediction::Edm => BetaSchedule::EDM,
            _ if prediction == Prediction::Flow => BetaSchedule::Flow { shift: case["shift"].as_f64().unwrap_or(1.0) },
            _ => BetaSchedule::ScaledLinear { start, end },
        },
        spacing: case["config_spacing"].as_str().map(|s| Spacing::from_name(s).unwrap()),
        steps_offset: case["steps_offset"].as_u64().unwrap() as usize,
        set_alpha_to_one: case["set_alpha_to_one"].as_bool().unwrap_or(true),
        zero_snr: case["zero_snr"].as_bool().unwrap(),
        final_sigma_min: case["final_sigmas_type"] == "sigma_min",
        ..NoiseConfig::stable_diffusion(prediction)
    })
    .unwrap()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let square = |v: f64| v * v;
    let far: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (far / b.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

fn check(sampler: &str) -> f64 {
    let inputs = Inputs::read();
    let fixture = read(sampler);
    let mut worst: f64 = 0.0;
    for case in fixture["cases"].as_array().unwrap() {
        let model = model(case);
        let mut knobs = KnobValues::new();
        for (name, value) in case["knobs"].as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) => knobs.set_text(name, text).unwrap(),
                None => drop(knobs.set(name, value.as_f64().unwrap())),
            }
        }
        let request = PlanRequest {
            model: &model,
            sampler,
            schedule: case["schedule"].as_str().unwrap(),
            steps: case["steps"].as_u64().unwrap() as usize,
            strength: case["strength"].as_f64(),
            knobs: &knobs,
        };
        let mut about = case.clone();
        for long in ["sigmas", "timesteps", "latents"] {
            about.as_object_mut().unwrap().remove(long);
        }
        let plan = admix_sample::plan(&request).unwrap_or_else(|e| panic!("{sampler} {about}: {e}"));
        let told: Vec<(f64, f64)> = plan
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Denoise { sigma, timestep, .. } => Some((*sigma, *timestep)),
                _ => None,
            })
            .collect();
        // Schedulers that list a timestep twice or list sigmas between steps are compared by their results alone.
        if case.get("sigmas").is_some_and(|s| s.as_array().unwrap().len() == request.steps + 1) {
            let start = request.steps - told.len();
            for (i, (sigma, _)) in told.iter().enumerate() {
                let expected = case["sigmas"][start + i].as_f64().unwrap();
                // Karras's levels all depend on the smallest one.
                let from = if request.schedule == "normal" { expected } else { told.last().unwrap().0 };
                // EDM's levels are seventh powers in f32: seven times its rounding.
                let digits = if model.prediction() == Prediction::Edm {
                    7.0 * 1.2e-7
                } else if model.prediction() == Prediction::Flow {
                    // sigma = t / (1 - t), and t has f32's digits.
                    1.2e-7 * (1.0 + expected)
                } else if model.config().zero_snr {
                    1.2e-7 * (1.0 + 1.0 / (from * from))
                } else {
                    0.0
                };
                assert!(
                    (sigma / expected - 1.0).abs() < 5e-7 + digits,
                    "{sampler} {about}: sigma {i} is {sigma}, not {expected}"
                );
            }
        }
        let prediction = model.prediction();
        let mut asked = Vec::new();
        let network = |x: &[f64], t: f64| {
            asked.push(t);
            net(x, t, prediction)
        };
        let found = match admix_sample::adaptive(&request).unwrap() {
            Some(mut steps) => {
                cpu::run_adaptive(&plan, &mut *steps, &inputs.init, |i| inputs.noise(i), network).unwrap()
            }
            None => cpu::run(&plan, &inputs.init, |i| inputs.noise(i), network),
        };
        let timesteps = floats(&case["timesteps"]);
        assert_eq!(asked.len(), timesteps.len(), "{sampler} {about}: {asked:?} for {timesteps:?}");
        // Where levels follow from the network's answers, they move with the 5e-4 by which it was told another timestep.
        let near = if sampler == "dpm_adaptive" { 1e-2 } else { 1e-3 };
        for (t, expected) in asked.iter().zip(&timesteps) {
            assert!((t - expected).abs() < near, "{sampler} {about}: timestep {t}, not {expected}");
            if expected.fract() == 0.0 && t.fract() == 0.0 {
                assert_eq!(t, expected, "{sampler} {about}");
            }
        }
        let expected = floats(&case["latents"]);
        let far = distance(&found, &expected);
        worst = worst.max(far);
        assert!(far < 1e-4, "{sampler} {about}: relative L2 {far:.2e}\n{found:?}\n{expected:?}");
    }
    worst
}

/// Every registered sampler has its file.
#[test]
fn all_samplers() {
    let mut figures = Vec::new();
    for info in admix_sample::registry::samplers() {
        let worst = check(info.name);
        figures.push(format!("{}: {worst:.1e}", info.name));
    }
    println!("largest relative L2 of final latents: {}", figures.join(", "));
}

/// Schedules by themselves. The polynomial in log sigma is f32 in k-diffusion: a few f32 digits of a logarithm up to 3.5.
#[test]
fn levels() {
    let model = ModelSampling::new(&NoiseConfig::stable_diffusion(Prediction::Epsilon)).unwrap();
    let files = [read("levels"), read("levels_more")];
    for case in files.iter().flat_map(|f| f.as_array().unwrap()) {
        let schedule = admix_sample::registry::schedule(case["schedule"].as_str().unwrap()).unwrap();
        let mut knobs = KnobValues::new();
        for (name, value) in case["knobs"].as_object().into_iter().flatten() {
            knobs.set(name, value.as_f64().unwrap());
        }
        let (steps, rules) = (case["steps"].as_u64().unwrap() as usize, GridRules::EULER);
        let grid = schedule.grid(&GridRequest { model: &model, steps, rules, spacing: rules.spacing }, &knobs).unwrap();
        let expected = floats(&case["sigmas"]);
        assert_eq!(grid.sigmas.len(), expected.len() + 1, "{case}");
        assert_eq!(grid.sigmas[expected.len()], 0.0);
        for (found, expected) in grid.sigmas.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{case}: {:?}", grid.sigmas);
        }
        for (sigma, t) in grid.sigmas.iter().zip(&grid.timesteps) {
            let low = model.sigmas()[t.floor() as usize];
            let high = model.sigmas()[t.ceil() as usize];
            assert!(
                (low * (1.0 - 1e-6)..=high * (1.0 + 1e-6)).contains(sigma),
                "{case}: sigma {sigma} at timestep {t}"
            );
        }
    }
}

/// Every schedule is held against something: here, or with a sampler.
#[test]
fn every_schedule_has_an_oracle() {
    let mut seen = std::collections::BTreeSet::new();
    let files = [read("levels"), read("levels_more"), read("euler")["cases"].clone()];
    for case in files.iter().flat_map(|f| f.as_array().unwrap()) {
        seen.insert(case["schedule"].as_str().unwrap().to_owned());
    }
    for info in admix_sample::registry::schedules() {
        assert!(seen.contains(info.name), "{} has no fixture", info.name);
    }
}

/// With levels that are not its own scheduler's, DDIM is Euler in sigma (Song et al. 2020, section 4.3).
#[test]
fn ddim_on_given_levels_is_euler() {
    let inputs = Inputs::read();
    for prediction in [Prediction::Epsilon, Prediction::V] {
        let model = ModelSampling::new(&NoiseConfig::stable_diffusion(prediction)).unwrap();
        let mut knobs = KnobValues::new();
        knobs.set_text("spacing", "linspace").unwrap();
        for schedule in ["karras", "exponential", "simple", "ddim_uniform", "sgm_uniform"] {
            let end = |sampler| {
                // On top of a latent both start with sigma times the noise.
                let strength = Some(1.0);
                let request = PlanRequest { model: &model, sampler, schedule, steps: 13, strength, knobs: &knobs };
                let plan = admix_sample::plan(&request).unwrap();
                cpu::run(&plan, &inputs.init, |i| inputs.noise(i), |x, t| net(x, t, prediction))
            };
            let far = distance(&end("ddim"), &end("euler"));
            // The table's sigmas and alphas are each rounded to f32.
            assert!(far < 1e-7, "{schedule}: {far:.1e}");
        }
    }
}
