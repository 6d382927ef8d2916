//! CFG++ against ComfyUI's samplers of those names (`comfy/k_diffusion/sampling.py`), their steps written out: two estimates that are formulas, f64 on both
//! sides, so what is left is rounding.

use admix_sample::{KnobValues, ModelSampling, NoiseConfig, Op, PlanRequest, Prediction, cpu};

const SIGMAS: [f64; 8] = [14.0, 8.5, 5.0, 2.4, 1.1, 0.45, 0.15, 0.0];

fn uncond(x: &[f64], sigma: f64) -> Vec<f64> {
    x.iter().map(|x| (0.16 * x + 0.9 * sigma * (x / (1.0 + sigma)).tanh()) / (0.16 + sigma)).collect()
}

fn guided(x: &[f64], sigma: f64) -> Vec<f64> {
    uncond(x, sigma).iter().zip(x).map(|(u, x)| u + 0.8 * (0.3 - 0.2 * (x / (2.0 + sigma)).sin())).collect()
}

fn noise(i: usize) -> Vec<f64> {
    (0..12).map(|k| ((k * 7 + i * 31) as f64 * 0.77).sin() * 1.3).collect()
}

/// Our plan of that name, the two estimates in place of a network's.
fn ours(name: &str) -> Vec<f64> {
    let model = ModelSampling::new(&NoiseConfig::stable_diffusion(Prediction::Epsilon)).unwrap();
    let mut knobs = KnobValues::new();
    knobs.set_text("sigmas", &SIGMAS.map(|s| s.to_string()).join(",")).unwrap();
    let request = PlanRequest {
        model: &model,
        sampler: name,
        schedule: "",
        steps: SIGMAS.len() - 1,
        strength: None,
        knobs: &knobs,
    };
    let plan = admix_sample::plan(&request).unwrap();
    // Every sampler begins with the same x here, whatever its scheduler would.
    let plan = admix_sample::Plan { init_scale: SIGMAS[0], ..plan };
    let mut registers = cpu::registers(&plan, &[], noise);
    for op in &plan.ops {
        match op {
            Op::Denoise { x, sigma, out, uncond_out, .. } => {
                let x = registers[x.0].clone();
                registers[out.0] = guided(&x, *sigma);
                registers[uncond_out.expect("CFG++ asks for both").0] = uncond(&x, *sigma);
            }
            other => drop(cpu::steps(std::slice::from_ref(other), &mut registers, &mut noise, &mut |_, _| Vec::new())),
        }
    }
    registers.swap_remove(plan.result.0)
}

fn sum(terms: &[(f64, &[f64])]) -> Vec<f64> {
    (0..terms[0].1.len()).map(|i| terms.iter().map(|(c, v)| c * v[i]).sum()).collect()
}

fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).sqrt());
    ((to * to - up * up).sqrt(), up)
}

/// One of ComfyUI's loops: x, the steps, and noise from draw 1 on.
fn loop_over(mut step: impl FnMut(Vec<f64>, usize, &mut dyn FnMut() -> Vec<f64>) -> Vec<f64>) -> Vec<f64> {
    let mut x: Vec<f64> = noise(0).iter().map(|v| v * SIGMAS[0]).collect();
    let mut drawn = 0;
    for i in 0..SIGMAS.len() - 1 {
        let mut draw = || {
            drawn += 1;
            noise(drawn)
        };
        x = step(x, i, &mut draw);
    }
    x
}

fn euler_ancestral(eta: f64) -> Vec<f64> {
    loop_over(|x, i, draw| {
        let (d, u) = (guided(&x, SIGMAS[i]), uncond(&x, SIGMAS[i]));
        if SIGMAS[i + 1] == 0.0 {
            return d;
        }
        let (down, up) = ancestral(SIGMAS[i], SIGMAS[i + 1], eta);
        let slope = sum(&[(1.0 / SIGMAS[i], &x), (-1.0 / SIGMAS[i], &u)]);
        let x = sum(&[(1.0, &d), (down, &slope)]);
        if eta > 0.0 { sum(&[(1.0, &x), (up, &draw())]) } else { x }
    })
}

fn dpmpp_2m() -> Vec<f64> {
    let mut old: Option<Vec<f64>> = None;
    loop_over(|x, i, _| {
        let (d, u) = (guided(&x, SIGMAS[i]), uncond(&x, SIGMAS[i]));
        let t = |i: usize| -SIGMAS[i].ln();
        let shrink = SIGMAS[i + 1] / SIGMAS[i];
        let mut mix = sum(&[(-shrink, &u)]);
        if let Some(old) = old.as_ref().filter(|_| SIGMAS[i + 1] != 0.0) {
            let r = (t(i) - t(i - 1)) / (t(i + 1) - t(i));
            let c = (1.0 - shrink) / (2.0 * r);
            mix = sum(&[(1.0, &mix), (c, &d), (-c, old)]);
        }
        old = Some(u);
        sum(&[(1.0, &d), (1.0, &mix), (shrink, &x)])
    })
}

fn dpmpp_2s_ancestral(eta: f64) -> Vec<f64> {
    loop_over(|x, i, draw| {
        let (d, u) = (guided(&x, SIGMAS[i]), uncond(&x, SIGMAS[i]));
        let (down, up) = ancestral(SIGMAS[i], SIGMAS[i + 1], eta);
        if down == 0.0 {
            return d;
        }
        let (t, next) = (-SIGMAS[i].ln(), -down.ln());
        let h = next - t;
        let s = t + 0.5 * h;
        let moved = sum(&[(1.0, &x), (1.0, &d), (-1.0, &u)]);
        let trial = sum(&[((-s).exp() / (-t).exp(), &moved), (-(-h * 0.5).exp_m1(), &d)]);
        let second = guided(&trial, (-s).exp());
        let x = sum(&[((-next).exp() / (-t).exp(), &moved), (-(-h).exp_m1(), &second)]);
        sum(&[(1.0, &x), (up, &draw())])
    })
}

fn res_multistep(eta: f64) -> Vec<f64> {
    let mut old: Option<(Vec<f64>, f64)> = None;
    loop_over(|x, i, draw| {
        let (d, u) = (guided(&x, SIGMAS[i]), uncond(&x, SIGMAS[i]));
        let (down, up) = ancestral(SIGMAS[i], SIGMAS[i + 1], eta);
        let x = match &old {
            Some((before, reached)) if down > 0.0 => {
                let t = |sigma: f64| -sigma.ln();
                let h = t(down) - t(SIGMAS[i]);
                let c2 = (t(SIGMAS[i - 1]) - t(*reached)) / h;
                let phi1 = (-h).exp_m1() / -h;
                let phi2 = (phi1 - 1.0) / -h;
                let finite = |v: f64| if v.is_nan() { 0.0 } else { v };
                let (b1, b2) = (finite(phi1 - phi2 / c2), finite(phi2 / c2));
                let moved = sum(&[(1.0, &x), (1.0, &d), (-1.0, &u)]);
                sum(&[((-h).exp(), &moved), (h * b1, &u), (h * b2, before)])
            }
            _ => sum(&[(1.0, &d), (down / SIGMAS[i], &x), (-down / SIGMAS[i], &u)]),
        };
        old = Some((u, down));
        if eta > 0.0 && SIGMAS[i + 1] > 0.0 { sum(&[(1.0, &x), (up, &draw())]) } else { x }
    })
}

fn gradient_estimation() -> Vec<f64> {
    let mut old: Option<Vec<f64>> = None;
    loop_over(|x, i, _| {
        let (d, u) = (guided(&x, SIGMAS[i]), uncond(&x, SIGMAS[i]));
        let slope = sum(&[(1.0 / SIGMAS[i], &x), (-1.0 / SIGMAS[i], &u)]);
        if SIGMAS[i + 1] == 0.0 {
            return d;
        }
        let mut x = sum(&[(1.0, &d), (SIGMAS[i + 1], &slope)]);
        if let Some(old) = &old {
            let length = SIGMAS[i + 1] - SIGMAS[i];
            x = sum(&[(1.0, &x), (length, &slope), (-length, old)]);
        }
        old = Some(slope);
        x
    })
}

#[test]
fn the_samplers_of_those_names() {
    for (name, expected) in [
        ("euler_cfg_pp", euler_ancestral(0.0)),
        ("euler_ancestral_cfg_pp", euler_ancestral(1.0)),
        ("dpmpp_2m_cfg_pp", dpmpp_2m()),
        ("dpmpp_2s_ancestral_cfg_pp", dpmpp_2s_ancestral(1.0)),
        ("res_multistep_cfg_pp", res_multistep(0.0)),
        ("res_multistep_ancestral_cfg_pp", res_multistep(1.0)),
        ("gradient_estimation_cfg_pp", gradient_estimation()),
    ] {
        let found = ours(name);
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-9, "{name}: {far:.1e}\n{found:?}\n{expected:?}");
    }
}
