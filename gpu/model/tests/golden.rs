//! The networks against diffusers' results at random small configurations (tests/golden): one pass each, relative L2 at most 1e-4.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use admix_files::checkpoint::Checkpoint;
use admix_files::safetensors::Index;
use admix_files::{DType, FileSource, ready};
use admix_model::store::Store;
use admix_model::text::{Reading, TextEncoder};
use admix_model::unet::{Extras, UNet};
use admix_model::vae::Vae;
use admix_tensor::kernels::{Picture, Source};
use admix_tensor::{DeviceOptions, Gpu, Recorder, Tensor, Tier};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models")
}

struct Golden {
    source: FileSource,
    index: Index,
}

impl Golden {
    fn open(name: &str) -> Golden {
        let source = FileSource::open(golden().join(format!("{name}.golden.safetensors"))).expect("fixture");
        let index = ready(Index::read(&source, name)).expect("fixture header");
        Golden { source, index }
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.index.tensors[name].shape.clone()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        let info = &self.index.tensors[name];
        let bytes = ready(admix_files::ByteSource::read(&self.source, info.range.clone())).expect("fixture data");
        info.dtype.decode_f32(&bytes)
    }

    fn i64(&self, name: &str) -> Vec<i64> {
        let info = &self.index.tensors[name];
        assert_eq!(info.dtype, DType::I64);
        let bytes = ready(admix_files::ByteSource::read(&self.source, info.range.clone())).expect("fixture data");
        bytes.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().expect("eight bytes"))).collect()
    }
}

fn nhwc(data: &[f32], shape: &[usize]) -> Vec<f32> {
    let [n, c, h, w] = shape.try_into().expect("four axes");
    let mut out = vec![0f32; data.len()];
    for (i, v) in data.iter().enumerate() {
        let (x, y, k, s) = (i % w, i / w % h, i / (w * h) % c, i / (w * h * c));
        assert!(s < n);
        out[((s * h + y) * w + x) * c + k] = *v;
    }
    out
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| found.iter().zip(expected).map(|(a, b)| f((*a).into(), (*b).into())).sum::<f64>();
    (sum(&|a, b| (a - b) * (a - b)) / sum(&|_, b| b * b)).sqrt()
}

fn fill(store: &Store, checkpoint: &Checkpoint) {
    let gpu = store.gpu();
    let mut rec = Recorder::new(gpu);
    for (name, slot) in store.slots() {
        let info = checkpoint.tensor(name).expect("every slot has a tensor");
        assert!(slot.accepts(&info.shape), "{name}: {:?} against {:?}", info.shape, slot.pack);
        let source = match info.info.dtype {
            DType::F16 => Source::f16(gpu, name, &ready(checkpoint.read_raw(name)).expect("reads")),
            _ => Source::f32(gpu, name, &ready(checkpoint.read_f32(name)).expect("reads")),
        };
        slot.fill(&mut rec, &source.expect("fits")).expect("packs");
    }
    rec.finish().submit();
}

fn run(gpu: &Arc<Gpu>, input: &Tensor, data: &[f32], program: &admix_tensor::Program, output: &Tensor) -> Vec<f32> {
    input.write(gpu, data);
    program.submit();
    pollster::block_on(output.read(gpu)).expect("reads back")
}

fn check(name: &str, tier: Tier) {
    let gpu = pollster::block_on(Gpu::open(&DeviceOptions { tier: Some(tier), ..Default::default() }))
        .expect("a Vulkan driver");
    let golden = Golden::open(name);
    let checkpoint = Checkpoint::open(golden_folder(name)).expect("opens");
    checkpoint.validate().expect("complete");
    let dtypes: std::collections::HashMap<String, DType> =
        checkpoint.tensors.iter().map(|(n, t)| (n.clone(), t.info.dtype)).collect();
    let mut store = Store::new(&gpu, move |n| dtypes.get(n) == Some(&DType::F16));
    let unet = UNet::new(&mut store, checkpoint.unet.as_ref().expect("has a U-Net")).expect("builds");
    let text = TextEncoder::new(&mut store, checkpoint.text_encoder.as_ref().expect("has text"), "text_encoder")
        .expect("builds");
    let vae = Vae::new(&mut store, checkpoint.vae.as_ref().expect("has a VAE"), true).expect("builds");
    fill(&store, &checkpoint);

    // Text encoder.
    let ids = golden.i64("text.ids");
    let rows = ids.len() / text.length();
    for (skip, key) in [(0, "text.out.clip_skip_1"), (1, "text.out.clip_skip_2")] {
        let pass = text.record(&gpu, rows, Reading { skip, normed: true, pooled: false }).expect("records");
        let bits: Vec<f32> = ids.iter().map(|i| f32::from_bits(*i as u32)).collect();
        let found = run(&gpu, &pass.tokens, &bits, &pass.program, &pass.states);
        let d = distance(&found, &golden.f32(key));
        println!("{name} {tier:?} {key}: {d:.2e}");
        assert!(d < 1e-4, "{name} {key}: {d:.2e}");
    }

    // U-Net.
    let shape = golden.shape("unet.in.sample");
    let size = Picture { n: shape[0], h: shape[2], w: shape[3] };
    let mut context = golden.f32("uncond");
    context.extend(golden.f32("cond"));
    let width = golden.shape("cond")[2];
    let context = Tensor::upload(&gpu, "context", &context, context.len() / width, width).expect("fits");
    let cond = unet.condition(&gpu, &[981.0, 17.0], &context, 2, &Extras::default()).expect("records");
    cond.prelude.submit();
    let pass = unet.record(&gpu, size, &cond).expect("records");
    for (row, key) in [(0u64, "unet.out.t981"), (1, "unet.out.t17")] {
        let mut rec = Recorder::new(&gpu);
        let bytes = cond.time_row.bytes();
        rec.copy(&cond.time_table, row * (cond.time_table.stride * 4) as u64, &cond.time_row, 0, bytes);
        rec.finish().submit();
        let found = run(&gpu, &pass.input, &nhwc(&golden.f32("unet.in.sample"), &shape), &pass.program, &pass.output);
        let d = distance(&found, &nhwc(&golden.f32(key), &golden.shape(key)));
        println!("{name} {tier:?} {key}: {d:.2e}");
        assert!(d < 1e-4, "{name} {key}: {d:.2e}");
    }

    // Autoencoder.
    let shape = golden.shape("vae.in.latent");
    let pass = vae.record_decode(&gpu, Picture { n: shape[0], h: shape[2], w: shape[3] }).expect("records");
    let found = run(&gpu, &pass.input, &nhwc(&golden.f32("vae.in.latent"), &shape), &pass.program, &pass.output);
    let d = distance(&found, &nhwc(&golden.f32("vae.out.image"), &golden.shape("vae.out.image")));
    println!("{name} {tier:?} decode: {d:.2e}");
    assert!(d < 1e-4, "{name} decode: {d:.2e}");
    let shape = golden.shape("vae.in.image");
    let pass = vae.record_encode(&gpu, Picture { n: shape[0], h: shape[2], w: shape[3] }).expect("records");
    let found = run(&gpu, &pass.input, &nhwc(&golden.f32("vae.in.image"), &shape), &pass.program, &pass.output);
    let latent = golden.shape("vae.out.latent_mean")[1];
    let mean: Vec<f32> = found.chunks(pass.output.cols).flat_map(|r| r[..latent].to_vec()).collect();
    let d = distance(&mean, &nhwc(&golden.f32("vae.out.latent_mean"), &golden.shape("vae.out.latent_mean")));
    println!("{name} {tier:?} encode: {d:.2e}");
    assert!(d < 1e-4, "{name} encode: {d:.2e}");
}

fn golden_folder(name: &str) -> PathBuf {
    golden().join(name)
}

#[test]
fn a_small_sd1_matches_diffusers() {
    check("sd1_tiny", Tier::Cpu);
    check("sd1_tiny", Tier::Gpu);
}

#[test]
fn a_small_sd2_matches_diffusers() {
    check("sd2_tiny", Tier::Cpu);
    check("sd2_tiny", Tier::Gpu);
}
