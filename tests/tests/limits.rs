//! Small devices: pictures whose inner tensors are larger than a binding, and weights in eight bits.

use std::sync::Arc;

use admix_engine::files::{Checkpoint, DType};
use admix_engine::mix::ExportLayout;
use admix_engine::mix::recipe::{AdapterUse, Recipe, Sample};
use admix_engine::model::store::Store;
use admix_engine::model::vae::{Vae, VaePass};
use admix_engine::render::to_nhwc;
use admix_engine::tensor::kernels::Picture as Size;
use admix_engine::tensor::{DeviceOptions, Gpu, Tier};
use admix_engine::{Control, Given, Rendered, Session};
use admix_tests::{Golden, fill, golden, pipeline, scratch, session};

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
        let found = [u64::MAX, 125_000]
            .map(|limit| render(&mut Session::with_device(small(tier, limit)), &recipe(&model, beside)).latents);
        let [whole, parts] = &found;
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

/// An own device that binds at most `limit` bytes.
fn small(tier: Tier, limit: u64) -> Arc<Gpu> {
    let options = DeviceOptions { tier: Some(tier), default_limits: true, ..Default::default() };
    let mut gpu = pollster::block_on(Gpu::open(&options)).expect("a Vulkan driver");
    let own = Arc::get_mut(&mut gpu).expect("nobody else has it");
    own.limits.max_storage_buffer_binding_size = own.limits.max_storage_buffer_binding_size.min(limit);
    gpu
}

/// As Stable Diffusion's VAE at 1024 x 1024 pixels where 128 MiB are bound: its widest pictures have eight times that. Here the largest of
/// sd1_4level's, of 64 channels at 128 x 64 pixels, has 2 MiB in one piece and lies in strips of five rows; the middle, which attention needs whole, fits.
#[test]
fn large_pictures_are_decoded_and_encoded_in_strips() {
    let name = "sd1_4level";
    let golden_file = Golden::open(&format!("models/{name}"));
    let checkpoint = Checkpoint::open(pipeline(name)).expect("opens");
    for tier in [Tier::Cpu, Tier::Gpu] {
        let run = |limit: u64| {
            let gpu = small(tier, limit);
            let mut store = Store::new(&gpu, |_| true);
            let vae = Vae::new(&mut store, checkpoint.vae.as_ref().expect("a VAE"), true).expect("builds");
            fill(&store, &checkpoint);
            let through = |key: &str, record: &dyn Fn(Size) -> VaePass| {
                let (data, shape) = golden_file.tensor::<4>(key);
                let pass = record(Size { n: 1, h: shape[2], w: shape[3] });
                pass.input.write(&gpu, &to_nhwc(&data, shape));
                pass.program.submit();
                (pollster::block_on(pass.output.read(&gpu)).expect("reads back"), pass.program.dispatches())
            };
            let decoded = through("vae.in.latent", &|size| vae.record_decode(&gpu, size).expect("records"));
            let encoded = through("vae.in.image", &|size| vae.record_encode(&gpu, size).expect("records"));
            [decoded, encoded]
        };
        let (whole, strips) = (run(u64::MAX), run(240_000));
        for ((whole, calls), (strips, more_calls)) in whole.iter().zip(&strips) {
            // The same sums in the same order.
            assert!(whole == strips, "{tier:?}");
            assert!(*more_calls > calls * 2, "{tier:?}: {more_calls} kernel calls in strips, {calls} without");
        }
    }
}
