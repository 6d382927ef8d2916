//! Names, knobs and limits.

use admix_sample::{
    KnobValues, ModelSampling, NoiseConfig, Op, PlanRequest, Prediction, SampleError, cpu, plan, registry, resolve,
};
use serde_json::json;

fn model() -> ModelSampling {
    ModelSampling::new(&NoiseConfig::stable_diffusion(Prediction::Epsilon)).unwrap()
}

fn request<'a>(model: &'a ModelSampling, sampler: &'a str, knobs: &'a KnobValues) -> PlanRequest<'a> {
    PlanRequest { model, sampler, schedule: "auto", steps: 20, strength: None, knobs }
}

#[test]
fn names_people_type() {
    for (typed, schedule, expected) in [
        ("euler", "", ("euler", "normal")),
        ("Euler", "Karras", ("euler", "karras")),
        ("DPM++ 2M", "automatic", ("dpmpp_2m", "normal")),
        ("DPM++ 2M Karras", "", ("dpmpp_2m", "karras")),
        ("dpm++  2m KARRAS", "auto", ("dpmpp_2m", "karras")),
        ("dpmpp_2m_karras", "", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "exponential", ("dpmpp_2m", "exponential")),
        ("DDIM", "", ("ddim", "normal")),
    ] {
        let (solver, laid) = resolve(typed, schedule, "normal").unwrap();
        assert_eq!((solver.info().name, laid.info().name), expected, "{typed} {schedule}");
    }
    for bad in ["eulr", "", "karras", "euler nothing"] {
        let Err(error) = resolve(bad, "", "normal") else { panic!("`{bad}` is no sampler") };
        assert!(matches!(error, SampleError::Unknown { kind: "sampler", .. }));
        assert!(error.to_string().contains("dpmpp_2m"), "{error}");
    }
    assert!(resolve("euler", "karas", "normal").is_err());
}

#[test]
fn every_name_and_alias_is_one_technique() {
    let mut seen = std::collections::BTreeSet::new();
    for info in registry::samplers() {
        assert!(!info.citation.is_empty());
        let label = info.label.to_lowercase();
        let names: std::collections::BTreeSet<&str> =
            [info.name, label.as_str()].into_iter().chain(info.aliases.iter().copied()).collect();
        for name in names {
            assert_eq!(name, name.to_lowercase());
            assert!(seen.insert(name.to_owned()), "`{name}` stands for two samplers");
        }
        for knob in info.knobs {
            assert!(knob.check(knob.default).is_ok(), "{} {}", info.name, knob.name);
        }
    }
}

/// Every sampler with every schedule, few steps and many: finite coefficients, registers in range, every operation in a step.
#[test]
fn every_combination_plans() {
    let model = model();
    let knobs = KnobValues::new();
    for sampler in registry::samplers() {
        for schedule in registry::schedules() {
            for (steps, strength) in
                [(1, None), (2, None), (3, Some(1.0)), (20, Some(0.33)), (20, None), (4, Some(0.0))]
            {
                let about = format!("{} {} {steps} {strength:?}", sampler.name, schedule.name);
                if schedule.name == "turbo" && steps > 10 {
                    continue;
                }
                let request =
                    PlanRequest { schedule: schedule.name, steps, strength, ..request(&model, sampler.name, &knobs) };
                let plan = plan(&request).unwrap_or_else(|e| panic!("{about}: {e}"));
                // ddim_uniform may lay out a step more than was asked for.
                let all = if schedule.name == "ddim_uniform" { 999usize.div_ceil(1000 / steps) } else { steps };
                let run = strength.map_or(all, |s| (all as f64 * s) as usize);
                assert_eq!(plan.steps, run, "{about}");
                assert_eq!(plan.latent_scale, if strength.is_some() { 1.0 } else { 0.0 });
                assert!(plan.init_scale.is_finite() && (run == 0) == (plan.init_scale == 0.0), "{about}");
                let mut ended = 0;
                for op in &plan.ops {
                    let in_range = |r: admix_sample::Reg| assert!(r.0 < plan.registers, "{about}");
                    match op {
                        Op::Denoise { x, sigma, timestep, out, scaling, step, .. } => {
                            in_range(*x);
                            in_range(*out);
                            assert_ne!(x, out, "{about}");
                            assert!(*sigma > 0.0 && (0.0..=999.0).contains(timestep), "{about}: {sigma} {timestep}");
                            assert!(scaling.input.is_finite() && scaling.output.is_finite());
                            assert_eq!(*step, ended, "{about}");
                        }
                        Op::Combine { dst, terms } => {
                            in_range(*dst);
                            for (r, c) in terms {
                                in_range(*r);
                                assert!(c.is_finite(), "{about}: {terms:?}");
                            }
                        }
                        Op::Noise { dst, index } => {
                            in_range(*dst);
                            assert!((1..=plan.noises).contains(index), "{about}");
                        }
                        Op::Snap { .. } | Op::Error { .. } => {
                            panic!("{about}: only inversions and adaptive runs have these")
                        }
                        Op::StepEnd { step, .. } => {
                            assert_eq!(*step, ended, "{about}");
                            ended += 1;
                        }
                    }
                }
                assert_eq!(ended, run, "{about}");
                assert!(matches!(plan.ops.last(), None | Some(Op::StepEnd { .. })), "{about}");
            }
        }
    }
}

/// A network that knows the clean latent exactly leads every sampler there, in one step or in many.
#[test]
fn a_perfect_network_ends_at_its_answer() {
    let model = model();
    let knobs = KnobValues::new();
    for sampler in registry::samplers() {
        for steps in [1, 2, 10, 30] {
            let plan = plan(&PlanRequest { steps, ..request(&model, sampler.name, &knobs) }).unwrap();
            let x0 = [0.5, -1.25, 2.0];
            // The network is told only its input; what it sees is x / sqrt(sigma^2 + 1), so the sigma of each call is taken from the plan.
            let sigmas: Vec<f64> = plan
                .ops
                .iter()
                .filter_map(|op| if let Op::Denoise { sigma, .. } = op { Some(*sigma) } else { None })
                .collect();
            let mut call = sigmas.iter();
            // Signs alternate, so that a sampler's draws do not add up to more than noise would.
            let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
            let draws = |i: usize| vec![sign(i) * (0.3 + 0.1 * (i % 5) as f64), -sign(i), 0.7 * sign(i / 2)];
            let network = |x: &[f64], _: f64| {
                let sigma = call.next().unwrap();
                x.iter().zip(x0).map(|(x, x0)| (x * sigma.hypot(1.0) - x0) / sigma).collect()
            };
            let found = cpu::run(&plan, &[], draws, network);
            for (found, x0) in found.iter().zip(x0) {
                // A sampler may stop at the smallest training sigma, 0.03, and leave that much noise.
                assert!((found - x0).abs() < 0.08, "{} in {steps} steps: {found:?} for {x0}", sampler.name);
            }
        }
    }
}

#[test]
fn strength_zero_is_the_picture_itself() {
    let model = model();
    let knobs = KnobValues::new();
    for sampler in registry::samplers() {
        let plan = plan(&PlanRequest { strength: Some(0.0), ..request(&model, sampler.name, &knobs) }).unwrap();
        let init = [1.0, -2.0, 3.0];
        let found = cpu::run(&plan, &init, |_| vec![9.0; 3], |_, _| unreachable!("nothing to denoise"));
        assert_eq!(found, init, "{}", sampler.name);
    }
}

#[test]
fn bad_settings_are_one_clear_line() {
    let model = model();
    let mut knobs = KnobValues::new();
    let fails = |r: PlanRequest<'_>, expected: &str| {
        let message = plan(&r).unwrap_err().to_string();
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    };
    fails(PlanRequest { steps: 0, ..request(&model, "euler", &knobs) }, "steps");
    fails(PlanRequest { steps: 1001, ..request(&model, "euler", &knobs) }, "1000");
    for strength in [-0.1, 1.1, f64::NAN] {
        fails(PlanRequest { strength: Some(strength), ..request(&model, "euler", &knobs) }, "strength");
    }
    assert!(knobs.set_text("etta", "1").unwrap_err().to_string().contains("eta"));
    assert!(knobs.set_text("eta", "much").is_err());
    assert!(knobs.set_text("spacing", "wide").unwrap_err().to_string().contains("trailing"));
    knobs.set_text("eta", "7").unwrap();
    fails(request(&model, "ddim", &knobs), "eta");
    // A knob of another technique than the one in use.
    let mut knobs = KnobValues::new();
    knobs.set_text("s_churn", "1").unwrap();
    fails(request(&model, "ddim", &knobs), "s_churn");
    // Zero terminal SNR with noise prediction.
    let config = NoiseConfig { zero_snr: true, ..NoiseConfig::stable_diffusion(Prediction::Epsilon) };
    let zero = ModelSampling::new(&config).unwrap();
    let mut knobs = KnobValues::new();
    knobs.set_text("spacing", "trailing").unwrap();
    fails(request(&zero, "ddim", &knobs), "no signal");
}

#[test]
fn diffusers_configuration() {
    let read = |v| NoiseConfig::from_diffusers(&v);
    let plain = read(json!({})).unwrap();
    assert_eq!((plain.train_steps, plain.steps_offset, plain.set_alpha_to_one, plain.spacing), (1000, 0, true, None));
    let sd = json!({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "trained_betas": null,
        "steps_offset": 1, "set_alpha_to_one": false, "prediction_type": "epsilon"});
    assert_eq!(read(sd).unwrap(), NoiseConfig::stable_diffusion(Prediction::Epsilon));
    for bad in [
        json!({"beta_schedule": "sigmoid"}),
        json!({"prediction_type": "flow_prediction"}),
        json!({"timestep_spacing": "even"}),
        json!({"num_train_timesteps": "many"}),
        json!({"trained_betas": [0.1, "x"]}),
        json!({"final_sigmas_type": "none"}),
    ] {
        let message = read(bad.clone()).unwrap_err().to_string();
        assert!(message.contains(bad.as_object().unwrap().keys().next().unwrap().as_str()), "{message}");
    }
    for bad in [
        json!({"beta_end": 7}),
        json!({"num_train_timesteps": 1}),
        json!({"trained_betas": [0.1, 0.2]}),
        json!({"beta_end": -0.1}),
    ] {
        assert!(ModelSampling::new(&read(bad.clone()).unwrap()).is_err(), "{bad}");
    }
    let karras = NoiseConfig { karras: true, ..plain };
    let model = ModelSampling::new(&karras).unwrap();
    let knobs = KnobValues::new();
    let auto = plan(&request(&model, "euler", &knobs)).unwrap();
    let stated = plan(&PlanRequest { schedule: "karras", ..request(&model, "euler", &knobs) }).unwrap();
    assert_eq!(auto, stated);
}
