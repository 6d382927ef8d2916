//! A mix of two checkpoints of 2 GB: what `admix mix` does, within 1.5 GB of this process's memory, the software device's included.
//!
//! Slow and large (6.4 GB of disk), so ignored by default:
//! `cargo test --release -p admix-tests --test large_mix -- --ignored --nocapture`

use std::path::Path;
use std::time::Instant;

use admix_engine::bench::peak_memory;
use admix_engine::files::DType;
use admix_engine::files::config::{TextConfig, UNetConfig, VaeConfig};
use admix_engine::files::layout::{text_tensors, unet_tensors, vae_tensors};
use admix_engine::files::safetensors::{FileWriter, TensorSpec};
use admix_engine::mix::{ExportLayout, Recipe};
use admix_engine::tensor::DeviceOptions;
use admix_engine::{EngineError, Session};
use serde_json::json;

const VAE: &str = r#"{"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
const CLIP: &str = r#"{"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}"#;
const UNET: &str = r#"{"cross_attention_dim": 768}"#;

/// Most bytes that the promise allows.
const MOST: u64 = 1_500_000_000;

/// Stable Diffusion 1.5's tensors in one file, f16, small values of a sequence that starts at `seed`.
fn write(path: &Path, seed: u64) -> u64 {
    let mut shapes = unet_tensors(&UNetConfig::from_json("unet", UNET.as_bytes()).expect("a configuration"));
    shapes.extend(vae_tensors(&VaeConfig::from_json("vae", VAE.as_bytes()).expect("a configuration")));
    let text = TextConfig::from_json("text", CLIP.as_bytes()).expect("a configuration");
    shapes.extend(text_tensors("text_encoder", &text));
    let dtype = DType::F16;
    let specs = shapes.iter().map(|(name, shape)| TensorSpec { name: name.clone(), dtype, shape: shape.clone() });
    let mut writer = FileWriter::create(path, specs.collect(), &Default::default()).expect("room on the disk");
    let mut state = seed;
    let mut bytes = 0;
    for (name, shape) in &shapes {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / 8_388_608.0 - 1.0) * 0.05
            })
            .collect();
        let encoded = dtype.encode_f32(&values);
        bytes += encoded.len() as u64;
        writer.write(name, &encoded).expect("writes");
    }
    writer.finish().expect("writes");
    bytes
}

/// Forgets the peak so far. Errors: a system that cannot.
fn reset_peak() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

#[test]
#[ignore = "writes 6.4 GB"]
fn two_large_files_mix_in_little_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [a, b, out] = ["a.safetensors", "b.safetensors", "mix.safetensors"].map(|name| folder.path().join(name));
    let bytes = write(&a, 1);
    write(&b, 2);
    let mut session =
        pollster::block_on(Session::open(&DeviceOptions::default())).expect("a Vulkan driver is installed");
    session.keeps_inputs = false;
    for method in ["weighted_sum", "ties"] {
        reset_peak().expect("Linux, and its own process");
        let recipe =
            json!({ "admix": 1, "base": a, "merge": [{ "method": method, "models": [{ "ref": b, "weight": 0.4 }] }] });
        let recipe = Recipe::from_value(&recipe).expect("sound");
        let start = Instant::now();
        let report = pollster::block_on(async {
            let mixer = session.open_mix(&recipe).await?;
            Ok::<_, EngineError>(mixer.export(&out, ExportLayout::Same, &mut |_| true).await?)
        })
        .expect("mixes");
        let peak = peak_memory().expect("the system tells");
        println!(
            "{method}: two files of {:.2} GB in {:.1} s, peak {:.0} MB, {} of {} tensors changed",
            bytes as f64 / 1e9,
            start.elapsed().as_secs_f64(),
            peak as f64 / 1e6,
            report.changed,
            report.tensors
        );
        assert!(peak < MOST, "{method}: {peak} bytes at most");
        std::fs::remove_file(&out).expect("it was written");
    }
}
