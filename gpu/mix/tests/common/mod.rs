//! Shared by the tests: the fixtures, a device, and opening a recipe on models and adapters in memory.
#![allow(dead_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use admix_files::Checkpoint;
use admix_files::adapter::Adapter;
use admix_mix::{MixError, Mixer, Recipe};
use admix_tensor::{DeviceOptions, Gpu};
use serde_json::Value;

pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

pub fn gpu() -> Arc<Gpu> {
    static GPU: OnceLock<Arc<Gpu>> = OnceLock::new();
    let open = || pollster::block_on(Gpu::open(&DeviceOptions::default())).expect("a Vulkan driver is installed");
    GPU.get_or_init(open).clone()
}

/// A folder of its own that goes away at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("admix-mix-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder is writable");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open(
    recipe: &Value,
    models: Vec<(&str, Arc<Checkpoint>)>,
    adapters: Vec<(&str, Arc<Adapter>)>,
) -> Result<Mixer, MixError> {
    let recipe = Recipe::from_value(recipe)?;
    let owned = |(k, v): (&str, _)| (k.to_string(), v);
    let models: HashMap<String, Arc<Checkpoint>> = models.into_iter().map(owned).collect();
    let adapters: HashMap<String, Arc<Adapter>> = adapters.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    pollster::block_on(Mixer::open(&gpu(), &recipe, &models, &adapters, false, false))
}

pub fn values(mixer: &Mixer, name: &str) -> Vec<f32> {
    let effective = pollster::block_on(mixer.effective(name)).expect("computes");
    let count: usize = effective.shape.iter().product();
    let raw = pollster::block_on(effective.source.data.read(&gpu())).expect("reads");
    let wide: Vec<f32> = if effective.source.f16 {
        let halves = raw.iter().flat_map(|w| {
            let bits = w.to_bits();
            [half::f16::from_bits(bits as u16).to_f32(), half::f16::from_bits((bits >> 16) as u16).to_f32()]
        });
        halves.collect()
    } else {
        raw
    };
    wide[..count].to_vec()
}
