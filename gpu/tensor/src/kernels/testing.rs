//! Shared by the kernel tests: one device per tier, random data, and the comparison they all use.

use std::sync::{Arc, OnceLock};

use crate::{DeviceOptions, Gpu, Tier};

/// A device for each tier; both run on whatever adapter the machine has.
pub fn devices() -> [Arc<Gpu>; 2] {
    static DEVICES: OnceLock<[Arc<Gpu>; 2]> = OnceLock::new();
    let open = |tier, default_limits| {
        let options = DeviceOptions { tier: Some(tier), default_limits, ..Default::default() };
        pollster::block_on(Gpu::open(&options)).expect("the tests need a Vulkan driver (see CONTRIBUTING.md)")
    };
    // The hardware tier runs under WebGPU's default limits: the browser is its most frequent home.
    DEVICES.get_or_init(|| [open(Tier::Cpu, false), open(Tier::Gpu, true)]).clone()
}

/// Uniform numbers in [-1, 1) from a small counter-based generator, so that every test names its own data.
pub fn random(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mut x = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed.wrapping_mul(0xD134_2543_DE82_EF95);
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((x ^ (x >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Relative L2 distance, f64 sums.
pub fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let (mut diff, mut norm) = (0f64, 0f64);
    for (a, b) in found.iter().zip(expected) {
        diff += (f64::from(*a) - f64::from(*b)).powi(2);
        norm += f64::from(*b).powi(2);
    }
    assert!(found.iter().all(|v| v.is_finite()), "finite results");
    (diff / norm.max(1e-30)).sqrt()
}

/// Uploads a weight in checkpoint layout and packs it.
pub fn packed(gpu: &Arc<Gpu>, data: &[f32], pack: crate::kernels::Pack, f16: bool) -> crate::kernels::Weight {
    let weight = crate::kernels::Weight::empty(gpu, "weight", &[pack], f16).expect("small");
    let source = if f16 {
        let bytes: Vec<u8> = data.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        crate::kernels::Source::f16(gpu, "source", &bytes)
    } else {
        crate::kernels::Source::f32(gpu, "source", data)
    };
    let mut rec = crate::Recorder::new(gpu);
    rec.pack(&source.expect("small"), pack, &weight, 0).expect("records");
    rec.finish().submit();
    weight
}

/// Rounds to f16 and back, the values an f16 checkpoint holds.
pub fn round_f16(data: &[f32]) -> Vec<f32> {
    data.iter().map(|v| half::f16::from_f32(*v).to_f32()).collect()
}

/// Uploads a matrix.
pub fn upload(gpu: &Gpu, data: &[f32], cols: usize) -> crate::Tensor {
    crate::Tensor::upload(gpu, "test", data, data.len() / cols, cols).expect("small")
}

/// Runs a recording and reads a tensor back.
pub fn run(gpu: &Gpu, rec: crate::Recorder, y: &crate::Tensor) -> Vec<f32> {
    rec.finish().submit();
    pollster::block_on(y.read(gpu)).expect("reads back")
}
