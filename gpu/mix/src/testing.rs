//! Shared by the tests: one device per tier and random data.

use std::sync::{Arc, OnceLock};

use admix_tensor::{DeviceOptions, Gpu, Tier};

/// A device for each tier; the hardware tier under WebGPU's default limits.
pub fn devices() -> [Arc<Gpu>; 2] {
    static DEVICES: OnceLock<[Arc<Gpu>; 2]> = OnceLock::new();
    let open = |tier, default_limits| {
        let options = DeviceOptions { tier: Some(tier), default_limits, ..Default::default() };
        pollster::block_on(Gpu::open(&options)).expect("the tests need a Vulkan driver (see CONTRIBUTING.md)")
    };
    DEVICES.get_or_init(|| [open(Tier::Cpu, false), open(Tier::Gpu, true)]).clone()
}

/// Uniform numbers in [-1, 1).
pub fn random(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32).map(|i| crate::random::uniform(seed, 0, i) * 2.0 - 1.0).collect()
}

/// Devices of both tiers that bind `bytes` at once: tensors need several windows without being gigabytes large.
pub fn devices_binding(bytes: u64) -> [Arc<Gpu>; 2] {
    [Tier::Cpu, Tier::Gpu].map(|tier| {
        let options = DeviceOptions { tier: Some(tier), default_limits: true, ..Default::default() };
        let mut gpu = pollster::block_on(Gpu::open(&options)).expect("a Vulkan driver");
        Arc::get_mut(&mut gpu).expect("nobody else has it").limits.max_storage_buffer_binding_size = bytes;
        gpu
    })
}
