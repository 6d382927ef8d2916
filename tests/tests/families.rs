//! SDXL, its refiner, the Turbo models, LCM and inpainting against diffusers at random small configurations: one pass of each network to 1e-4, latents after 20 steps with
//! guidance to 1e-3, pictures to 45 dB; single passes in both kernel tiers.

use std::collections::HashMap;
use std::path::Path;

use admix_engine::files::DType;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::model::store::Store;
use admix_engine::model::text::TextEncoder;
use admix_engine::model::unet::{Extras, UNet};
use admix_engine::render::to_nhwc;
use admix_engine::tensor::kernels::Picture as Size;
use admix_engine::tensor::{DeviceOptions, Gpu, Recorder, Tensor, Tier};
use admix_engine::{Control, Given, Picture, Rendered};
use admix_tests::{Golden, distance, fill, golden, pipeline, psnr, read_text, scratch, session, synthetic};
use serde_json::Value;

const PASS: f64 = 1e-4;
const LATENTS: f64 = 1e-3;
const PSNR: f64 = 45.0;

fn near(what: &str, found: &[f32], expected: &[f32]) {
    let far = distance(found, expected);
    println!("{what}: {far:.1e}");
    assert!(far <= PASS, "{what}: {far:.2e}");
}

/// Text encoders: states joined feature by feature, and the pooled row of the end token.
fn check_text(gpu: &std::sync::Arc<Gpu>, name: &str, golden: &Golden, encoders: &[(&TextEncoder, &str)]) {
    for skip in [2, 3] {
        let given: Vec<_> = encoders.iter().map(|(text, key)| (*text, golden.tensor::<2>(key))).collect();
        let (states, pooled) = read_text(gpu, &given, skip);
        near(&format!("{name} pooled {:?}", gpu.tier), &pooled, &golden.tensor::<2>("text.out.pooled").0);
        let key = format!("text.out.clip_skip_{skip}");
        near(&format!("{name} {key} {:?}", gpu.tier), &states, &golden.tensor::<3>(&key).0);
    }
}

/// What the fixture's single pass was told besides the text states.
fn extras(golden: &Golden, unet: &UNet, xl: bool) -> Extras {
    let mut extras = Extras::default();
    if xl {
        extras.pooled = [golden.tensor::<2>("pooled_uncond").0, golden.tensor::<2>("pooled_cond").0].concat();
        let sizes = &golden.about()["sizes"];
        let pair = |key: &str| (0..2).map(|i| sizes[key][i].as_f64().expect("a number")).collect::<Vec<_>>();
        let mut all = ["original_size", "crops_coords_top_left", "target_size"].map(pair);
        let is_refiner = golden.about()["model"] == "refiner_tiny";
        // The refiner reads a score in place of the target size: one for negative prompts, one for prompts.
        for score in [2.5, 6.0] {
            if is_refiner {
                all[2] = vec![score];
            }
            extras.time_ids.extend(all.concat());
        }
    }
    extras.guidance = unet.reads_guidance().then_some(7.5);
    extras
}

fn check_networks(name: &str, tier: Tier) {
    let options = DeviceOptions { tier: Some(tier), ..Default::default() };
    let gpu = pollster::block_on(Gpu::open(&options)).expect("a Vulkan driver");
    let golden = Golden::open(&format!("models/{name}"));
    let checkpoint = Checkpoint::open(pipeline(name)).expect("opens");
    checkpoint.check_renderable().expect("whole");
    let types: HashMap<String, DType> = checkpoint.tensors.iter().map(|(n, t)| (n.clone(), t.info.dtype)).collect();
    let mut store = Store::new(&gpu, move |n| types.get(n) == Some(&DType::F16));
    let unet = UNet::new(&mut store, checkpoint.unet.as_ref().expect("a U-Net")).expect("builds");
    let mut build = |config: &Option<_>, name: &str| {
        config.as_ref().map(|c| TextEncoder::new(&mut store, c, name).expect("builds"))
    };
    let first = build(&checkpoint.text_encoder, "text_encoder");
    let second = build(&checkpoint.text_encoder_2, "text_encoder_2");
    fill(&store, &checkpoint);

    if let Some(second) = &second {
        let first = first.as_ref().map(|first| (first, "text.ids"));
        check_text(&gpu, name, &golden, &first.into_iter().chain([(second, "text_2.ids")]).collect::<Vec<_>>());
    }
    let (sample, shape) = golden.tensor::<4>("unet.in.sample");
    let (uncond, [_, tokens, width]) = golden.tensor::<3>("uncond");
    let context = [uncond, golden.tensor::<3>("cond").0].concat();
    let context = Tensor::upload(&gpu, "context", &context, 2 * tokens, width).expect("fits");
    let extras = extras(&golden, &unet, second.is_some());
    let cond = unet.condition(&gpu, &[981.0, 17.0], &context, 2, &extras).expect("records");
    cond.prelude.submit();
    let pass = unet.record(&gpu, Size { n: shape[0], h: shape[2], w: shape[3] }, &cond).expect("records");
    if let Some(extra) = &pass.extra {
        let (data, shape) = golden.tensor::<4>("extra");
        extra.write(&gpu, &to_nhwc(&data, shape).repeat(2));
    }
    for (row, key) in [(0, "unet.out.t981"), (1, "unet.out.t17")] {
        let mut rec = Recorder::new(&gpu);
        cond.select(&mut rec, row);
        rec.finish().submit();
        pass.input.write(&gpu, &to_nhwc(&sample, shape));
        pass.program.submit();
        let found = pollster::block_on(pass.output.read(&gpu)).expect("reads back");
        let (expected, out) = golden.tensor::<4>(key);
        near(&format!("{name} {key} {tier:?}"), &found, &to_nhwc(&expected, out));
    }
}

fn recipe(model: &Path, run: &str, about: &Value) -> Recipe {
    let (sampler, schedule) = run.rsplit_once('_').expect("SAMPLER_SCHEDULE");
    let edge = |key: &str| about[key].as_u64().map(|v| v as u32);
    let mut recipe = Recipe::new(model.display().to_string());
    recipe.sample = Sample {
        sampler: Some(sampler.into()),
        schedule: Some(schedule.into()),
        steps: Some(20),
        cfg: Some(7.5),
        width: edge("width"),
        height: edge("height"),
        ..Sample::default()
    };
    recipe
}

fn given(golden: &Golden) -> Given {
    let has = |key: &str| golden.names().any(|n| n == key);
    Given {
        noise: Some(golden.tensor("noise")),
        cond: Some(golden.tensor("cond")),
        uncond: Some(golden.tensor("uncond")),
        pooled_cond: has("pooled_cond").then(|| golden.tensor("pooled_cond")),
        pooled_uncond: has("pooled_uncond").then(|| golden.tensor("pooled_uncond")),
        extra: has("extra").then(|| golden.tensor("extra")),
        ..Given::default()
    }
}

fn render(recipe: &Recipe, given: &Given) -> Rendered {
    let mut session = session();
    pollster::block_on(session.render(recipe, given, &mut Control::default())).expect("renders")
}

fn check_renders(name: &str) {
    let golden_file = Golden::open(&format!("models/{name}"));
    let (about, given) = (golden_file.about(), given(&golden_file));
    let mut runs = 0;
    for key in golden_file.names().filter(|k| k.starts_with("latents.") || k.starts_with("sized.")) {
        let (kind, run) = key.split_once('.').expect("KIND.RUN");
        let mut recipe = recipe(&pipeline(name), run, &about);
        if kind == "sized" {
            // Heights first there, widths first here.
            for (knob, field) in
                [("original_size", "original_size"), ("crop", "crops_coords_top_left"), ("target_size", "target_size")]
            {
                let pair = &about["sizes"][field];
                recipe.sample.set.insert(knob.into(), format!("{}x{}", pair[1], pair[0]).into());
            }
        }
        let done = render(&recipe, &given);
        let (expected, shape) = golden_file.tensor::<4>(key);
        assert_eq!(done.shape, shape, "{name} {key}");
        let far = distance(&done.latents, &expected);
        println!("{name} {key}: {far:.1e}");
        assert!(far <= LATENTS, "{name} {key}: latents differ by {far:.2e}");
        runs += 1;
        if let Ok(bytes) = std::fs::read(golden().join(format!("models/{name}.{run}.png")))
            && kind == "latents"
        {
            let expected = Picture::decode(&bytes, "golden picture").expect("a PNG");
            let db = psnr(&done.pictures[0].rgb, &expected.rgb);
            println!("{name} {run}: {db:.1} dB");
            assert!(db >= PSNR, "{name} {run}: {db:.1} dB");
        }
    }
    assert!(runs >= 3, "{name} has {runs} runs");
}

#[test]
fn networks_of_every_family_match_diffusers() {
    for name in [
        "sdxl_tiny",
        "sdxl_odd",
        "refiner_tiny",
        "lcm_tiny",
        "inpaint_tiny",
        "pix2pix_tiny",
        "sd_turbo_tiny",
        "sdxl_turbo_tiny",
    ] {
        for tier in [Tier::Cpu, Tier::Gpu] {
            check_networks(name, tier);
        }
    }
}

#[test]
fn sdxl_matches_diffusers() {
    check_renders("sdxl_tiny");
    check_renders("sdxl_odd");
}

#[test]
fn the_refiner_matches_diffusers() {
    check_renders("refiner_tiny");
}

#[test]
fn a_model_that_reads_the_guidance_scale_matches_diffusers() {
    check_renders("lcm_tiny");
}

/// SD-Turbo and SDXL-Turbo as they are used: one to four steps from the noisiest timestep on (`timestep_spacing` trailing, from the scheduler's
/// file), no guidance. In one step, ComfyUI's `sgm_uniform` begins there too.
#[test]
fn turbo_models_match_diffusers_in_few_steps() {
    for name in ["sd_turbo_tiny", "sdxl_turbo_tiny"] {
        check_renders(name);
        let golden_file = Golden::open(&format!("models/{name}"));
        let (about, given) = (golden_file.about(), given(&golden_file));
        let mut runs = 0;
        for key in golden_file.names().filter(|k| k.starts_with("few.")) {
            let [_, run, steps] = key.split('.').collect::<Vec<_>>()[..] else { panic!("{key}: few.RUN.STEPS") };
            let mut recipe = recipe(&pipeline(name), run, &about);
            (recipe.sample.steps, recipe.sample.cfg) = (steps.parse().ok(), Some(1.0));
            let schedules: &[&str] = if steps == "1" { &["normal", "sgm_uniform"] } else { &["normal"] };
            for schedule in schedules {
                recipe.sample.schedule = Some((*schedule).into());
                let done = render(&recipe, &given);
                let (expected, shape) = golden_file.tensor::<4>(key);
                assert_eq!(done.shape, shape, "{name} {key}");
                let far = distance(&done.latents, &expected);
                println!("{name} {key} {schedule}: {far:.1e}");
                assert!(far <= LATENTS, "{name} {key} {schedule}: latents differ by {far:.2e}");
            }
            runs += 1;
        }
        assert!(runs >= 2, "{name} has {runs} runs of few steps");
    }
}

#[test]
fn a_model_with_extra_channels_matches_diffusers() {
    check_renders("inpaint_tiny");
    check_renders("pix2pix_tiny");
    // Without them it says what it needs.
    let golden_file = Golden::open("models/inpaint_tiny");
    let without = Given { extra: None, ..given(&golden_file) };
    let recipe = recipe(&pipeline("inpaint_tiny"), "euler_normal", &golden_file.about());
    let mut session = session();
    let refused = pollster::block_on(session.render(&recipe, &without, &mut Control::default()));
    let why = refused.err().expect("refused").to_string();
    assert!(why.contains("inpainting") && why.contains("mask"), "{why}");
}

#[test]
fn a_family_that_cannot_be_is_refused() {
    let golden_file = Golden::open("models/sdxl_tiny");
    let mut recipe = recipe(&pipeline("sdxl_tiny"), "euler_normal", &golden_file.about());
    recipe.sample.set.insert("family".into(), "sd1".into());
    let mut session = session();
    let refused = pollster::block_on(session.render(&recipe, &given(&golden_file), &mut Control::default()));
    let why = refused.err().expect("refused").to_string();
    assert!(why.contains("it cannot be SD 1.x: its U-Net has SDXL's added embedding"), "{why}");
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_loading() {
    let golden_file = Golden::open("models/sdxl_tiny");
    let recipe = recipe(&pipeline("sdxl_tiny"), "euler_normal", &golden_file.about());
    let options = DeviceOptions { memory: Some(1 << 20), ..Default::default() };
    let mut session = pollster::block_on(admix_engine::Session::open(&options)).expect("a Vulkan driver");
    let refused = pollster::block_on(session.render(&recipe, &given(&golden_file), &mut Control::default()));
    let why = refused.err().expect("refused").to_string();
    assert!(why.contains("1 MB are free") && why.contains("U-Net "), "{why}");
    assert_eq!(session.model_bytes(), 0);
}

#[test]
fn an_sgm_file_of_sdxl_gives_what_its_folder_gives() {
    let name = "sdxl_tiny";
    let golden_file = Golden::open(&format!("models/{name}"));
    let file = scratch().join("sdxl_tiny.safetensors");
    synthetic::write_ldm(&golden(), name, &file).expect("writes");
    let checkpoint = Checkpoint::open(&file).expect("opens");
    assert_eq!(checkpoint.family.id(), "sdxl");
    assert!((checkpoint.vae.as_ref().expect("a VAE").scaling_factor - 0.13025).abs() < 1e-9);
    let mut both = Vec::new();
    for model in [pipeline(name), file] {
        let mut recipe = recipe(&model, "euler_normal", &golden_file.about());
        recipe.sample.steps = Some(3);
        both.push(render(&recipe, &given(&golden_file)));
    }
    // The folder says leading steps; the file says nothing, and single files are taken for what Stability published: the same.
    assert!(both[0].latents == both[1].latents, "the same weights, but other bits");
    assert!(both[0].pictures == both[1].pictures);
}
