//! Single passes of the networks against diffusers for the pipelines whose weights are made by a rule: four levels, and odd widths and sizes.
//! Relative L2 at most 1e-4. (The committed pipelines are checked in gpu/model.)

use std::collections::HashMap;

use admix_engine::files::DType;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::model::store::Store;
use admix_engine::model::text::{Reading, TextEncoder};
use admix_engine::model::unet::{Extras, UNet};
use admix_engine::model::vae::Vae;
use admix_engine::render::to_nhwc;
use admix_engine::tensor::kernels::Picture;
use admix_engine::tensor::{Gpu, Program, Recorder, Tensor};
use admix_tests::{Golden, distance, fill, pipeline, session};

const BOUND: f64 = 1e-4;

fn run(gpu: &Gpu, input: &Tensor, data: &[f32], program: &Program, output: &Tensor) -> Vec<f32> {
    input.write(gpu, data);
    program.submit();
    pollster::block_on(output.read(gpu)).expect("reads back")
}

fn near(what: &str, found: &[f32], expected: &[f32]) {
    let far = distance(found, expected);
    println!("{what}: {far:.1e}");
    assert!(far <= BOUND, "{what}: {far:.2e}");
}

fn check(name: &str) {
    let gpu = session().gpu().clone();
    let golden = Golden::open(&format!("models/{name}"));
    let checkpoint = Checkpoint::open(pipeline(name)).expect("opens");
    checkpoint.check_renderable().expect("whole");
    let types: HashMap<String, DType> = checkpoint.tensors.iter().map(|(n, t)| (n.clone(), t.info.dtype)).collect();
    let mut store = Store::new(&gpu, move |n| types.get(n) == Some(&DType::F16));
    let unet = UNet::new(&mut store, checkpoint.unet.as_ref().expect("a U-Net")).expect("builds");
    let config = checkpoint.text_encoder.as_ref().expect("a text encoder");
    let text = TextEncoder::new(&mut store, config, "text_encoder").expect("builds");
    let vae = Vae::new(&mut store, checkpoint.vae.as_ref().expect("a VAE"), true).expect("builds");
    fill(&store, &checkpoint);

    let (ids, [rows, _]) = golden.tensor::<2>("text.ids");
    for (skip, key) in [(0, "text.out.clip_skip_1"), (1, "text.out.clip_skip_2")] {
        let pass = text.record(&gpu, rows, Reading { skip, normed: true, pooled: false }).expect("records");
        let bits: Vec<f32> = ids.iter().map(|i| f32::from_bits(*i as u32)).collect();
        let found = run(&gpu, &pass.tokens, &bits, &pass.program, &pass.states);
        near(&format!("{name} {key}"), &found, &golden.tensor::<3>(key).0);
    }

    let (sample, shape) = golden.tensor::<4>("unet.in.sample");
    let (uncond, [_, tokens, width]) = golden.tensor::<3>("uncond");
    let context = [uncond, golden.tensor::<3>("cond").0].concat();
    let context = Tensor::upload(&gpu, "context", &context, 2 * tokens, width).expect("fits");
    let cond = unet.condition(&gpu, &[981.0, 17.0], &context, 2, &Extras::default()).expect("records");
    cond.prelude.submit();
    let pass = unet.record(&gpu, Picture { n: shape[0], h: shape[2], w: shape[3] }, &cond).expect("records");
    for (row, key) in [(0u64, "unet.out.t981"), (1, "unet.out.t17")] {
        let mut rec = Recorder::new(&gpu);
        let bytes = cond.time_row.bytes();
        rec.copy(&cond.time_table, row * (cond.time_table.stride * 4) as u64, &cond.time_row, 0, bytes);
        rec.finish().submit();
        let found = run(&gpu, &pass.input, &to_nhwc(&sample, shape), &pass.program, &pass.output);
        let (expected, out) = golden.tensor::<4>(key);
        near(&format!("{name} {key}"), &found, &to_nhwc(&expected, out));
    }

    let (latent, shape) = golden.tensor::<4>("vae.in.latent");
    let pass = vae.record_decode(&gpu, Picture { n: shape[0], h: shape[2], w: shape[3] }).expect("records");
    let found = run(&gpu, &pass.input, &to_nhwc(&latent, shape), &pass.program, &pass.output);
    let (expected, out) = golden.tensor::<4>("vae.out.image");
    near(&format!("{name} decode"), &found, &to_nhwc(&expected, out));

    let (image, shape) = golden.tensor::<4>("vae.in.image");
    let pass = vae.record_encode(&gpu, Picture { n: shape[0], h: shape[2], w: shape[3] }).expect("records");
    let found = run(&gpu, &pass.input, &to_nhwc(&image, shape), &pass.program, &pass.output);
    let (expected, out) = golden.tensor::<4>("vae.out.latent_mean");
    let mean: Vec<f32> = found.chunks(pass.output.cols).flat_map(|r| r[..out[1]].to_vec()).collect();
    near(&format!("{name} encode"), &mean, &to_nhwc(&expected, out));
}

#[test]
fn four_levels() {
    check("sd1_4level");
}

#[test]
fn odd_widths() {
    check("odd_widths");
}
