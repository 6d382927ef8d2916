//! Order of convergence of every solver without noise, on a denoiser that is a formula: `cargo run -p admix-sample --example convergence` writes
//! docs/convergence.md and docs/convergence.svg.
//!
//! The data are two normal bumps at +-0.9 with spread 0.4. Levels are Karras's, from 14.6 down to 0.03, the smallest of training, where the run ends:
//! the step to 0 is an estimate and no integration, and its error would hide what is measured. The exact answer comes from integrating the
//! probability-flow ODE finely. The order is the slope of error against steps between 32 and 128.

use std::fmt::Write as _;

use admix_sample::{KnobValues, ModelSampling, NoiseConfig, Op, PlanRequest, Prediction, cpu, registry};

const M: f64 = 0.9;
const S: f64 = 0.4;
const STEPS: [usize; 6] = [4, 8, 16, 32, 64, 128];

fn clean(z: f64, sigma: f64) -> f64 {
    let wide = S * S + sigma * sigma;
    (S * S * z + sigma * sigma * M * (M * z / wide).tanh()) / wide
}

/// The ODE dx / d ln sigma = x - clean, by fourth-order Runge-Kutta.
fn exact(mut x: f64, from: f64, to: f64) -> f64 {
    let n = 2_000;
    let h = (to / from).ln() / f64::from(n);
    for i in 0..n {
        let at = |k: f64| from * (h * (f64::from(i) + k)).exp();
        let slope = |x: f64, sigma: f64| x - clean(x, sigma);
        let k1 = slope(x, at(0.0));
        let k2 = slope(x + 0.5 * h * k1, at(0.5));
        let k3 = slope(x + 0.5 * h * k2, at(0.5));
        let k4 = slope(x + h * k3, at(1.0));
        x += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4);
    }
    x
}

struct Run {
    error: f64,
    evaluations: usize,
}

fn run(model: &ModelSampling, sampler: &str, steps: usize) -> Option<Run> {
    let mut knobs = KnobValues::new();
    let info = registry::sampler(sampler).ok()?.info();
    for (knob, off) in [("eta", 0.0), ("s_noise", 0.0), ("tau", 0.0)] {
        if info.knobs.iter().any(|k| k.name == knob) {
            knobs.set(knob, off);
        }
    }
    if sampler == "restart" {
        knobs.set("restart", 1.0);
    }
    // The levels by hand, since with a last level of their own they would be one too many.
    let (high, low) = (model.sigma_max().powf(1.0 / 7.0), model.sigma_min().powf(1.0 / 7.0));
    let level = |i: usize| (high + (low - high) * i as f64 / steps as f64).powi(7).to_string();
    knobs.set_text("sigmas", &(0..steps).map(level).collect::<Vec<_>>().join(",")).ok()?;
    let request = PlanRequest { model, sampler, schedule: "", steps, strength: None, knobs: &knobs };
    let plan = admix_sample::plan(&request).ok()?;
    let sigmas: Vec<f64> =
        plan.ops.iter().filter_map(|op| if let Op::Denoise { sigma, .. } = op { Some(*sigma) } else { None }).collect();
    let draws: Vec<f64> = (0..16).map(|i| -1.9 + 0.25 * f64::from(i)).collect();
    let mut calls = sigmas.iter();
    let net = |x: &[f64], _: f64| {
        let sigma = calls.next().copied().unwrap_or(1.0);
        x.iter().map(|x| (x * sigma.hypot(1.0) - clean(x * sigma.hypot(1.0), sigma)) / sigma).collect()
    };
    let found = cpu::run(&plan, &[], |_| draws.clone(), net);
    let low = model.sigma_min();
    // Where it ends, x may be left scaled to unit variance.
    let wanted = |x: f64, kind: usize| {
        let near = exact(x * plan.init_scale, sigmas[0], low);
        match kind {
            0 => near,
            _ => near / low.hypot(1.0),
        }
    };
    let error = |kind: usize| {
        let far: f64 = draws.iter().zip(&found).map(|(x, f)| (wanted(*x, kind) - f).powi(2)).sum();
        (far / draws.len() as f64).sqrt()
    };
    Some(Run { error: error(0).min(error(1)), evaluations: sigmas.len() })
}

/// The solver that chooses its own steps, by tolerance.
fn adaptive(model: &ModelSampling) -> String {
    let mut out = String::from(
        "\n`dpm_adaptive` chooses its steps by two tolerances (evaluations count for it, steps do not):\n\n| rtol | atol | Evaluations | Error |\n|---|---|---|---|\n",
    );
    for (rtol, atol) in [(0.05, 0.0078), (0.01, 0.0016), (0.002, 0.0003), (0.0004, 0.00006)] {
        let mut knobs = KnobValues::new();
        knobs.set("rtol", rtol).set("atol", atol);
        let request =
            PlanRequest { model, sampler: "dpm_adaptive", schedule: "", steps: 20, strength: None, knobs: &knobs };
        let (Ok(plan), Ok(Some(mut steps))) = (admix_sample::plan(&request), admix_sample::adaptive(&request)) else {
            continue;
        };
        let draws: Vec<f64> = (0..16).map(|i| -1.9 + 0.25 * f64::from(i)).collect();
        let mut evaluations = 0;
        let net = |x: &[f64], t: f64| {
            evaluations += 1;
            let sigma = model.sigma_at_log(t);
            let root = sigma.hypot(1.0);
            x.iter().map(|x| (x * root - clean(x * root, sigma)) / sigma).collect()
        };
        let Ok(found) = cpu::run_adaptive(&plan, &mut *steps, &[], |_| draws.clone(), net) else { continue };
        let end = |x: f64| exact(x * plan.init_scale, model.sigma_max(), model.sigma_min());
        let far: f64 = draws.iter().zip(&found).map(|(x, f)| (end(*x) - f).powi(2)).sum();
        let error = (far / draws.len() as f64).sqrt();
        let _ = writeln!(out, "| {rtol} | {atol} | {evaluations} | {error:.1e} |");
    }
    out
}

fn main() -> std::io::Result<()> {
    let config = NoiseConfig { final_sigma_min: true, ..NoiseConfig::stable_diffusion(Prediction::Epsilon) };
    let model = ModelSampling::new(&config).map_err(std::io::Error::other)?;
    let mut rows = Vec::new();
    // What chooses its own steps has no order by steps.
    for info in registry::samplers().filter(|i| i.name != "dpm_adaptive") {
        let all: Vec<Option<Run>> = STEPS.iter().map(|n| run(&model, info.name, *n)).collect();
        rows.push((info, all));
    }
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::create_dir_all(&docs)?;
    let mut text = String::from(
        "# How fast solvers converge on a formula\n\nMade by `cargo run -p admix-sample --example convergence`; its head says what is measured. Errors are root mean squares \
         against the exact solution of the probability-flow ODE, noise switched off; the order is the slope between 32 and 128 steps. Distilled \
         samplers (lcm, tcd) jump to the end by design and do not converge; ddpm and er_sde \
         follow another equation when their noise is taken away. \
         heunpp2 is of first order by its definition (ComfyUI's too): the later slopes weigh sigma / (3 sigma_max), so that at low noise it is Euler.\n\n![Errors by evaluations](convergence.svg)\n\n\
         | Sampler | Evaluations for 20 steps |",
    );
    for n in STEPS {
        let _ = write!(text, " {n} |");
    }
    text.push_str(" Order |\n|---|---|");
    STEPS.iter().for_each(|_| text.push_str("---|"));
    text.push_str("---|\n");
    let mut lines = String::new();
    let mut legend = String::new();
    let mut drawn = 0;
    for (info, all) in &rows {
        let evaluations = run(&model, info.name, 20).map_or(0, |r| r.evaluations);
        let _ = write!(text, "| {} | {evaluations} |", info.name);
        for r in all {
            match r {
                Some(r) => {
                    let _ = write!(text, " {:.1e} |", r.error);
                }
                None => text.push_str(" - |"),
            }
        }
        let order = match (&all[3], &all[5]) {
            (Some(a), Some(b)) => (a.error / b.error).log2() / 2.0,
            _ => f64::NAN,
        };
        let stays = ["lcm", "tcd", "ddpm", "er_sde"].contains(&info.name) || !order.is_finite();
        let _ = writeln!(text, " {} |", if stays { "-".to_owned() } else { format!("{order:.1}") });
        if stays {
            continue;
        }
        let color = format!("hsl({},70%,{}%)", drawn * 47 % 360, 35 + drawn % 3 * 12);
        let x = |evaluations: usize| 60.0 + 560.0 * (evaluations as f64 / 4.0).log2() / 7.0;
        let y = |error: f64| 20.0 + 440.0 * (-error.max(1e-9).log10() / 9.0).clamp(0.0, 1.0);
        let points: Vec<String> =
            all.iter().flatten().map(|r| format!("{:.1},{:.1}", x(r.evaluations), y(r.error))).collect();
        let _ = writeln!(
            lines,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.3\" points=\"{}\"/>",
            points.join(" ")
        );
        let _ = writeln!(
            legend,
            "<text x=\"640\" y=\"{}\" fill=\"{color}\">{} {order:.1}</text>",
            24 + drawn * 14,
            info.name
        );
        drawn += 1;
    }
    let mut axes = String::new();
    for k in 0..=9 {
        let y = 20.0 + 440.0 * f64::from(k) / 9.0;
        let _ = writeln!(
            axes,
            "<line x1=\"60\" x2=\"620\" y1=\"{y:.0}\" y2=\"{y:.0}\" stroke=\"#ddd\"/><text x=\"8\" y=\"{:.0}\">1e-{k}</text>",
            y + 4.0
        );
    }
    for k in 0..=7 {
        let x = 60.0 + 560.0 * f64::from(k) / 7.0;
        let _ = writeln!(axes, "<text x=\"{:.0}\" y=\"480\">{}</text>", x - 8.0, 4 << k);
    }
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 520\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"800\" height=\"520\" \
         fill=\"white\"/>\n{axes}{lines}{legend}<text x=\"250\" y=\"504\">evaluations of the network; sampler and order</text>\n</svg>\n"
    );
    text.push_str(&adaptive(&model));
    std::fs::write(docs.join("convergence.svg"), svg)?;
    std::fs::write(docs.join("convergence.md"), text)
}
