//! Quality by steps of every solver on the built-in model: `cargo run --release -p admix-engine --example solver_quality` writes docs/solvers.md and
//! docs/solvers.svg. `-- --steps 5,10 --only euler,heun --reference 200 --out FOLDER` does a part of it elsewhere.
//!
//! One prompt, one seed, CFG 7. Quality is the relative L2 distance of the final latents from those of 1000 steps of DPM++ 2M on Karras's levels: the
//! picture that every solver of the probability-flow ODE goes towards. All of them get the same levels: with the model's own spacing (trailing) diffusers'
//! Euler and its relatives end Karras's levels at that of their last timestep (0.24 at 20 steps, 0.16 at 50) and go from there to 0 in one step, which is
//! what they would be compared by. Noise that solvers add is switched off where they have a knob for it, since runs
//! of different lengths cannot draw the same; those that are stochastic by design, or distilled, or made for other networks, are left out.

use std::fmt::Write as _;
use std::path::PathBuf;

use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::sample::{Info, registry};
use admix_engine::{Control, EngineError, Given, Session};

/// What begins the part of docs/solvers.md that is measured; what stands before it stays.
const HEAD: &str = "## Quality by steps";

/// Left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("ddpm", "stochastic by design"),
    ("er_sde", "stochastic by design"),
    ("lcm", "for distilled networks"),
    ("tcd", "for distilled networks"),
    ("edm_euler", "for EDM networks"),
    ("edm_dpm", "for EDM networks"),
    ("flow_euler", "for flow networks"),
    ("flow_heun", "for flow networks"),
];

/// Knobs that switch noise off.
const QUIET: &[(&str, f64)] = &[("eta", 0.0), ("tau", 0.0), ("restart", 1.0)];

struct Options {
    steps: Vec<u32>,
    only: Vec<String>,
    /// Steps of the run that stands for the limit.
    reference: u32,
    out: PathBuf,
}

fn options() -> Options {
    let list =
        |text: Option<String>| text.map_or_else(Vec::new, |t| t.split(',').map(str::to_owned).collect::<Vec<_>>());
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut options = Options { steps: vec![5, 10, 20, 50], only: Vec::new(), reference: 1000, out: docs };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--steps" => options.steps = list(words.next()).iter().filter_map(|n| n.parse().ok()).collect(),
            "--reference" => options.reference = words.next().and_then(|n| n.parse().ok()).unwrap_or(options.reference),
            "--only" => options.only = list(words.next()),
            "--out" => options.out = words.next().map_or(options.out, PathBuf::from),
            other => eprintln!("{other} is not known; see the head of solver_quality.rs"),
        }
    }
    options
}

/// Final latents.
fn latents(session: &mut Session, info: &Info, schedule: &str, steps: u32) -> Result<Vec<f32>, EngineError> {
    let mut recipe = Recipe::new("builtin");
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        sampler: Some(info.name.into()),
        schedule: Some(schedule.into()),
        steps: Some(steps),
        cfg: Some(7.0),
        seed: Some(1),
        ..Sample::default()
    };
    recipe.sample.set.insert("spacing".into(), "linspace".into());
    for (name, value) in QUIET {
        if let Some(knob) = info.knobs.iter().find(|k| k.name == *name) {
            let value = knob.choices.get(*value as usize).map_or_else(|| (*value).into(), |word| (*word).into());
            recipe.sample.set.insert(knob.name.into(), value);
        }
    }
    Ok(pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()))?.latents)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum::<f64>();
    (sum(&|a, b| (a - b).powi(2)) / sum(&|_, b| b * b)).sqrt()
}

/// Errors by steps as a picture; steps and errors on logarithmic axes.
fn plot(steps: &[u32], rows: &[(&str, Vec<f64>)]) -> String {
    let last = f64::from(steps.last().copied().unwrap_or(1).max(2));
    let first = f64::from(steps.first().copied().unwrap_or(1));
    let x = |n: u32| 60.0 + 540.0 * (f64::from(n) / first).ln() / (last / first).ln().max(1e-9);
    let y = |error: f64| 20.0 + 440.0 * (-error.max(1e-4).log10() / 4.0).clamp(0.0, 1.0);
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 520\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"800\" height=\"520\" fill=\"white\"/>\n",
    );
    for k in 0..=4 {
        let y = 20.0 + 110.0 * f64::from(k);
        let _ = writeln!(
            out,
            "<line x1=\"60\" x2=\"600\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/><text x=\"10\" y=\"{}\">1e-{k}</text>",
            y + 4.0
        );
    }
    for n in steps {
        let _ = writeln!(out, "<text x=\"{:.0}\" y=\"480\">{n}</text>", x(*n) - 6.0);
    }
    for (i, (name, errors)) in rows.iter().enumerate() {
        let color = format!("hsl({},70%,{}%)", i * 47 % 360, 35 + i % 3 * 12);
        let points: Vec<String> = steps.iter().zip(errors).map(|(n, e)| format!("{:.1},{:.1}", x(*n), y(*e))).collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.3\" points=\"{}\"/>",
            points.join(" ")
        );
        let _ = writeln!(out, "<text x=\"620\" y=\"{}\" fill=\"{color}\">{name}</text>", 24 + i * 16);
    }
    out + "<text x=\"250\" y=\"504\">steps; distance from the result of 1000</text>\n</svg>\n"
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options();
    let mut session = pollster::block_on(Session::open(&Default::default()))?;
    let reference = latents(&mut session, &registry::sampler("dpmpp_2m")?.info(), "karras", options.reference)?;
    let left_out = |name: &str| LEFT_OUT.iter().any(|(n, _)| *n == name);
    let wanted = |name: &str| !left_out(name) && (options.only.is_empty() || options.only.iter().any(|n| n == name));
    let mut rows: Vec<(&str, Vec<f64>)> = Vec::new();
    for info in registry::samplers().filter(|i| wanted(i.name)) {
        let mut errors = Vec::new();
        // One that chooses its own steps has one result.
        let is_adaptive = info.name == "dpm_adaptive";
        for (i, n) in options.steps.iter().enumerate() {
            let known = errors.first().copied().filter(|_| is_adaptive && i > 0);
            errors.push(match known {
                Some(error) => error,
                None => distance(&latents(&mut session, &info, "karras", *n)?, &reference),
            });
        }
        eprintln!("{}: {errors:.4?}", info.name);
        rows.push((info.name, errors));
    }
    let path = options.out.join("solvers.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let mut text = kept.split(HEAD).next().unwrap_or_default().to_owned();
    text.push_str(HEAD);
    text.push_str(
        "\n\nMade by `cargo run --release -p admix-engine --example solver_quality`, whose head says what is measured: the built-in model, Karras's levels over its whole range, CFG 7, relative\nL2 distance of \
         the final latents from those of 1000 steps. Solvers with several evaluations a step (heun, dpm_2, dpmpp_sde, dpmpp_2s_ancestral, restart: 2;\nheunpp2: 3) take as many times as \
         long. dpm_adaptive chooses its steps by its tolerances, whatever number is given. Distances above 1 are drawn at 1.\n\n![Distance by steps](solvers.svg)\n\n| Sampler |",
    );
    options.steps.iter().for_each(|n| text.push_str(&format!(" {n} |")));
    text.push_str("\n|---|");
    options.steps.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    for (name, errors) in &rows {
        let _ = write!(text, "| {name} |");
        errors.iter().for_each(|e| text.push_str(&format!(" {e:.4} |")));
        text.push('\n');
    }
    let why: Vec<String> = LEFT_OUT.iter().map(|(name, why)| format!("{name} ({why})")).collect();
    let _ = writeln!(text, "\nNot in the table: {}.", why.join(", "));
    std::fs::write(options.out.join("solvers.svg"), plot(&options.steps, &rows))?;
    std::fs::write(path, text)?;
    Ok(())
}
