//! What the tests across crates share: the golden fixtures, one session for all, and the measures of agreement.
//!
//! The fixtures' own story is in `tests/golden/README.md`.

#[path = "../golden/synthetic.rs"]
pub mod synthetic;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use admix_engine::Session;
use admix_engine::files::safetensors::Index;
use admix_engine::files::{ByteSource, Checkpoint, DType, FileSource, ready};
use admix_engine::model::store::Store;
use admix_engine::model::text::{Reading, TextEncoder};
use admix_engine::tensor::kernels::Source;
use admix_engine::tensor::{DeviceOptions, Gpu, Recorder};
use serde_json::Value;

/// The folder of fixtures.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// One session for a whole test binary: shaders compile once.
pub fn session() -> MutexGuard<'static, Session> {
    static SESSION: OnceLock<Mutex<Session>> = OnceLock::new();
    let open = || {
        let opened = pollster::block_on(Session::open(&DeviceOptions::default()));
        Mutex::new(opened.expect("the tests need a Vulkan driver (see CONTRIBUTING.md)"))
    };
    SESSION.get_or_init(open).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that lives as long as the test binary.
pub fn scratch() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

/// The folder of a pipeline: the committed one, or written from its rule where its weights are synthetic.
pub fn pipeline(name: &str) -> PathBuf {
    static WRITING: Mutex<()> = Mutex::new(());
    let committed = golden().join("models").join(name);
    if committed.join("unet/diffusion_pytorch_model.safetensors").is_file() {
        return committed;
    }
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let out = scratch().join(name);
    if !out.is_dir() {
        synthetic::write_folder(&golden(), name, &out).expect("the synthetic pipeline can be written");
    }
    out
}

/// A file of golden tensors.
pub struct Golden {
    source: FileSource,
    index: Index,
}

impl Golden {
    /// `models/NAME.golden.safetensors` or `adapters/NAME.golden.safetensors`.
    pub fn open(path: &str) -> Golden {
        let file = golden().join(format!("{path}.golden.safetensors"));
        let source = FileSource::open(&file).expect("the fixture is there");
        let index = ready(Index::read(&source, path)).expect("the fixture can be read");
        Golden { source, index }
    }

    /// Names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.tensors.keys().map(String::as_str)
    }

    /// A tensor and its shape.
    pub fn tensor<const N: usize>(&self, name: &str) -> (Vec<f32>, [usize; N]) {
        let info = self.index.tensors.get(name).unwrap_or_else(|| panic!("no golden tensor {name}"));
        let bytes = ready(self.source.read(info.range.clone())).expect("the fixture can be read");
        (info.dtype.decode_f32(&bytes), info.shape.clone().try_into().expect("the expected number of axes"))
    }

    /// The description in the metadata.
    pub fn about(&self) -> Value {
        serde_json::from_str(&self.index.metadata["admix_golden"]).expect("JSON")
    }
}

/// Packs a checkpoint's tensors into every slot of a store.
pub fn fill(store: &Store, checkpoint: &Checkpoint) {
    let gpu = store.gpu();
    let mut rec = Recorder::new(gpu);
    for (name, slot) in store.slots() {
        let source = match checkpoint.tensor(name).expect("every slot has a tensor").info.dtype {
            DType::F16 => Source::f16(gpu, name, &ready(checkpoint.read_raw(name)).expect("reads")),
            _ => Source::f32(gpu, name, &ready(checkpoint.read_f32(name)).expect("reads")),
        };
        slot.fill(&mut rec, &source.expect("fits")).expect("packs");
    }
    rec.finish().submit();
}

/// Token ids of a fixture, and how many texts of which length they are.
pub type Ids = (Vec<f32>, [usize; 2]);

/// What SDXL's text encoders say of token ids [n, length]: their states joined feature by feature, counted from the end as `--clip-skip` does, and
/// the projected rows of the end tokens.
pub fn read_text(gpu: &Arc<Gpu>, encoders: &[(&TextEncoder, Ids)], skip: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut joined, mut pooled): (Vec<Vec<f32>>, Vec<f32>) = Default::default();
    for (text, (ids, [n, length])) in encoders {
        let pass = text.record(gpu, *n, Reading { skip: skip - 1, normed: false, pooled: true }).expect("records");
        let bits: Vec<f32> = ids.iter().map(|i| f32::from_bits(*i as u32)).collect();
        pass.tokens.write(gpu, &bits);
        pass.program.submit();
        let states = pollster::block_on(pass.states.read(gpu)).expect("reads back");
        joined.resize(n * length, Vec::new());
        for (row, state) in joined.iter_mut().zip(states.chunks(text.width())) {
            row.extend_from_slice(state);
        }
        if let Some(projected) = &pass.projected {
            let all = pollster::block_on(projected.read(gpu)).expect("reads back");
            for (i, ids) in ids.chunks(*length).enumerate() {
                let ids: Vec<u32> = ids.iter().map(|v| *v as u32).collect();
                let at = (i * length + text.pooled_at(&ids)) * projected.cols;
                pooled.extend_from_slice(&all[at..at + projected.cols]);
            }
        }
    }
    (joined.concat(), pooled)
}

/// Relative L2 distance, f64 sums; infinite where a value is not finite.
pub fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "as many values");
    if !found.iter().all(|v| v.is_finite()) {
        return f64::INFINITY;
    }
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        found.iter().zip(expected).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum::<f64>()
    };
    (sum(&|a, b| (a - b) * (a - b)) / sum(&|_, b| b * b).max(1e-30)).sqrt()
}

/// Peak signal-to-noise ratio of 8-bit pictures in dB.
pub fn psnr(found: &[u8], expected: &[u8]) -> f64 {
    assert_eq!(found.len(), expected.len(), "pictures of one size");
    let sum: f64 = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let mean = sum / found.len().max(1) as f64;
    if mean == 0.0 { f64::INFINITY } else { 10.0 * (255.0 * 255.0 / mean).log10() }
}
