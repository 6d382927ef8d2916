//! Every way to guide against tests/golden/make_guidance.py: eight Euler steps of a small model, final latents to 1e-3.

use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::{Control, Given, Rendered};
use admix_tests::{Golden, distance, pipeline, session};
use serde_json::{Value, json};

fn recipe(model: &str, steps: u32, size: (u32, u32), case: &Value) -> Recipe {
    let mut recipe = Recipe::new(pipeline(model).display().to_string());
    recipe.sample = Sample {
        sampler: Some("euler".into()),
        schedule: Some("normal".into()),
        steps: Some(steps),
        cfg: case["cfg"].as_f64(),
        cfg_rescale: case["cfg_rescale"].as_f64(),
        width: Some(size.0),
        height: Some(size.1),
        ..Sample::default()
    };
    for (name, value) in case["set"].as_object().into_iter().flatten() {
        recipe.sample.set.insert(name.clone(), value.clone());
    }
    recipe
}

struct Inputs {
    golden: Golden,
    given: Given,
    model: String,
    steps: u32,
    size: (u32, u32),
}

fn inputs() -> Inputs {
    let golden = Golden::open("guidance");
    let about = golden.about();
    let model = about["model"].as_str().expect("a model").to_owned();
    let source = Golden::open(&format!("models/{model}"));
    let given = Given {
        noise: Some(source.tensor("noise")),
        cond: Some(source.tensor("cond")),
        uncond: Some(source.tensor("uncond")),
        ..Given::default()
    };
    let edge = |key: &str| source.about()[key].as_u64().expect("a size") as u32;
    Inputs {
        steps: about["steps"].as_u64().expect("steps") as u32,
        size: (edge("width"), edge("height")),
        golden,
        given,
        model,
    }
}

/// Eight steps leave f32 rounding, raised by guidance scales up to 12 and, with APG or thresholds, by divisions through small sigmas.
const LATENTS: f64 = 1e-3;

#[test]
fn every_guidance_matches_its_oracle() {
    let i = inputs();
    let about = i.golden.about();
    let plain = i.golden.tensor::<4>("cfg").0;
    let mut session = session();
    let mut covered = String::new();
    for (name, case) in about["cases"].as_object().expect("cases") {
        let recipe = recipe(&i.model, i.steps, i.size, case);
        let mut given = i.given.clone();
        if name == "perp_neg" {
            given.uncond = Some(i.golden.tensor("negative"));
        }
        let done: Rendered = pollster::block_on(session.render(&recipe, &given, &mut Control::default()))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let (expected, shape) = i.golden.tensor::<4>(name);
        assert_eq!(done.shape, shape, "{name}");
        let far = distance(&done.latents, &expected);
        println!("{name}: {far:.1e}");
        assert!(far <= LATENTS, "{name}: latents differ by {far:.2e}");
        if !["cfg", "one_by_one"].contains(&name.as_str()) {
            assert!(
                distance(&expected, &plain) > 0.01,
                "{name} is the same as plain guidance: the fixture proves nothing"
            );
        }
        covered.push_str(&case.to_string());
    }
    // Every technique has a case.
    for info in admix_engine::sample::registry::guidance() {
        let seen = ["cfg", "cfg_rescale"].contains(&info.name)
            || info.knobs.iter().any(|k| covered.contains(&format!("\"{}\"", k.name)));
        assert!(seen, "{} has no fixture", info.name);
    }
}

/// In one batch or one by one: the same latents, and the report says which.
#[test]
fn branches_at_once_or_one_by_one() {
    let i = inputs();
    let mut session = session();
    let mut render = |batch: &str| {
        let case = json!({"cfg": 7.5, "cfg_rescale": 0.0, "set": {"guidance_batch": batch}});
        let recipe = recipe(&i.model, i.steps, i.size, &case);
        pollster::block_on(session.render(&recipe, &i.given, &mut Control::default())).expect("renders")
    };
    let [auto, on, off] = ["auto", "on", "off"].map(&mut render);
    use admix_engine::Batching::{OneByOne, Together};
    assert_eq!([auto.batching, on.batching, off.batching], [Some(Together), Some(Together), Some(OneByOne)]);
    let far = distance(&off.latents, &on.latents);
    println!("one by one: {far:.1e}");
    assert!(auto.latents == on.latents && far <= 1e-5, "{far:.2e}");
}

#[test]
fn guidance_that_cannot_be_is_one_clear_line() {
    let i = inputs();
    let mut session = session();
    for (set, word) in [
        (json!({"apg": "on", "dynthresh": "on"}), "choose one"),
        (json!({"pag_scale": 3, "pag_layers": "up.9"}), "no self-attention"),
        (json!({"pag_scale": 3, "pag_layers": "left"}), "no block"),
        (json!({"cfg_curve": "0:9, 0:3"}), "grow"),
        (json!({"cfg_curve": "nine"}), "no point"),
        (json!({"pag_scale": -1}), "pag_scale"),
    ] {
        let case = json!({"cfg": 7.5, "cfg_rescale": 0.0, "set": set});
        let recipe = recipe(&i.model, i.steps, i.size, &case);
        let Err(error) = pollster::block_on(session.render(&recipe, &i.given, &mut Control::default())) else {
            panic!("{case} renders");
        };
        let message = error.to_string();
        assert!(message.contains(word) && message.lines().count() == 1, "{message}");
    }
}
