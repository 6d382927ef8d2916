//! Whole renders against diffusers: final latents after 20 steps with guidance to 1e-3, pictures to 45 dB (tests/golden/README.md says why).

use std::path::Path;

use admix_engine::mix::recipe::{AdapterUse, ModelUse, Recipe, Sample, Stage};
use admix_engine::mix::{ExportLayout, Mixer};
use admix_engine::{Control, Given, Picture, Progress, Rendered, files::DType};
use admix_tests::{Golden, distance, golden, pipeline, psnr, scratch, session, synthetic};

const LATENTS: f64 = 1e-3;
const PSNR: f64 = 45.0;

fn recipe(model: &Path, sampler: &str, schedule: &str, size: (usize, usize)) -> Recipe {
    let mut recipe = Recipe::new(model.display().to_string());
    recipe.sample = Sample {
        sampler: Some(sampler.into()),
        schedule: Some(schedule.into()),
        steps: Some(20),
        cfg: Some(7.5),
        width: Some(size.0 as u32),
        height: Some(size.1 as u32),
        ..Sample::default()
    };
    recipe
}

/// Noise and embeddings as the golden runs had them.
fn given(golden: &Golden) -> Given {
    Given {
        noise: Some(golden.tensor("noise")),
        cond: Some(golden.tensor("cond")),
        uncond: Some(golden.tensor("uncond")),
        ..Given::default()
    }
}

fn size(golden: &Golden) -> (usize, usize) {
    let about = golden.about();
    let edge = |key: &str| about[key].as_u64().expect("a size") as usize;
    (edge("width"), edge("height"))
}

fn render(recipe: &Recipe, given: &Given) -> Rendered {
    let mut session = session();
    pollster::block_on(session.render(recipe, given, &mut Control::default())).expect("renders")
}

/// Every run that the fixture holds.
fn check(name: &str) {
    let golden_file = Golden::open(&format!("models/{name}"));
    let (folder, size) = (pipeline(name), size(&golden_file));
    let given = given(&golden_file);
    let mut runs = 0;
    for key in golden_file.names().filter(|k| k.starts_with("latents.") && !k.contains("img2img")) {
        let run = key.trim_start_matches("latents.");
        let (sampler, schedule) = run.rsplit_once('_').expect("SAMPLER_SCHEDULE");
        let done = render(&recipe(&folder, sampler, schedule, size), &given);
        let (expected, shape) = golden_file.tensor::<4>(key);
        assert_eq!(done.shape, shape, "{name} {run}");
        let far = distance(&done.latents, &expected);
        println!("{name} {run}: {far:.1e}");
        assert!(far <= LATENTS, "{name} {run}: latents differ by {far:.2e}");
        runs += 1;
        let png = golden().join(format!("models/{name}.{run}.png"));
        if let Ok(bytes) = std::fs::read(&png) {
            let expected = Picture::decode(&bytes, "golden picture").expect("a PNG");
            let db = psnr(&done.pictures[0].rgb, &expected.rgb);
            println!("{name} {run}: {db:.1} dB");
            assert!(db >= PSNR, "{name} {run}: {db:.1} dB");
        }
    }
    assert!(runs >= 5, "{name} has {runs} runs");
}

#[test]
fn sd1_tiny_matches_diffusers() {
    check("sd1_tiny");
}

#[test]
fn sd2_tiny_with_v_prediction_matches_diffusers() {
    check("sd2_tiny");
}

#[test]
fn four_levels_match_diffusers() {
    check("sd1_4level");
}

#[test]
fn odd_widths_and_sizes_match_diffusers() {
    check("odd_widths");
}

#[test]
fn a_single_file_gives_what_its_folder_gives() {
    let name = "sd1_4level";
    let golden_file = Golden::open(&format!("models/{name}"));
    let file = scratch().join("four.safetensors");
    synthetic::write_ldm(&golden(), name, &file).expect("writes");
    let (given, size) = (given(&golden_file), size(&golden_file));
    let mut both = Vec::new();
    for model in [pipeline(name), file] {
        let mut recipe = recipe(&model, "euler", "normal", size);
        recipe.sample.steps = Some(3);
        both.push(render(&recipe, &given));
    }
    assert!(both[0].latents == both[1].latents, "the same weights, but other bits");
    assert!(both[0].pictures == both[1].pictures);
}

#[test]
fn picture_to_picture_matches_diffusers() {
    // The golden picture is made of floats, ours of whole 8-bit values: an RMS of 0.29/127.5 = 0.23 % of its range, which the encoder and the
    // steps pass on as up to twice that. A missed scaling factor, a wrong start or a wrong number of steps shows at 10 % and more.
    for name in ["sd1_tiny", "sd2_tiny"] {
        let golden_file = Golden::open(&format!("models/{name}"));
        let (image, [_, channels, h, w]) = golden_file.tensor::<4>("vae.in.image");
        let nhwc: Vec<f32> =
            (0..h * w).flat_map(|i| (0..channels).map(move |c| (i, c))).map(|(i, c)| image[c * h * w + i]).collect();
        let given = Given { init: Some(Picture::from_unit(&nhwc, w, h)), ..given(&golden_file) };
        let mut recipe = recipe(&pipeline(name), "euler", "normal", (w, h));
        recipe.sample.strength = Some(0.6);
        let far =
            distance(&render(&recipe, &given).latents, &golden_file.tensor::<4>("latents.img2img_euler_normal").0);
        println!("{name} img2img: {far:.1e}");
        assert!(far <= 5e-3, "{name}: picture to picture differs by {far:.2e}");
    }
}

/// `sd1_tiny` with f32 weights, so that nothing is rounded after an adapter is added.
fn wide_sd1_tiny() -> std::path::PathBuf {
    let out = scratch().join("sd1_tiny_f32.safetensors");
    if !out.is_file() {
        let session = session();
        let mixer = pollster::block_on(session.open_mix(&Recipe::new(pipeline("sd1_tiny").display().to_string())));
        let mixer: Mixer = mixer.expect("opens").with_dtype(Some(DType::F32));
        pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut |_| true)).expect("writes");
    }
    out
}

fn two_adapters(mut recipe: Recipe) -> Recipe {
    let used = |file: &str, weight| AdapterUse::new(golden().join("adapters").join(file).display().to_string(), weight);
    recipe.adapters = vec![used("kohya.safetensors", 0.8), used("diffusers.safetensors", 0.5)];
    recipe
}

#[test]
fn two_adapters_match_peft_merged_and_beside() {
    let golden_file = Golden::open("adapters/two");
    let model = wide_sd1_tiny();
    let given = given(&golden_file);
    for run in ["dpmpp_2m_karras", "euler_normal"] {
        let (sampler, schedule) = run.rsplit_once('_').expect("SAMPLER_SCHEDULE");
        let merged_recipe = two_adapters(recipe(&model, sampler, schedule, (32, 32)));
        let mut beside_recipe = merged_recipe.clone();
        beside_recipe.sample.set.insert("adapters".into(), "unmerged".into());
        let (merged, beside) = (render(&merged_recipe, &given), render(&beside_recipe, &given));
        let expected = golden_file.tensor::<4>(&format!("latents.{run}")).0;
        let (a, b) = (distance(&merged.latents, &expected), distance(&beside.latents, &expected));
        println!(
            "{run}: merged {a:.1e}, beside {b:.1e}, to each other {:.1e}",
            distance(&beside.latents, &merged.latents)
        );
        assert!(a <= LATENTS && b <= LATENTS, "{run}: merged {a:.2e}, beside {b:.2e}");
        for report in &merged.adapters {
            assert!(report.matched > 0 && report.unmatched.is_empty() && report.mismatched.is_empty(), "{report:?}");
        }
    }
    // One step: the two forms of the same sum differ by rounding alone.
    let mut one = two_adapters(recipe(&model, "euler", "normal", (32, 32)));
    one.sample.steps = Some(1);
    let merged = render(&one, &given).latents;
    one.sample.set.insert("adapters".into(), "unmerged".into());
    let far = distance(&render(&one, &given).latents, &merged);
    assert!(far <= 1e-5, "merged and beside differ by {far:.2e}");
}

/// Families that are no low-rank product run beside the weights all the same: the picture is that of the merged weights, at any weight, in any
/// block, and in the part of sampling that was asked for.
#[test]
fn other_families_match_merged_beside_their_weights() {
    let given = given(&Golden::open("models/sd1_tiny"));
    let mut plain = recipe(&wide_sd1_tiny(), "euler", "normal", (32, 32));
    plain.sample.steps = Some(1);
    let without = render(&plain, &given).latents;
    for family in [
        "lycoris_ia3.safetensors",
        "lycoris_lokr.safetensors",
        "lycoris_dora.safetensors",
        "lycoris_loha.safetensors",
        "peft_ia3",
        "peft_lokr",
        "peft_lokr_effective",
        "peft_dora",
    ] {
        let mut merged_recipe = plain.clone();
        let mut used = AdapterUse::new(golden().join("families").join(family).display().to_string(), 0.7);
        used.blocks.insert("unet.mid".into(), 0.4);
        merged_recipe.adapters = vec![used];
        let mut beside_recipe = merged_recipe.clone();
        beside_recipe.sample.set.insert("adapters".into(), "unmerged".into());
        let (merged, beside) = (render(&merged_recipe, &given), render(&beside_recipe, &given));
        assert!(beside.warnings.is_empty(), "{family}: {:?}", beside.warnings);
        let acts = distance(&merged.latents, &without);
        let far = distance(&beside.latents, &merged.latents);
        println!("{family}: merged and beside differ by {far:.1e}, the adapter makes {acts:.1e}");
        assert!(acts > 1e-3 && far <= 1e-5, "{family}: merged and beside differ by {far:.2e}, it makes {acts:.2e}");
        // The first step of one is at 0: an adapter of the first half acts, one of the second half does not.
        for (start, stop, expected) in [(0.0, 0.5, &beside.latents), (0.5, 1.0, &without)] {
            let mut part = merged_recipe.clone();
            (part.adapters[0].start, part.adapters[0].stop) = (start, stop);
            let far = distance(&render(&part, &given).latents, expected);
            assert!(far <= 1e-6, "{family} from {start} to {stop}: {far:.2e}");
        }
    }
    // Two of different kinds at once: outputs and inputs scaled, products added.
    let mut merged_recipe = plain.clone();
    for (family, weight) in [("lycoris_ia3.safetensors", 0.5), ("peft_ia3", 0.8), ("lycoris_dora.safetensors", 0.6)] {
        let used = AdapterUse::new(golden().join("families").join(family).display().to_string(), weight);
        merged_recipe.adapters.push(used);
    }
    let mut beside_recipe = merged_recipe.clone();
    beside_recipe.sample.set.insert("adapters".into(), "unmerged".into());
    let far = distance(&render(&beside_recipe, &given).latents, &render(&merged_recipe, &given).latents);
    assert!(far <= 1e-5, "three at once: {far:.2e}");
}

#[test]
fn what_mix_writes_is_what_render_used() {
    // A second model: the first one with both adapters added, so that the merge has something to do.
    let base = pipeline("sd1_tiny");
    let other = scratch().join("sd1_tiny_adapted.safetensors");
    export(&two_adapters(Recipe::new(base.display().to_string())), &other);
    let mut recipe = two_adapters(recipe(&base, "euler", "normal", (32, 32)));
    recipe.sample.steps = Some(4);
    // Embeddings are given: this pipeline has a tokenizer of its own, which one file cannot hold.
    let given = given(&Golden::open("models/sd1_tiny"));
    for (method, weight) in [("weighted_sum", 0.4), ("add_difference", 0.6), ("ties", 1.0)] {
        recipe.merge = vec![Stage {
            method: method.into(),
            models: vec![ModelUse::new(other.display().to_string(), weight)],
            params: Default::default(),
            blocks: Default::default(),
            seed: None,
        }];
        let out = scratch().join(format!("{method}.safetensors"));
        export(&recipe, &out);
        let live = render(&recipe, &given);
        let mut plain = Recipe::new(out.display().to_string());
        plain.sample = recipe.sample.clone();
        let written = render(&plain, &given);
        assert!(live.latents == written.latents, "{method}: the file's weights are not the preview's");
        assert!(live.pictures == written.pictures, "{method}");
    }
}

fn export(recipe: &Recipe, out: &Path) {
    let session = session();
    let mixer = pollster::block_on(session.open_mix(recipe)).expect("opens");
    pollster::block_on(mixer.export(out, ExportLayout::Same, &mut |_| true)).expect("writes");
}

#[test]
fn previews_show_what_the_picture_becomes() {
    let mut recipe = Recipe::new("builtin");
    recipe.sample =
        Sample { prompt: Some("red apple".into()), steps: Some(8), cfg: Some(4.0), seed: Some(1), ..Sample::default() };
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = seen.clone();
    let listener = move |progress| {
        if let Progress::Step { preview: Some(picture), .. } = progress {
            sink.lock().expect("one thread").push(picture);
        }
    };
    let mut control = Control { listener: Some(Box::new(listener)), preview_every: 1, ..Control::default() };
    let mut session = session();
    let done = pollster::block_on(session.render(&recipe, &Given::default(), &mut control)).expect("renders");
    let previews = seen.lock().expect("one thread");
    assert_eq!(previews.len(), 7, "one for each step but the last");
    // The last preview is one step from the end, through a decoder a fifth as large: alike at a glance (a blank or black one is below 7 dB).
    let found = psnr(&previews[6].rgb, &done.pictures[0].rgb);
    assert!(found >= 12.0, "the last preview is {found:.1} dB from the picture");
}
