//! BDIA's inversion is exact whatever the network says, and run knobs do what they promise.

use admix_sample::{KnobValues, ModelSampling, NoiseConfig, Op, PlanRequest, Prediction, X, cpu, invert, plan};

fn model() -> ModelSampling {
    ModelSampling::new(&NoiseConfig::stable_diffusion(Prediction::Epsilon)).unwrap()
}

/// Nothing like a denoiser: exactness must not depend on it.
fn net(x: &[f64], t: f64) -> Vec<f64> {
    (0..x.len()).map(|i| 0.9 * (x[i] * 1.7 + t / 500.0).sin() + 0.3 * x[(i + 1) % x.len()]).collect()
}

fn knobs(set: &[(&str, &str)]) -> KnobValues {
    let mut knobs = KnobValues::new();
    set.iter().for_each(|(k, v)| knobs.set_text(k, v).unwrap());
    knobs
}

#[test]
fn inversion_returns_to_the_start() {
    let model = model();
    let clean = [0.7, -1.3, 2.1, 0.05, -0.6];
    for (steps, strength, gamma) in
        [(2, None, "1"), (20, None, "1"), (50, None, "1"), (20, Some(0.6), "1"), (12, None, "0.96")]
    {
        let knobs = knobs(&[("bdia_gamma", gamma)]);
        let request = PlanRequest { model: &model, sampler: "bdia", schedule: "", steps, strength, knobs: &knobs };
        let inversion = invert(&request).unwrap();
        let mut registers = cpu::registers(&inversion.encode, &clean, |_| vec![0.0; 5]);
        cpu::steps(&inversion.encode.ops, &mut registers, &mut |_| unreachable!("no noise"), &mut net);
        let noisy = registers[0].clone();
        cpu::steps(&inversion.decode.ops, &mut registers, &mut |_| unreachable!("no noise"), &mut net);
        let back = &registers[inversion.decode.result.0];
        if gamma == "1" {
            // To the last bit, but for the rounding that makes it so.
            let unit = 2f64.powi(admix_sample::solvers::bdia::GRAIN);
            assert_eq!(*back, clean.map(|v| (v * unit).round_ties_even() / unit), "{steps} {strength:?}");
        }
        let far: f64 = back.iter().zip(clean).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        // f64 rounding, raised by 1 / gamma each step: 0.96^-12 is 1.6.
        assert!(far < if gamma == "1" { 5e-6 } else { 1e-11 }, "{steps} {strength:?} {gamma}: {far:.1e}");
        assert!(noisy.iter().zip(clean).any(|(a, b)| (a - b).abs() > 0.5), "nothing was encoded: {noisy:?}");
        assert_eq!(inversion.encode.evaluations(), inversion.decode.evaluations() + 1);
    }
}

#[test]
fn inversion_says_what_it_cannot_do() {
    let model = model();
    let zero = knobs(&[("bdia_gamma", "0")]);
    let request = PlanRequest { model: &model, sampler: "bdia", schedule: "", steps: 20, strength: None, knobs: &zero };
    assert!(invert(&request).unwrap_err().to_string().contains("bdia_gamma"));
    let pushed = knobs(&[("cfg_pp", "on")]);
    assert!(invert(&PlanRequest { knobs: &pushed, ..request }).unwrap_err().to_string().contains("CFG++"));
    let none = KnobValues::new();
    assert!(invert(&PlanRequest { steps: 1, knobs: &none, ..request }).unwrap_err().to_string().contains("two steps"));
}

fn levels(request: &PlanRequest<'_>) -> Vec<f64> {
    let plan = plan(request).unwrap();
    plan.ops.iter().filter_map(|op| if let Op::Denoise { sigma, .. } = op { Some(*sigma) } else { None }).collect()
}

#[test]
fn levels_and_steps_by_hand() {
    let model = model();
    let set = knobs(&[("sigmas", "[14.6, 3.2, 0.9 0]")]);
    let request =
        PlanRequest { model: &model, sampler: "euler", schedule: "karras", steps: 20, strength: None, knobs: &set };
    assert_eq!(levels(&request), [14.6, 3.2, 0.9]);
    let none = KnobValues::new();
    let all = levels(&PlanRequest { knobs: &none, ..request });
    let part = knobs(&[("start_step", "5"), ("end_step", "15")]);
    assert_eq!(levels(&PlanRequest { knobs: &part, ..request }), all[5..15]);
    // The last step ends without noise.
    let ends = plan(&PlanRequest { knobs: &part, ..request }).unwrap();
    assert!(matches!(ends.ops.last(), Some(Op::StepEnd { sigma, x, .. }) if *sigma == 0.0 && *x == X));
    for (bad, word) in [
        (vec![("sigmas", "1, 2")], "fall"),
        (vec![("sigmas", "3, -1")], "fall"),
        (vec![("sigmas", "0")], "run"),
        (vec![("sigmas", "3, x")], "number"),
        (vec![("start_step", "20")], "nothing to do"),
        (vec![("start_step", "5"), ("end_step", "5")], "nothing to do"),
    ] {
        let set = knobs(&bad);
        let message = plan(&PlanRequest { knobs: &set, ..request }).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn predictions_by_hand() {
    let model = model();
    let none = KnobValues::new();
    let request = PlanRequest { model: &model, sampler: "euler", schedule: "", steps: 5, strength: None, knobs: &none };
    // Zero terminal SNR with v-prediction and trailing spacing starts where there is no signal.
    let zero = knobs(&[("zero_snr", "on"), ("prediction", "v_prediction"), ("spacing", "trailing")]);
    assert!((levels(&PlanRequest { knobs: &zero, ..request })[0] - 4096.0).abs() < 0.01);
    // A flow model with shift 3: x0 + sigma noise seen from shares of noise that fall evenly before the shift.
    let flow = knobs(&[("prediction", "flow"), ("shift", "3")]);
    let sigmas = levels(&PlanRequest { knobs: &flow, ..request });
    let u = |s: f64| {
        let t = s / (1.0 + s);
        t / (3.0 - 2.0 * t)
    };
    assert!((u(sigmas[1]) - (u(sigmas[0]) + u(sigmas[2])) / 2.0).abs() < 1e-5, "{sigmas:?}");
    let edm = knobs(&[("prediction", "edm")]);
    let request = PlanRequest { knobs: &edm, ..request };
    assert!((levels(&request)[0] - 80.0).abs() < 1e-9);
    let told = plan(&request).unwrap().timesteps();
    assert!((told[0] - 80f64.ln() / 4.0).abs() < 1e-9, "{told:?}");
}
