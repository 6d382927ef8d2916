//! How much arithmetic a network's pass is, from its tensors' shapes: multiply-adds count as two.

use admix_files::checkpoint::Checkpoint;
use admix_tensor::kernels::Picture as Size;

/// (name, shape) of every matrix and convolution below a prefix.
fn matrices<'a>(model: &'a Checkpoint, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [usize])> {
    let under = model.tensors.iter().filter(move |(name, t)| name.starts_with(prefix) && t.shape.len() >= 2);
    under.filter_map(move |(name, t)| Some((name.strip_prefix(prefix)?.strip_suffix(".weight")?, &t.shape[..])))
}

/// The number behind `blocks.` in a name such as `down_blocks.2.resnets.0.conv1`.
fn block(name: &str) -> u32 {
    name.split('.').nth(1).and_then(|i| i.parse().ok()).unwrap_or(0)
}

/// Operations of one U-Net pass over latents of `size` (its batch included), keys and values of the text left out: they are made once.
pub fn unet(model: &Checkpoint, size: Size, tokens: usize) -> f64 {
    let last = model.unet.as_ref().map_or(0, |u| u.block_out_channels.len().saturating_sub(1)) as u32;
    let mut total = 0.0;
    for (name, shape) in matrices(model, "unet.") {
        if name.contains("time_emb") || name.ends_with("attn2.to_k") || name.ends_with("attn2.to_v") {
            continue;
        }
        let halvings = match name.split('.').next().unwrap_or_default() {
            "down_blocks" => block(name) + u32::from(name.contains("downsamplers")),
            "mid_block" => last,
            "up_blocks" => (last - block(name).min(last)).saturating_sub(u32::from(name.contains("upsamplers"))),
            "conv_in" | "conv_out" => 0,
            _ => continue,
        };
        let edge = |n: usize| n.div_ceil(1 << halvings);
        let (n, pixels) = (size.n as f64, (edge(size.h) * edge(size.w)) as f64);
        total += 2.0 * n * pixels * shape.iter().product::<usize>() as f64;
        // Scores and their product with the values, two operations each.
        let width = shape[0] as f64;
        if name.ends_with("attn1.to_q") {
            total += 4.0 * n * pixels * pixels * width;
        } else if name.ends_with("attn2.to_q") {
            total += 4.0 * n * pixels * tokens as f64 * width;
        }
    }
    total
}

/// Operations of decoding latents of `size`.
pub fn decoder(model: &Checkpoint, size: Size) -> f64 {
    let levels = model.vae.as_ref().map_or(1, |v| v.block_out_channels.len()) as u32;
    let mut total = 0.0;
    for (name, shape) in matrices(model, "vae.") {
        let doublings = match name.strip_prefix("decoder.") {
            Some(inner) if inner.starts_with("up_blocks") => block(inner) + u32::from(inner.contains("upsamplers")),
            Some(inner) if inner.starts_with("conv_out") => levels - 1,
            Some(_) => 0,
            None if name == "post_quant_conv" => 0,
            None => continue,
        };
        let pixels = ((size.h << doublings) * (size.w << doublings)) as f64;
        let n = size.n as f64;
        total += 2.0 * n * pixels * shape.iter().product::<usize>() as f64;
        if name.ends_with("to_q") {
            total += 4.0 * n * pixels * pixels * shape[0] as f64;
        }
    }
    total
}
