//! Stable Diffusion 1.5, 2.1 and XL at their real widths, random f16 weights: they load and run a step within the promised memory.
//!
//! Slow and large (7 GB of disk and as much memory for XL), so ignored by default:
//! `cargo test --release -p admix-tests --test real_widths -- --ignored --nocapture --test-threads 1`

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use admix_engine::files::DType;
use admix_engine::files::config::{TextConfig, UNetConfig, VaeConfig};
use admix_engine::files::layout::{text_tensors, unet_tensors, vae_tensors};
use admix_engine::files::safetensors::{FileWriter, TensorSpec};
use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::model::store::Store;
use admix_engine::model::unet::{Extras, UNet};
use admix_engine::model::vae::Vae;
use admix_engine::tensor::kernels::Picture as Size;
use admix_engine::tensor::{DeviceOptions, Gpu, Tensor, Tier};
use admix_engine::{Control, Given, Session};

/// Counts what this process has on its heap: on a software adapter the device's memory is the machine's, and only this tells them apart.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters never allocate.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VAE: &str = r#"{"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
const CLIP_L: &str = r#"{"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}"#;
const SD15: &str = r#"{"cross_attention_dim": 768}"#;
const SD21: &str =
    r#"{"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true}"#;
const CLIP_H: &str = r#"{"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
    "hidden_act": "gelu"}"#;
const SDXL: &str = r#"{"block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": true, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816}"#;
const CLIP_G: &str = r#"{"architectures": ["CLIPTextModelWithProjection"], "hidden_size": 1280, "intermediate_size": 5120,
    "num_attention_heads": 20, "num_hidden_layers": 32, "hidden_act": "gelu", "projection_dim": 1280}"#;

/// Random weights with the gain of a fresh network, so that nothing overflows; gains of norms are 1, biases 0. `f32` writes wide tensors.
fn write(path: &Path, shapes: &[(String, Vec<usize>)], dtype: DType) {
    let specs = shapes.iter().map(|(name, shape)| TensorSpec { name: name.clone(), dtype, shape: shape.clone() });
    let mut writer = FileWriter::create(path, specs.collect(), &Default::default()).expect("room on the disk");
    let mut state = 1u64;
    for (name, shape) in shapes {
        let count: usize = shape.iter().product();
        let fan_in = shape.iter().skip(1).product::<usize>().max(1) as f32;
        let (scale, offset) = match shape.len() {
            1 if name.contains("norm") && name.ends_with("weight") => (0.0, 1.0),
            1 => (0.0, 0.0),
            _ => ((3.0 / fan_in).sqrt(), 0.0),
        };
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            values.push(((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale + offset);
        }
        writer.write(name, &dtype.encode_f32(&values)).expect("writes");
    }
    writer.finish().expect("writes");
}

fn shapes(unet: &str, texts: &[&str]) -> Vec<(String, Vec<usize>)> {
    let mut all = unet_tensors(&UNetConfig::from_json("unet", unet.as_bytes()).expect("a configuration"));
    all.extend(vae_tensors(&VaeConfig::from_json("vae", VAE.as_bytes()).expect("a configuration")));
    for (text, name) in texts.iter().zip(["text_encoder", "text_encoder_2"]) {
        all.extend(text_tensors(name, &TextConfig::from_json("text", text.as_bytes()).expect("a configuration")));
    }
    all.into_iter().collect()
}

/// A line of the table in docs/real-widths.md, after its head.
fn row(line: &str) {
    static HEAD: Once = Once::new();
    HEAD.call_once(|| {
        print!("\n| Model | File | Largest tensor | Peak of the host's heap | Weights on the device | Peak of the process, device included ");
        println!("| Load | Text | Step | Decode | In all |\n|{}", "---|".repeat(11));
    });
    println!("| {line} |");
}

/// Begins counting [`resident`] anew (Linux: proc(5), `clear_refs`); where that cannot be done it counts from the first model on.
fn forget_resident() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory of this process in MB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) >> 10
}

/// One step at 8 x 8 latents with guidance, at WebGPU's default limits. Nothing but the file's shapes says what it is.
fn check(name: &str, family: &str, dtype: DType, shapes: &[(String, Vec<usize>)]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("model.safetensors");
    write(&file, shapes, dtype);
    let largest = shapes.iter().map(|(_, s)| s.iter().product::<usize>() * dtype.size()).max().unwrap_or(0);
    let options = DeviceOptions { default_limits: true, ..Default::default() };
    let mut session = pollster::block_on(Session::open(&options)).expect("a Vulkan driver");
    let mut recipe = Recipe::new(file.display().to_string());
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        steps: Some(1),
        width: Some(64),
        height: Some(64),
        ..Sample::default()
    };
    forget_resident();
    PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
    let clock = Instant::now();
    let done =
        pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default())).expect("renders");
    let (peak, seconds) = (PEAK.load(Ordering::Relaxed) >> 20, done.seconds);
    let sizes = format!(
        "{} MB | {} MB | {peak} MB | {} MB | {} MB",
        std::fs::metadata(&file).map_or(0, |m| m.len()) >> 20,
        largest >> 20,
        session.model_bytes() >> 20,
        resident(),
    );
    let times = [seconds.load + seconds.mix, seconds.text, seconds.denoise, seconds.decode];
    let times = times.map(|s| format!("{s:.1} s")).join(" | ");
    row(&format!("{name} | {sizes} | {times} | {:.1} s", clock.elapsed().as_secs_f64()));
    assert_eq!(done.model.family, family);
    assert!(done.latents.iter().all(|v| v.is_finite()));
    assert!(peak as f64 <= 1.1 * (largest >> 20) as f64 + 200.0, "{name}: {peak} MB on the heap");
}

#[test]
#[ignore = "heavy: 2 GB"]
fn sd15_at_its_real_widths() {
    check("SD 1.5, f16", "sd1", DType::F16, &shapes(SD15, &[CLIP_L]));
}

#[test]
#[ignore = "heavy: 2.5 GB"]
fn sd21_at_its_real_widths() {
    check("SD 2.1, f16", "sd2", DType::F16, &shapes(SD21, &[CLIP_H]));
}

#[test]
#[ignore = "heavy: 7 GB"]
fn sdxl_at_its_real_widths() {
    check("SDXL, f16", "sdxl", DType::F16, &shapes(SDXL, &[CLIP_L, CLIP_G]));
}

/// CLIP-L's token table in f32 has 151 MB: more than one binding at WebGPU's defaults. A small U-Net around the real text encoder.
#[test]
#[ignore = "heavy: 0.5 GB"]
fn a_token_table_larger_than_a_binding() {
    let unet = r#"{"cross_attention_dim": 768, "block_out_channels": [32, 64, 64, 64]}"#;
    check("CLIP-L in f32 around a small U-Net", "sd1", DType::F32, &shapes(unet, &[CLIP_L]));
}

/// Every kernel call of a picture of 1024 x 1024 pixels at WebGPU's default limits, where 128 MiB are bound: guidance in one batch of two, and the VAE both
/// ways. Recorded, with all buffers made, but not run: the arithmetic would take a processor many minutes, and `limits.rs` shows at small sizes
/// that what lies in parts has the bits of the whole.
#[test]
#[ignore = "heavy: 7 GB of address space"]
fn pictures_of_1024_pixels_are_recorded_at_default_limits() {
    println!("\n| At 1024 x 1024 pixels | U-Net, batch of two | Decoder | Encoder |\n|---|---|---|---|");
    for (name, unet, pooled) in [("SD 1.5", SD15, 0), ("SDXL", SDXL, 1280)] {
        for tier in [Tier::Cpu, Tier::Gpu] {
            let options = DeviceOptions { default_limits: true, tier: Some(tier), ..Default::default() };
            let gpu = pollster::block_on(Gpu::open(&options)).expect("a Vulkan driver");
            assert_eq!(gpu.limits.max_storage_buffer_binding_size, 128 << 20);
            let mut store = Store::new(&gpu, |_| true);
            let config = UNetConfig::from_json("unet", unet.as_bytes()).expect("a configuration");
            let (unet, width) = (UNet::new(&mut store, &config).expect("builds"), config.cross_attention(1));
            let vae = VaeConfig::from_json("vae", VAE.as_bytes()).expect("a configuration");
            let vae = Vae::new(&mut store, &vae, true).expect("builds");
            let context = Tensor::empty(&gpu, "context", 2 * 77, width).expect("fits");
            let time_ids = if pooled > 0 { vec![1024.0; 12] } else { Vec::new() };
            let extras = Extras { pooled: vec![0.0; 2 * pooled], time_ids, ..Extras::default() };
            let cond = unet.condition(&gpu, &[999.0], &context, 2, &extras).expect("records");
            let mb = |bytes: u64| format!("{} MB", bytes >> 20);
            let step = unet.record(&gpu, Size { n: 2, h: 128, w: 128 }, &cond).expect("records");
            let step = mb(step.program.intermediate_bytes());
            let decoder = vae.record_decode(&gpu, Size { n: 1, h: 128, w: 128 }).expect("records");
            let decoder = mb(decoder.program.intermediate_bytes());
            let encoder = vae.record_encode(&gpu, Size { n: 1, h: 1024, w: 1024 }).expect("records");
            println!("| {name}, {tier:?} tier | {step} | {decoder} | {} |", mb(encoder.program.intermediate_bytes()));
            gpu.take_failure().expect("the device takes everything");
        }
    }
}
