//! Pictures with adapters that are no LoRA against diffusers with the weights of LyCORIS and peft (`tests/golden/make_adapter_families.py`), SDXL
//! with a LoRA under sgm names against diffusers' own loader (`make_xl_adapter.py`) and with one of OneTrainer's against peft (`make_onetrainer.py`),
//! and an LCM-LoRA against diffusers (`make_lcm_lora.py`).

use admix_engine::files::{Checkpoint, DType, ready};
use admix_engine::mix::ExportLayout;
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::model::store::Store;
use admix_engine::model::text::TextEncoder;
use admix_engine::{Control, Given, Rendered, Session};
use admix_tests::{Golden, distance, fill, golden, pipeline, read_text, scratch, session};

/// 20 Euler steps with guidance of a model's fixture, with an adapter on it.
fn recipe(model: &str, adapter: &str) -> Recipe {
    let about = Golden::open(&format!("models/{model}")).about();
    let edge = |key: &str| about[key].as_u64().expect("a size") as u32;
    let mut recipe = Recipe::new(pipeline(model).display().to_string());
    recipe.adapters = vec![AdapterUse::new(golden().join(adapter).display().to_string(), 1.0)];
    recipe.sample = Sample {
        sampler: Some("euler".into()),
        schedule: Some("normal".into()),
        steps: Some(20),
        cfg: Some(7.5),
        width: Some(edge("width")),
        height: Some(edge("height")),
        ..Sample::default()
    };
    recipe
}

/// Renders, with everything of the adapter applied.
fn render(session: &mut Session, recipe: &Recipe, given: &Given) -> Rendered {
    let done = pollster::block_on(session.render(recipe, given, &mut Control::default())).expect("renders");
    assert!(done.adapters[0].unmatched.is_empty() && done.adapters[0].mismatched.is_empty());
    done
}

/// Latents to 1e-3: the base's own runs keep to that (families.rs), and other weights of the same size change nothing about it.
fn near(what: &str, found: &[f32], golden_file: &Golden, key: &str) {
    let far = distance(found, &golden_file.tensor::<4>(key).0);
    println!("{what}: {far:.1e}");
    assert!(far <= 1e-3, "{what}: latents differ by {far:.2e}");
}

/// The mix as written in f32, every tensor that the adapter touches held against the oracle's; `count` of them.
fn check_weights(session: &Session, recipe: &Recipe, golden_file: &Golden, count: usize) -> Checkpoint {
    let out = scratch().join(format!("with-{count}-tensors-changed.safetensors"));
    let mixer = pollster::block_on(session.open_mix(recipe)).expect("opens").with_dtype(Some(DType::F32));
    pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut |_| true)).expect("writes");
    let mixed = Checkpoint::open(&out).expect("opens");
    let about = golden_file.about();
    let steps = about["steps"].as_object().expect("steps");
    for (name, step) in steps {
        let values = ready(mixed.read_f32(name)).expect("reads");
        let found: Vec<f32> = values.iter().step_by(step.as_u64().expect("a step") as usize).copied().collect();
        let far = distance(&found, &golden_file.tensor::<1>(&format!("effective.{name}")).0);
        assert!(far <= 1e-5, "{name}: {far:.1e}");
    }
    assert_eq!((steps.len(), mixer.reports()[0].matched), (count, count));
    mixed
}

#[test]
fn sdxl_with_an_adapter_of_its_trainers_matches_diffusers() {
    let (golden_file, model) = (Golden::open("adapters/xl"), Golden::open("models/sdxl_tiny"));
    let given = Given {
        noise: Some(model.tensor("noise")),
        cond: Some(model.tensor("cond")),
        uncond: Some(model.tensor("uncond")),
        pooled_cond: Some(model.tensor("pooled_cond")),
        pooled_uncond: Some(model.tensor("pooled_uncond")),
        ..Given::default()
    };
    let recipe = recipe("sdxl_tiny", "adapters/xl.safetensors");
    let mut session = session();
    let done = render(&mut session, &recipe, &given);
    near("sdxl_tiny with its adapter", &done.latents, &golden_file, "latents.euler_normal");
    // The weights of U-Net and both text encoders.
    check_weights(&session, &recipe, &golden_file, 18);
}

/// OneTrainer also trains the second text encoder's projection, whose only effect is in the pooled text: so what both encoders say with the adapter is
/// compared too, and the picture is made with that.
#[test]
fn onetrainers_text_projection_matches_peft() {
    let (golden_file, model) = (Golden::open("adapters/onetrainer"), Golden::open("models/sdxl_tiny"));
    let recipe = recipe("sdxl_tiny", "adapters/onetrainer.safetensors");
    let mut session = session();
    let mixed = check_weights(&session, &recipe, &golden_file, 10);
    assert!(golden_file.about()["steps"].get("text_encoder_2.text_projection.weight").is_some());

    let gpu = session.gpu().clone();
    let mut store = Store::new(&gpu, |_| false);
    let mut build = |config: &Option<_>, name: &str| {
        TextEncoder::new(&mut store, config.as_ref().expect("a text encoder"), name).expect("builds")
    };
    let first = build(&mixed.text_encoder, "text_encoder");
    let second = build(&mixed.text_encoder_2, "text_encoder_2");
    fill(&store, &mixed);
    let encoders = [(&first, model.tensor("text.ids")), (&second, model.tensor("text_2.ids"))];
    let (states, pooled) = read_text(&gpu, &encoders, 2);
    let (expected, [n, tokens, width]) = golden_file.tensor::<3>("text.out.clip_skip_2");
    let (expected_pooled, [_, features]) = golden_file.tensor::<2>("text.out.pooled");
    for (what, found, expected) in [("states", &states, &expected), ("pooled text", &pooled, &expected_pooled)] {
        let far = distance(found, expected);
        println!("OneTrainer's, {what}: {far:.1e}");
        assert!(far <= 1e-4, "{what}: {far:.2e}");
    }
    // Without the projection's part the pooled text would be the model's own in its last layer.
    assert!(distance(&model.tensor::<2>("text.out.pooled").0, &expected_pooled) > 1e-2);

    let state = |i: usize| Some((states[i * tokens * width..][..tokens * width].to_vec(), [1, tokens, width]));
    let pool = |i: usize| Some((pooled[i * features..][..features].to_vec(), [1, features]));
    assert_eq!(n, 2);
    let given = Given {
        noise: Some(model.tensor("noise")),
        cond: state(0),
        uncond: state(1),
        pooled_cond: pool(0),
        pooled_uncond: pool(1),
        ..Given::default()
    };
    let done = render(&mut session, &recipe, &given);
    near("sdxl_tiny with OneTrainer's adapter", &done.latents, &golden_file, "latents.euler_normal");
}

/// Few steps of `lcm` without guidance on a U-Net that reads no guidance scale, the noise between the steps from the seed's generator.
#[test]
fn an_lcm_lora_matches_diffusers() {
    let golden_file = Golden::open("adapters/lcm_lora");
    let about = golden_file.about();
    let mut recipe = recipe("sd1_tiny", "adapters/lcm_lora.safetensors");
    (recipe.sample.sampler, recipe.sample.cfg) = (Some("lcm".into()), Some(1.0));
    recipe.sample.seed = about["seed"].as_u64();
    let given = Given { cond: Some(Golden::open("models/sd1_tiny").tensor("cond")), ..Given::default() };
    let mut session = session();
    let mut runs = 0;
    for key in golden_file.names().filter(|k| k.starts_with("latents.")) {
        recipe.sample.steps = key.trim_start_matches("latents.").parse().ok();
        let done = render(&mut session, &recipe, &given);
        assert_eq!(Some(done.adapters[0].matched as u64), about["modules"].as_u64());
        near(&format!("LCM-LoRA, {key}"), &done.latents, &golden_file, key);
        runs += 1;
    }
    assert_eq!(runs, 3);
}

#[test]
fn latents_with_other_families_match() {
    let golden_file = Golden::open("families/all");
    let given = Given {
        noise: Some(golden_file.tensor("noise")),
        cond: Some(golden_file.tensor("cond")),
        uncond: Some(golden_file.tensor("uncond")),
        ..Given::default()
    };
    let mut session = session();
    let mut runs = 0;
    for key in golden_file.names().filter(|k| k.starts_with("latents.")) {
        let stem = key.trim_start_matches("latents.");
        let file = format!("families/{stem}.safetensors");
        let path = if golden().join(&file).is_file() { file } else { format!("families/{stem}") };
        let done = pollster::block_on(session.render(&recipe("sd1_tiny", &path), &given, &mut Control::default()));
        near(stem, &done.expect("renders").latents, &golden_file, key);
        runs += 1;
    }
    let fixtures = golden_file.about()["cases"].as_object().expect("cases").keys().filter(|c| !c.contains('@')).count();
    assert!(runs == fixtures && runs >= 31, "{runs} of {fixtures} fixtures");
}
