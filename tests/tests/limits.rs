//! Small devices: pictures whose inner tensors are larger than a binding, and weights in eight bits.

use std::sync::Arc;

use admix_engine::files::{Checkpoint, DType};
use admix_engine::mix::ExportLayout;
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::tensor::{DeviceOptions, Gpu, Tier};
use admix_engine::{Control, Given, Rendered, Session};
use admix_tests::{Golden, golden, pipeline, scratch, session};

/// sd1_tiny, both branches of guidance in one batch, with an adapter beside the weights if `beside`.
fn recipe(model: &str, beside: bool) -> Recipe {
    let golden_file = Golden::open("models/sd1_tiny");
    let edge = |key: &str| golden_file.about()[key].as_u64().expect("a size") as u32;
    let mut recipe = Recipe::new(model);
    let mut set = vec![("guidance_batch".to_owned(), "on".into())];
    if beside {
        set.push(("adapters".to_owned(), "unmerged".into()));
        recipe.adapters = vec![AdapterUse::new(golden().join("adapters/kohya.safetensors").display().to_string(), 1.0)];
    }
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        steps: Some(3),
        width: Some(edge("width")),
        height: Some(edge("height")),
        set: set.into_iter().collect(),
        ..Sample::default()
    };
    recipe
}

fn render(session: &mut Session, recipe: &Recipe) -> Rendered {
    pollster::block_on(session.render(recipe, &Given::default(), &mut Control::default())).expect("renders")
}

/// As Stable Diffusion 1 at 1024 x 1024 pixels on a device that binds 128 MiB: the widest tensors of the feed-forward layers do not fit, all
/// others do. Here these have 256 KiB and 128 KiB; the next has 121.5 KiB.
#[test]
fn feed_forward_layers_go_through_in_parts() {
    let model = pipeline("sd1_tiny").display().to_string();
    for (tier, beside) in [(Tier::Cpu, false), (Tier::Gpu, false), (Tier::Gpu, true)] {
        let options = DeviceOptions { tier: Some(tier), default_limits: true, ..Default::default() };
        let mut found = [u64::MAX, 125_000].map(|limit| {
            let mut gpu = pollster::block_on(Gpu::open(&options)).expect("a Vulkan driver");
            let own = Arc::get_mut(&mut gpu).expect("nobody else has it");
            own.limits.max_storage_buffer_binding_size = own.limits.max_storage_buffer_binding_size.min(limit);
            render(&mut Session::with_device(gpu), &recipe(&model, beside)).latents
        });
        let [whole, parts] = &mut found;
        assert!(whole == parts, "{tier:?}, adapter beside the weights: {beside}");
    }
}

/// Both kinds of 8-bit floats are f16 on the device, bit for bit what f32 would be.
#[test]
fn eight_bit_weights_take_the_memory_of_halves() {
    let model = pipeline("sd1_tiny").display().to_string();
    let mut session = session();
    for dtype in [DType::F8E4M3, DType::F8E5M2] {
        let write = |from: &str, to: DType| {
            let out = scratch().join(format!("{}-as-{}.safetensors", dtype.name(), to.name()));
            let mixer = pollster::block_on(session.open_mix(&Recipe::new(from))).expect("opens").with_dtype(Some(to));
            pollster::block_on(mixer.export(&out, ExportLayout::Same, &mut |_| true)).expect("writes");
            out.display().to_string()
        };
        let small = write(&model, dtype);
        let wide = write(&small, DType::F32);
        assert!(Checkpoint::open(&small).expect("opens").tensors.values().all(|t| t.info.dtype == dtype));
        let bytes = |session: &mut Session, model: &str| {
            let done = render(session, &recipe(model, false));
            (done.latents, session.model_bytes())
        };
        let (found, halves) = bytes(&mut session, &small);
        let (expected, words) = bytes(&mut session, &wide);
        // The same values in the same order of summation.
        assert!(found == expected, "{dtype:?}");
        assert!(halves < words * 6 / 10, "{halves} of {words}");
    }
}
