//! Pictures with adapters that are no LoRA against diffusers with the weights of LyCORIS and peft (`tests/golden/make_adapter_families.py`), and SDXL
//! with a LoRA under sgm names against diffusers' own loader (`make_xl_adapter.py`).

use admix_engine::files::{Checkpoint, DType, ready};
use admix_engine::mix::ExportLayout;
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::{Control, Given};
use admix_tests::{Golden, distance, golden, pipeline, scratch, session};

#[test]
fn sdxl_with_an_adapter_of_its_trainers_matches_diffusers() {
    let (golden_file, model) = (Golden::open("adapters/xl"), Golden::open("models/sdxl_tiny"));
    let edge = |key: &str| model.about()[key].as_u64().expect("a size") as u32;
    let given = Given {
        noise: Some(model.tensor("noise")),
        cond: Some(model.tensor("cond")),
        uncond: Some(model.tensor("uncond")),
        pooled_cond: Some(model.tensor("pooled_cond")),
        pooled_uncond: Some(model.tensor("pooled_uncond")),
        ..Given::default()
    };
    let mut recipe = Recipe::new(pipeline("sdxl_tiny").display().to_string());
    recipe.adapters = vec![AdapterUse::new(golden().join("adapters/xl.safetensors").display().to_string(), 1.0)];
    recipe.sample = Sample {
        sampler: Some("euler".into()),
        schedule: Some("normal".into()),
        steps: Some(20),
        cfg: Some(7.5),
        width: Some(edge("width")),
        height: Some(edge("height")),
        ..Sample::default()
    };
    let mut session = session();
    let done = pollster::block_on(session.render(&recipe, &given, &mut Control::default())).expect("renders");
    assert!(done.adapters[0].unmatched.is_empty() && done.adapters[0].mismatched.is_empty());
    let far = distance(&done.latents, &golden_file.tensor::<4>("latents.euler_normal").0);
    println!("sdxl_tiny with its adapter: {far:.1e}");
    assert!(far <= 1e-3, "latents differ by {far:.2e}");

    // The weights of U-Net and both text encoders, as written in f32.
    let out = scratch().join("xl-with-adapter.safetensors");
    let mixer = pollster::block_on(session.open_mix(&recipe)).expect("opens").with_dtype(Some(DType::F32));
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
    assert_eq!((steps.len(), mixer.reports()[0].matched), (18, 18));
}

#[test]
fn latents_with_other_families_match() {
    let golden_file = Golden::open("families/all");
    let model = Golden::open("models/sd1_tiny");
    let edge = |key: &str| model.about()[key].as_u64().expect("a size") as u32;
    let given = Given {
        noise: Some(golden_file.tensor("noise")),
        cond: Some(golden_file.tensor("cond")),
        uncond: Some(golden_file.tensor("uncond")),
        ..Given::default()
    };
    let mut runs = 0;
    for key in golden_file.names().filter(|k| k.starts_with("latents.")) {
        let stem = key.trim_start_matches("latents.");
        let file = golden().join(format!("families/{stem}.safetensors"));
        let path = if file.is_file() { file } else { golden().join(format!("families/{stem}")) };
        let mut recipe = Recipe::new(pipeline("sd1_tiny").display().to_string());
        recipe.adapters = vec![AdapterUse::new(path.display().to_string(), 1.0)];
        recipe.sample = Sample {
            sampler: Some("euler".into()),
            schedule: Some("normal".into()),
            steps: Some(20),
            cfg: Some(7.5),
            width: Some(edge("width")),
            height: Some(edge("height")),
            ..Sample::default()
        };
        let mut session = session();
        let done = pollster::block_on(session.render(&recipe, &given, &mut Control::default())).expect("renders");
        let (expected, shape) = golden_file.tensor::<4>(key);
        assert_eq!(done.shape, shape, "{stem}");
        let far = distance(&done.latents, &expected);
        println!("{stem}: {far:.1e}");
        // The base's own runs keep to 1e-3 (pipelines.rs); another weight of the same size changes nothing about that.
        assert!(far <= 1e-3, "{stem}: latents differ by {far:.2e}");
        runs += 1;
    }
    let fixtures = golden_file.about()["cases"].as_object().expect("cases").keys().filter(|c| !c.contains('@')).count();
    assert!(runs == fixtures && runs >= 31, "{runs} of {fixtures} fixtures");
}
