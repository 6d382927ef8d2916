//! A session that goes on after something went wrong, and settings as the lists offer them.

use std::sync::{Arc, Mutex};

use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::sample::registry;
use admix_engine::settings::Options;
use admix_engine::tensor::{DeviceOptions, Tensor};
use admix_engine::{Control, EngineError, Given, Progress, Session};
use admix_tests::{pipeline, session};

fn recipe() -> Recipe {
    let mut recipe = Recipe::new(pipeline("sd1_tiny").display().to_string());
    recipe.sample = Sample { prompt: Some("a cat".into()), steps: Some(2), ..Sample::default() };
    recipe
}

fn latents(session: &mut Session, recipe: &Recipe) -> Vec<f32> {
    let rendered = pollster::block_on(session.render(recipe, &Given::default(), &mut Control::default()));
    rendered.expect("renders").latents
}

fn open() -> Session {
    let opened = pollster::block_on(Session::open(&DeviceOptions::default()));
    opened.expect("the tests need a Vulkan driver (see CONTRIBUTING.md)")
}

#[test]
fn a_render_cancelled_while_it_loads_leaves_no_gaps() {
    let recipe = recipe();
    let expected = latents(&mut open(), &recipe);
    // Cancelled at the second look, when some tensors are recorded and not yet submitted, and at the last.
    for looks in [2, 5] {
        let mut session = open();
        let mut control = Control::default();
        let cancel = control.cancel.clone();
        let mut seen = 0;
        control.listener = Some(Box::new(move |progress| {
            if matches!(progress, Progress::Weights { .. }) {
                seen += 1;
                if seen == looks {
                    cancel.cancel();
                }
            }
        }));
        let stopped = pollster::block_on(session.render(&recipe, &Given::default(), &mut control));
        assert!(matches!(stopped, Err(EngineError::Cancelled)), "look {looks}");
        assert_eq!(latents(&mut session, &recipe), expected, "look {looks}");
    }
}

/// What a device was given before it reported an error may have come to nothing: no weight of that time is used again.
#[test]
fn a_failed_device_is_trusted_with_nothing() {
    let recipe = recipe();
    let expected = latents(&mut open(), &recipe);
    let mut session = open();
    let (gpu, totals) = (session.gpu().clone(), Arc::new(Mutex::new(Vec::new())));
    let small = Tensor::empty(&gpu, "small", 1, 4).expect("small");
    let count = |fails: bool| {
        let (gpu, small, totals) = (gpu.clone(), small.clone(), totals.clone());
        let listener = move |progress| {
            if let Progress::Weights { done, total } = progress {
                // Writes begin at multiples of four.
                if fails && done > 0 && done < total {
                    gpu.queue.write_buffer(small.buffer(), 1, &[0; 4]);
                }
                totals.lock().expect("one thread").push(total);
            }
        };
        Control { listener: Some(Box::new(listener)), ..Control::default() }
    };
    let failed = pollster::block_on(session.render(&recipe, &Given::default(), &mut count(true)));
    assert!(matches!(failed, Err(EngineError::Tensor(_))), "the render says that the device failed");
    let all = totals.lock().expect("one thread").drain(..).next();
    let rendered = pollster::block_on(session.render(&recipe, &Given::default(), &mut count(false))).expect("renders");
    assert_eq!(rendered.latents, expected);
    assert_eq!(totals.lock().expect("one thread").first().copied(), all, "every weight is read again");
}

/// Every value of every choice that `admix list knobs` and the studio offer for all runs is one that a recipe may hold.
#[test]
fn what_the_lists_offer_is_accepted() {
    let knobs: Vec<_> = registry::RUN.into_iter().chain(Options::knobs()).filter(|k| !k.choices.is_empty()).collect();
    assert!(knobs.iter().any(|k| k.name == "prediction") && knobs.iter().any(|k| k.name == "zero_snr"));
    let mut session = session();
    for knob in knobs {
        let mut found = Vec::new();
        for choice in knob.choices {
            let mut recipe = recipe();
            recipe.sample.set.insert(knob.name.into(), (*choice).into());
            let done = pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()));
            match done {
                Ok(done) => found.push(done.latents),
                // A choice may ask for what this run has not (a picture to start from), but it is understood.
                Err(error) => {
                    let said = error.to_string();
                    assert!(
                        !said.contains("is not known") && !said.contains("is unknown"),
                        "{} = {choice}: {said}",
                        knob.name
                    );
                }
            }
        }
        if knob.name == "prediction" {
            // auto is what the model says: epsilon.
            assert_eq!(found.len(), knob.choices.len());
            assert_eq!(found[0], found[1]);
            assert!((2..found.len()).all(|i| found[i] != found[0]), "another prediction is another picture");
        }
    }
}

/// Short and older ways to write the same.
#[test]
fn what_older_recipes_say_is_accepted() {
    let mut session = session();
    for (name, older, now) in [("prediction", "v", "v_prediction"), ("zero_snr", "true", "on")] {
        let both = [older, now].map(|value| {
            let mut recipe = recipe();
            recipe.sample.set.insert(name.into(), value.into());
            recipe.sample.set.insert("prediction".into(), "v".into());
            latents(&mut session, &recipe)
        });
        assert_eq!(both[0], both[1], "{name}");
    }
}

/// Settings beside an adapter's weights and a folder's own JSON files count, although the weights keep their checksum: a session that stays open
/// takes them up.
#[test]
fn files_beside_the_weights_are_not_remembered_from_before() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (model, adapter) = (dir.path().join("model"), dir.path().join("adapter"));
    let golden = pipeline("sd1_tiny").join("../..");
    copy(&pipeline("sd1_tiny"), &model);
    copy(&golden.join("adapters/peft_rslora"), &adapter);
    let recipe = || {
        let mut recipe = recipe();
        recipe.base.reference = model.display().to_string();
        recipe.adapters.push(AdapterUse::new(adapter.display().to_string(), 1.0));
        recipe
    };
    let mut kept = open();
    let mut last = latents(&mut kept, &recipe());
    for (file, from, to) in [
        (adapter.join("adapter_config.json"), "\"use_rslora\": true", "\"use_rslora\": false"),
        (model.join("unet/config.json"), "\"norm_eps\": 1e-05", "\"norm_eps\": 0.5"),
    ] {
        let text = std::fs::read_to_string(&file).expect("reads");
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replacen(from, to, 1)).expect("writes");
        let now = latents(&mut kept, &recipe());
        assert_ne!(now, last, "{file:?}");
        assert_eq!(now, latents(&mut open(), &recipe()), "{file:?}");
        last = now;
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(|_| ()).expect("copies") }
    }
}
