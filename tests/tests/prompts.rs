//! Weighted, long, changing and composed prompts: states against re-derived formulas (tests/golden/make_prompts.py), pictures against their definitions.

use std::collections::HashMap;

use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::files::{DType, ready};
use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::model::prompt::{Emphasis, Encoding, Long, Rules, Syntax};
use admix_engine::model::store::Store;
use admix_engine::model::text::{Reading, TextEncoder, TextPass};
use admix_engine::model::tokenizer::Tokenizer;
use admix_engine::tensor::kernels::Source;
use admix_engine::tensor::{Gpu, Recorder};
use admix_engine::{Control, EngineError, Given, Rendered};
use admix_tests::{Golden, distance, pipeline, session};
use serde_json::Value;

/// As for plain prompts (tests/golden/README.md): weights multiply states and their errors alike.
const STATES: f64 = 1e-4;

fn rules(name: &str) -> Rules {
    let plain = Rules::default();
    match name {
        "comfy" => Rules { syntax: Syntax::Comfy, emphasis: Emphasis::Comfy, ..plain },
        "no_norm" => Rules { emphasis: Emphasis::NoNorm, ..plain },
        "sentences" => Rules { long: Long::Sentences, ..plain },
        _ => plain,
    }
}

struct Encoder {
    text: TextEncoder,
    tokenizer: Tokenizer,
    pass: TextPass,
    _store: Store,
}

impl Encoder {
    fn open(gpu: &std::sync::Arc<Gpu>, name: &str) -> Encoder {
        let checkpoint = Checkpoint::open(pipeline(name)).expect("opens");
        let types: HashMap<String, DType> = checkpoint.tensors.iter().map(|(n, t)| (n.clone(), t.info.dtype)).collect();
        let mut store = Store::new(gpu, move |n| types.get(n) == Some(&DType::F16));
        let config = checkpoint.text_encoder.as_ref().expect("a text encoder");
        let text = TextEncoder::new(&mut store, config, "text_encoder").expect("builds");
        let mut rec = Recorder::new(gpu);
        for (name, slot) in store.slots() {
            let source = Source::f32(gpu, name, &ready(checkpoint.read_f32(name)).expect("reads")).expect("fits");
            slot.fill(&mut rec, &source).expect("packs");
        }
        rec.finish().submit();
        let tokenizer = Tokenizer::from_files(checkpoint.tokenizer.as_ref().expect("a tokenizer")).expect("reads");
        let pass = text.record(gpu, 1, Reading { skip: 0, normed: true, pooled: false }).expect("records");
        Encoder { text, tokenizer, pass, _store: store }
    }

    fn window(&self, gpu: &Gpu, ids: &[u32]) -> Vec<f32> {
        let bits: Vec<f32> = ids.iter().map(|i| f32::from_bits(*i)).collect();
        self.pass.tokens.write(gpu, &bits);
        self.pass.program.submit();
        pollster::block_on(self.pass.states.read(gpu)).expect("reads back")
    }
}

fn as_u32(v: &Value) -> Vec<u32> {
    v.as_array().expect("a list").iter().map(|n| n.as_u64().expect("an id") as u32).collect()
}

#[test]
fn states_of_weighted_and_long_prompts() {
    let gpu = session().gpu().clone();
    let golden = Golden::open("prompts");
    let mut encoders: HashMap<String, Encoder> = HashMap::new();
    let about = golden.about();
    let cases = about["cases"].as_array().expect("cases");
    assert!(cases.len() >= 20);
    for case in cases {
        let text = |key: &str| case[key].as_str().expect("a text").to_owned();
        let (key, model) = (text("key"), text("model"));
        let encoder = encoders.entry(model.clone()).or_insert_with(|| Encoder::open(&gpu, &model));
        let encoding = Encoding::new(&encoder.tokenizer, &text("text"), 77, rules(&text("rules")), &[]);
        let windows = case["windows"].as_array().expect("windows");
        assert_eq!(encoding.windows.len(), windows.len(), "{key}");
        for (found, expected) in encoding.windows.iter().zip(windows) {
            assert_eq!(found.ids, as_u32(&expected["ids"]), "{key}");
            let weights =
                expected["weights"].as_array().expect("weights").iter().map(|w| w.as_f64().expect("a number"));
            let far = found.weights.iter().zip(weights).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(far <= 1e-6, "{key}: weights differ by {far:.1e}");
        }
        let states = encoding.windows.iter().map(|w| encoder.window(&gpu, &w.ids)).collect();
        let empty = Encoding::new(&encoder.tokenizer, "", 77, Rules::default(), &[]);
        let empty = encoder.window(&gpu, &empty.windows[0].ids);
        let width = encoder.text.width();
        let found = encoding.finish(states, width, Some(&empty));
        let rows = case["rows"].as_u64().expect("rows") as usize;
        assert_eq!(found.len(), rows * width, "{key}");
        let (expected, [kept, _]) = golden.tensor::<2>(&key);
        let step = rows / 12;
        assert_eq!(kept, rows.div_ceil(step), "{key}");
        let found: Vec<f32> = found.chunks(width).step_by(step).flatten().copied().collect();
        let far = distance(&found, &expected);
        println!("{key}: {far:.1e}");
        assert!(far <= STATES, "{key}: states differ by {far:.2e}");
    }
}

fn recipe(prompt: &str, steps: u32, cfg: f64) -> Recipe {
    let mut recipe = Recipe::new(pipeline("sd1_tiny").display().to_string());
    recipe.sample = Sample {
        prompt: Some(prompt.into()),
        negative: Some("a dog".into()),
        sampler: Some("euler".into()),
        schedule: Some("normal".into()),
        steps: Some(steps),
        cfg: Some(cfg),
        seed: Some(3),
        width: Some(32),
        height: Some(32),
        ..Sample::default()
    };
    recipe
}

fn try_render(recipe: &Recipe) -> Result<Rendered, EngineError> {
    pollster::block_on(session().render(recipe, &Given::default(), &mut Control::default()))
}

fn latents(recipe: &Recipe) -> Vec<f32> {
    try_render(recipe).expect("renders").latents
}

/// One Euler step to sigma 0 gives the network's estimate itself, so that the rule of composition can be written out.
#[test]
fn composed_prompts_add_up() {
    let alone = |prompt: &str| latents(&recipe(prompt, 1, 1.0));
    let (uncond, cat, apple) = (alone("a dog"), alone("a cat"), alone("a red apple"));
    for (cfg, (a, b)) in [(5.0, (1.0, 0.6)), (1.0, (0.7, 0.9)), (3.0, (1.5, -0.4))] {
        let found = latents(&recipe(&format!("a cat :{a} AND a red apple :{b}"), 1, cfg));
        let expected: Vec<f32> = (0..cat.len())
            .map(|i| {
                let (u, x, y) = (f64::from(uncond[i]), f64::from(cat[i]), f64::from(apple[i]));
                (u + cfg * (a * (x - u) + b * (y - u))) as f32
            })
            .collect();
        let far = distance(&found, &expected);
        println!("AND at cfg {cfg}: {far:.1e}");
        // f32 differences of nearby estimates, times up to 5.
        assert!(far <= 1e-4, "cfg {cfg}: {far:.2e}");
    }
}

/// A change that never comes, or has come before the start, is no change; one between is neither.
#[test]
fn prompts_change_on_the_way() {
    let at = |prompt: &str| latents(&recipe(prompt, 4, 5.0));
    let (cat, apple) = (at("a cat"), at("a red apple"));
    assert!(at("[a cat:a red apple:4]") == cat);
    assert!(at("[a cat:a red apple:0]") == apple);
    assert!(at("[a cat|a cat]") == cat, "the same prompt at every step");
    let (between, turns) = (at("[a cat:a red apple:0.5]"), at("[a cat|a red apple]"));
    for (name, found) in [("between", &between), ("turns", &turns)] {
        // Random weights care little for prompts, but the runs are the same bit for bit where nothing changes.
        assert!(*found != cat && *found != apple, "{name}");
    }
    // A1111 counts from 0 against a last step counted from 1: with 4 steps "a|b" goes a a b a.
    assert!(turns != between);
    // Schedules are text for other notations.
    let mut plain = recipe("[a cat:a red apple:0.5]", 4, 5.0);
    plain.sample.set.insert("prompt_syntax".into(), "plain".into());
    assert!(latents(&plain) != between);
}

#[test]
fn prompts_of_different_lengths_go_together() {
    // Repeating a sequence changes attention over it by rounding alone.
    let long =
        "a small red apple, two green apples and a yellow pear, a cat and a dog asleep under the old table, ".repeat(6);
    let done = try_render(&recipe(&long, 2, 5.0)).expect("renders");
    assert_eq!(done.dropped_tokens, 0);
    let mut cut = recipe(&long, 2, 5.0);
    cut.sample.set.insert("long_prompt".into(), "cut".into());
    let cut = try_render(&cut).expect("renders");
    assert!(cut.dropped_tokens > 0 && cut.latents != done.latents);
    let once = latents(&recipe("a cat", 1, 1.0));
    let mut twice = recipe("a cat BREAK a cat", 1, 1.0);
    twice.sample.set.insert("emphasis".into(), "ignore".into());
    let far = distance(&latents(&twice), &once);
    assert!(far <= 1e-5, "the same window twice: {far:.2e}");
}

#[test]
fn adapters_named_in_the_prompt() {
    let mut recipe = recipe("a cat", 2, 5.0);
    recipe.base.reference = "builtin".into();
    (recipe.sample.width, recipe.sample.height) = (Some(64), Some(64));
    let mut tagged = recipe.clone();
    tagged.sample.prompt = Some("a cat <lora:Pixel:0.7>".into());
    recipe.adapters.push(admix_engine::mix::recipe::AdapterUse::new("builtin:pixel", 0.7));
    let (found, expected) = (try_render(&tagged).expect("renders"), try_render(&recipe).expect("renders"));
    assert!(found.latents == expected.latents);
    assert_eq!((found.recipe.adapters.len(), found.recipe.sample.prompt.as_deref()), (1, Some("a cat")));
    tagged.sample.prompt = Some("a cat <lora:no such thing:0.7>".into());
    let error = try_render(&tagged).err().expect("fails");
    assert!(error.is_input() && error.to_string().contains("no such thing"), "{error}");
}
