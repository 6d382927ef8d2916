use admix_files::config::*;
use admix_model::{store::Store, unet::UNet, vae::Vae};
use admix_tensor::kernels::Picture;
use admix_tensor::*;
fn main() {
    let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default())).unwrap();
    let c = UNetConfig { block_out_channels: vec![32, 64, 96, 96], in_channels: 4, out_channels: 4, time_embedding_dim: None, norm_num_groups: 32, norm_eps: 1e-5, freq_shift: 0.0, flip_sin_to_cos: true };
    let f16 = std::env::args().nth(1).as_deref() == Some("f16");
    let mut store = Store::new(&gpu, move |_| f16);
    let unet = UNet::new(&mut store, &c).unwrap();
    println!("{} slots, {} MB", store.slots().len(), store.bytes() >> 20);
    let ctx = Tensor::upload(&gpu, "ctx", &vec![0.1; 154 * 32], 154, 32).unwrap();
    let t = std::time::Instant::now();
    let cond = unet.condition(&gpu, &[999.0, 500.0], &ctx, 2).unwrap();
    cond.prelude.submit();
    let pass = unet.record(&gpu, Picture { n: 2, h: 16, w: 16 }, &cond).unwrap();
    println!("recorded {} dispatches, {} MB intermediates in {:?}", pass.program.dispatches(), pass.program.intermediate_bytes() >> 20, t.elapsed());
    for by in pass.program.profile(1) { println!("first {by:?}"); }
    for _ in 0..8 {
        let t = std::time::Instant::now();
        pass.program.submit();
        pollster::block_on(gpu.finished()).unwrap();
        println!("step {:?}", t.elapsed());
    }
    for by in pass.program.profile(5) { println!("{by:?}"); }
    let v = VaeConfig { block_out_channels: vec![16, 32, 64, 64], latent_channels: 4, use_quant_conv: true, use_post_quant_conv: true, mid_block_add_attention: true, layers_per_block: 2, in_channels: 3, out_channels: 3, double_z: true, norm_num_groups: 8 };
    let vae = Vae::new(&mut store, &v, false).unwrap();
    let pass = vae.record_decode(&gpu, Picture { n: 1, h: 16, w: 16 }).unwrap();
    for _ in 0..3 {
        let t = std::time::Instant::now();
        pass.program.submit();
        pollster::block_on(gpu.finished()).unwrap();
        println!("decode {} dispatches {:?}", pass.program.dispatches(), t.elapsed());
    }
    for by in pass.program.profile(3) { println!("{by:?}"); }
}
