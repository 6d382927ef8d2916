//! Inpainting, InstructPix2Pix and hires-fix against diffusers' pipelines (tests/golden/make_editing.py), and against what each program promises; exact
//! inversion; textual inversions.

use admix_engine::files::safetensors::Index;
use admix_engine::files::{FileSource, ready};
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::render::to_nhwc;
use admix_engine::upscale::{self, Filter};
use admix_engine::{Control, EngineError, Given, Picture, Rendered};
use admix_tests::{Golden, distance, golden, pipeline, scratch, session};

fn render(recipe: &Recipe, given: &Given) -> Rendered {
    try_render(recipe, given).expect("renders")
}

fn try_render(recipe: &Recipe, given: &Given) -> Result<Rendered, EngineError> {
    pollster::block_on(session().render(recipe, given, &mut Control::default()))
}

/// Bytes of a u8 tensor and its shape.
fn bytes(name: &str) -> (Vec<u8>, Vec<usize>) {
    use admix_engine::files::ByteSource;
    let path = golden().join("editing.golden.safetensors");
    let source = FileSource::open(&path).expect("opens");
    let index = ready(Index::read(&source, "editing")).expect("reads");
    let info = &index.tensors[name];
    (ready(source.read(info.range.clone())).expect("reads"), info.shape.clone())
}

/// Picture and mask of a model's run.
fn picture_and_mask(model: &str) -> (Picture, Picture) {
    let (rgb, shape) = bytes(&format!("image.{model}"));
    let (height, width) = (shape[0], shape[1]);
    let grey = bytes(&format!("mask.{model}")).0;
    let mask = Picture { width, height, rgb: grey.iter().flat_map(|v| [*v; 3]).collect() };
    (Picture { width, height, rgb }, mask)
}

fn recipe(model: &str, picture: &Picture, strength: f64) -> Recipe {
    let mut recipe = Recipe::new(pipeline(model).display().to_string());
    recipe.sample = Sample {
        sampler: Some("euler".into()),
        schedule: Some("normal".into()),
        steps: Some(8),
        cfg: Some(5.0),
        width: Some(picture.width as u32),
        height: Some(picture.height as u32),
        strength: Some(strength),
        ..Sample::default()
    };
    recipe
}

fn given(model: &str) -> Given {
    let golden = Golden::open(&format!("models/{model}"));
    let (picture, mask) = picture_and_mask(model);
    Given {
        noise: Some(Golden::open("editing").tensor(&format!("noise.{model}"))),
        cond: Some(golden.tensor("cond")),
        uncond: Some(golden.tensor("uncond")),
        init: Some(picture),
        mask: Some(mask),
        ..Given::default()
    }
}

#[test]
fn inpainting_matches_diffusers() {
    let expected = Golden::open("editing");
    for model in ["sd1_tiny", "inpaint_tiny"] {
        let given = given(model);
        for strength in ["0.6", "1.0"] {
            let recipe = recipe(model, given.init.as_ref().expect("a picture"), strength.parse().expect("a number"));
            let far =
                distance(&render(&recipe, &given).latents, &expected.tensor::<4>(&format!("{model}.{strength}")).0);
            println!("{model} {strength}: {far:.1e}");
            // As for whole runs (tests/golden/README.md): eight steps with guidance.
            assert!(far <= 1e-3, "{model} at {strength}: {far:.2e}");
        }
    }
}

/// Both guidances, the text's and the picture's, through a U-Net that reads the picture.
#[test]
fn pix2pix_matches_diffusers() {
    let (model, expected) = ("pix2pix_tiny", Golden::open("editing"));
    let source = Golden::open(&format!("models/{model}"));
    let (rgb, shape) = bytes(&format!("image.{model}"));
    let picture = Picture { width: shape[1], height: shape[0], rgb };
    let given = Given {
        noise: Some(expected.tensor(&format!("noise.{model}"))),
        cond: Some(source.tensor("cond")),
        uncond: Some(source.tensor("uncond")),
        init: Some(picture.clone()),
        ..Given::default()
    };
    let mut all = Vec::new();
    for guidance in ["1.5", "3.0"] {
        // Whatever the strength: it begins with noise, as diffusers' does.
        let mut recipe = recipe(model, &picture, 0.5);
        let value: f64 = guidance.parse().expect("a number");
        recipe.sample.set.insert("image_guidance".into(), value.into());
        let done = render(&recipe, &given);
        let far = distance(&done.latents, &expected.tensor::<4>(&format!("{model}.{guidance}")).0);
        println!("{model} {guidance}: {far:.1e}");
        // As for whole runs (tests/golden/README.md): eight steps with two guidances; the picture's 8-bit values are the same on both sides.
        assert!(far <= 1e-3, "{model} at {guidance}: {far:.2e}");
        all.push(done.latents);
    }
    assert!(distance(&all[0], &all[1]) > 1e-2, "the picture's guidance does something");
}

#[test]
fn pictures_change_size_as_in_pil() {
    let picture = picture_and_mask("sd1_tiny").0;
    for (name, filter) in [("lanczos", Filter::Lanczos), ("bicubic", Filter::Bicubic), ("nearest", Filter::Nearest)] {
        for width in [48, 20] {
            let (expected, shape) = bytes(&format!("pil.{name}.{width}"));
            let found = picture.scaled(shape[1], shape[0], filter);
            assert!(found.rgb == expected, "{name} to {width}");
        }
    }
}

/// Text to picture, an enlargement by torch or PIL, picture to picture: hires-fix is these three.
#[test]
fn hires_fix_matches_diffusers_and_pil() {
    let (model, expected) = ("sd1_tiny", Golden::open("editing"));
    let (about, source) = (expected.about(), Golden::open(&format!("models/{model}")));
    let given = Given {
        noise: Some(source.tensor("noise")),
        cond: Some(source.tensor("cond")),
        uncond: Some(source.tensor("uncond")),
        ..Given::default()
    };
    let mut small = recipe(model, &Picture { width: 32, height: 32, rgb: Vec::new() }, 0.0);
    (small.sample.strength, small.sample.seed) = (None, about["seed"].as_u64());
    small.sample.set.insert("hires_scale".into(), 1.5.into());
    small.sample.set.insert("hires_strength".into(), about["strength"].clone());
    for how in ["latent_bilinear", "latent_bicubic", "latent_nearest_exact", "picture_lanczos", "picture_bicubic"] {
        small.sample.set.insert("hires_upscaler".into(), how.into());
        let done = render(&small, &given);
        assert_eq!(done.shape, [1, 4, 24, 24]);
        let (latents, _) = expected.tensor::<4>(&format!("hires.{how}"));
        let far = distance(&done.latents, &latents);
        println!("{how}: {far:.1e}");
        // Latents are enlarged in f32 on both sides. Pictures are enlarged alike to the bit, but decoded to 8 bits before: a value on the edge may round to the
        // other level, 1/128 of the range for a pixel here and there, which the encoder and the steps pass on. Another filter is 5e-2 away.
        let most = if how.starts_with("picture") { 5e-3 } else { 1e-3 };
        assert!(far <= most, "{how}: {far:.2e}");
        let start = expected.tensor::<4>(&format!("hires.enlarged.{how}")).0;
        assert!(distance(&latents, &start) > 0.05, "{how}: the second pass does something");
    }
}

fn grey(picture: &Picture, value: impl Fn(usize, usize) -> u8) -> Picture {
    let (width, height) = (picture.width, picture.height);
    let rgb = (0..width * height).flat_map(|i| [value(i % width, i / width); 3]).collect();
    Picture { width, height, rgb }
}

/// Latents of the picture itself: nothing is done at strength 0.
fn kept(model: &str, given: &Given) -> Vec<f32> {
    let picture = given.init.as_ref().expect("a picture");
    let alone = Given { mask: None, ..given.clone() };
    render(&recipe(model, picture, 0.0), &alone).latents
}

#[test]
fn what_the_mask_leaves_stays() {
    let model = "sd1_tiny";
    let whole = given(model);
    let picture = whole.init.clone().expect("a picture");
    let kept = kept(model, &whole);
    let free = render(&recipe(model, &picture, 0.6), &Given { mask: None, ..whole.clone() }).latents;
    for rule in ["diffusers", "a1111", "comfy"] {
        let run = |mask: Picture, more: &[(&str, &str)]| {
            let mut recipe = recipe(model, &picture, 0.6);
            for (name, value) in [("inpaint_rule", rule)].iter().chain(more) {
                recipe.sample.set.insert((*name).into(), (*value).into());
            }
            render(&recipe, &Given { mask: Some(mask), ..whole.clone() })
        };
        let none = run(grey(&picture, |_, _| 0), &[]);
        let far = distance(&none.latents, &kept);
        // x - sigma (x - D) / sigma in f32.
        assert!(far <= 1e-5, "{rule}: nothing to paint, but {far:.1e}");
        assert!(distance(&run(grey(&picture, |_, _| 255), &[]).latents, &free) <= 1e-6, "{rule}: all to paint");
        assert!(run(grey(&picture, |_, _| 255), &[("mask_invert", "yes")]).latents == none.latents, "{rule}: inverted");
        // Half: the left stays, the right does not.
        let half = run(grey(&picture, |x, _| if x < picture.width / 2 { 0 } else { 255 }), &[]);
        let [_, c, h, w] = half.shape;
        let side = |latents: &[f32], right: bool| -> Vec<f32> {
            let keep = |i: &usize| (i % w >= w / 2) == right;
            (0..c * h * w).filter(keep).map(|i| latents[i]).collect()
        };
        assert!(distance(&side(&half.latents, false), &side(&kept, false)) <= 1e-5, "{rule}: left");
        assert!(distance(&side(&half.latents, true), &side(&kept, true)) > 1e-2, "{rule}: right");
        if rule == "a1111" {
            assert_eq!(none.pictures[0], picture, "the original lies over the result");
        }
    }
}

#[test]
fn a_second_pass_makes_it_larger() {
    let model = "sd1_tiny";
    let mut small = recipe(model, &Picture { width: 32, height: 32, rgb: Vec::new() }, 0.0);
    (small.sample.strength, small.sample.prompt) = (None, Some("a red apple".into()));
    let first = render(&small, &Given::default());
    for (name, filter) in [
        ("latent_nearest", Filter::Nearest),
        ("latent_bilinear", Filter::Bilinear),
        ("latent_bicubic", Filter::Bicubic),
    ] {
        let mut large = small.clone();
        large.sample.set.insert("hires_scale".into(), 1.5.into());
        large.sample.set.insert("hires_upscaler".into(), name.into());
        large.sample.set.insert("hires_strength".into(), 0.0.into());
        // Strength 0 gives back the enlarged latents themselves.
        let done = render(&large, &Given::default());
        assert_eq!((done.pictures[0].width, done.pictures[0].height), (48, 48));
        let grid = |latents: &[f32], h, w| {
            let wide: Vec<f32> = to_nhwc(latents, [1, 4, h, w]);
            upscale::enlarged(&wide, [h, w, 4], [24, 24], filter)
        };
        let expected = grid(&first.latents, 16, 16);
        assert!(distance(&to_nhwc(&done.latents, done.shape), &expected) <= 1e-6, "{name}");
        large.sample.set.insert("hires_strength".into(), 0.6.into());
        large.sample.set.insert("hires_steps".into(), 5.into());
        let changed = render(&large, &Given::default());
        assert!(distance(&changed.latents, &done.latents) > 1e-2);
        assert!(changed.infotext(0).contains("Hires upscale: 1.5, Hires steps: 5, Hires upscaler: Latent"));
    }
}

/// Zhang et al. 2023: what the same network is told on both ways comes back, up to rounding.
#[test]
fn inversion_comes_back() {
    let model = "sd1_tiny";
    let mut given = given(model);
    (given.mask, given.cond, given.uncond) = (None, None, None);
    let picture = given.init.clone().expect("a picture");
    let kept = kept(model, &given);
    for (cfg, steps) in [(1.0, 10), (3.0, 20), (7.5, 10)] {
        let mut recipe = recipe(model, &picture, 1.0);
        (recipe.sample.steps, recipe.sample.cfg) = (Some(steps), Some(cfg));
        recipe.sample.prompt = Some("a red apple".into());
        recipe.sample.set.insert("invert".into(), "bdia".into());
        recipe.sample.set.insert("invert_prompt".into(), "a red apple".into());
        recipe.sample.set.insert("invert_cfg".into(), cfg.into());
        let far = distance(&render(&recipe, &given).latents, &kept);
        println!("cfg {cfg}, {steps} steps: {far:.1e}");
        // Exact but for rounding the start to multiples of 2^-18, at most 2e-6 each; 1e-3 is promised.
        assert!(far <= 1e-5, "cfg {cfg}, {steps} steps: {far:.2e}");
        recipe.sample.prompt = Some("a cat".into());
        let edited = render(&recipe, &given).latents;
        assert!(distance(&edited, &kept) > 1e-3, "another prompt changes it");
    }
    let mut none = recipe(model, &picture, 1.0);
    none.sample.set.insert("invert".into(), "bdia".into());
    assert!(try_render(&none, &Given { init: None, ..given }).is_err());
}

/// Rows of the token table under a word of their own must do what the tokens do.
#[test]
fn a_textual_inversion_stands_for_its_tokens() {
    use admix_engine::files::checkpoint::Checkpoint;
    use admix_engine::model::tokenizer::Tokenizer;
    let model = pipeline("sd1_tiny");
    let checkpoint = Checkpoint::open(&model).expect("opens");
    let tokenizer = Tokenizer::from_files(checkpoint.tokenizer.as_ref().expect("a tokenizer")).expect("reads");
    let table = "text_encoder.text_model.embeddings.token_embedding.weight";
    let table = ready(checkpoint.read_f32(table)).expect("reads");
    let width = checkpoint.text_encoder.as_ref().expect("a text encoder").hidden_size;
    let ids = tokenizer.tokenize("red apple");
    let rows: Vec<f32> = ids.iter().flat_map(|id| table[*id as usize * width..][..width].to_vec()).collect();
    let file = scratch().join("zqx.safetensors");
    let data: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
    let header = format!(
        "{{\"emb_params\":{{\"dtype\":\"F32\",\"shape\":[{},{width}],\"data_offsets\":[0,{}]}}}}",
        ids.len(),
        data.len()
    );
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.bytes().chain(data));
    std::fs::write(&file, out).expect("writes");

    let picture = Picture { width: 32, height: 32, rgb: Vec::new() };
    let mut recipe = recipe("sd1_tiny", &picture, 0.0);
    recipe.sample.strength = None;
    let latents = |prompt: &str, syntax: &str, adapter: bool| {
        let mut recipe = recipe.clone();
        recipe.sample.prompt = Some(prompt.into());
        recipe.sample.set.insert("prompt_syntax".into(), syntax.into());
        if adapter {
            recipe.adapters.push(AdapterUse::new(file.display().to_string(), 1.0));
        }
        render(&recipe, &Given::default())
    };
    let expected = latents("a red apple, a cat", "a1111", false).latents;
    for (prompt, syntax) in [("a zqx, a cat", "a1111"), ("a embedding:zqx, a cat", "comfy")] {
        let done = latents(prompt, syntax, true);
        let far = distance(&done.latents, &expected);
        println!("{syntax}: {far:.1e}");
        // The same rows through another place of the recording.
        assert!(far <= 1e-5, "{syntax}: {far:.2e}");
        assert_eq!(done.recipe.adapters.len(), 1);
        assert!(done.infotext(0).contains("TI hashes: \"zqx: "), "{}", done.infotext(0));
    }
    assert!(distance(&latents("a zqx, a cat", "a1111", false).latents, &expected) > 1e-3);
}
