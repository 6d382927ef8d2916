//! Random numbers as a function of (seed, tensor, element): the same on every device, in any order (`shaders/mix/shared/random.wgsl`).
//!
//! PCG3D of Jarzynski and Olano, Hash Functions for GPU Rendering, Journal of Computer Graphics Techniques 9(3), 2020.

/// The stream of a tensor and a model: FNV-1a over the tensor's name, then the model's place.
pub fn stream(name: &str, model: usize) -> u32 {
    let place = (model as u32).to_le_bytes();
    name.bytes().chain(place).fold(0x811C_9DC5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A 64-bit seed folded into the generator's 32 bits.
pub fn fold(seed: u64) -> u32 {
    (seed ^ (seed >> 32)) as u32
}

/// Uniform in [0, 1), a multiple of 2^-24.
pub fn uniform(seed: u32, stream: u32, number: u32) -> f32 {
    let step = |v: u32| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let mut v = [step(number), step(seed), step(stream)];
    let mix = |v: &mut [u32; 3]| {
        v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[2]));
        v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
        v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
    };
    mix(&mut v);
    v.iter_mut().for_each(|x| *x ^= *x >> 16);
    mix(&mut v);
    (v[0] >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_uniform_and_streams_differ() {
        let count = 100_000u32;
        let mut buckets = [0u32; 20];
        let (a, b) = (stream("unet.conv_in.weight", 0), stream("unet.conv_in.weight", 1));
        assert_ne!(a, b);
        let mut product = 0f64;
        for i in 0..count {
            let (x, y) = (uniform(7, a, i), uniform(7, b, i));
            assert!((0.0..1.0).contains(&x));
            buckets[(x * 20.0) as usize] += 1;
            product += f64::from(x - 0.5) * f64::from(y - 0.5);
        }
        // Chi-square of 19 degrees: above 45 happens once in 1,400 sets; correlation of independent streams stays within 5 sigma.
        let expected = f64::from(count) / 20.0;
        let chi: f64 = buckets.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        assert!(chi < 45.0, "chi-square {chi}");
        assert!((product / f64::from(count) * 12.0).abs() < 5.0 / f64::from(count).sqrt());
    }
}
