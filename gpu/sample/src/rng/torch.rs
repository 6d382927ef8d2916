//! `torch.randn` with a CPU generator.
//!
//! Mersenne Twister (Matsumoto and Nishimura 1998) and Box-Muller, in torch's order of draws and in f32 where torch uses it. The logarithm and the
//! cosine differ by some last digits between torch's own code paths, so equality is to 1e-6 and not to the bit.

const N: usize = 624;
const M: usize = 397;

/// One `torch.Generator("cpu")`.
#[derive(Clone, Debug)]
pub struct TorchCpu {
    state: [u32; N],
    at: usize,
    /// The second half of the last f64 pair.
    cached: Option<f64>,
}

impl TorchCpu {
    /// `torch.Generator("cpu").manual_seed(seed)`: of the seed, the low 32 bits count.
    pub fn new(seed: u64) -> Self {
        let mut state = [0u32; N];
        state[0] = seed as u32;
        for i in 1..N {
            state[i] = 1_812_433_253u32.wrapping_mul(state[i - 1] ^ (state[i - 1] >> 30)).wrapping_add(i as u32);
        }
        TorchCpu { state, at: N, cached: None }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let mix = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ mix;
        }
        self.at = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.at == N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in [0, 1), 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Uniform in [0, 1), 53 bits of two draws, the first one high.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32());
        let bits = (high << 32) | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// The next `torch.randn(n)`.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < 16 {
            return (0..n).map(|_| self.normal_f64() as f32).collect();
        }
        let mut out: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        out.chunks_exact_mut(16).for_each(box_muller_16);
        if !n.is_multiple_of(16) {
            // The last 16 are drawn again, over part of the last full block.
            let tail = &mut out[n - 16..];
            for v in tail.iter_mut() {
                *v = (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0;
            }
            box_muller_16(tail);
        }
        out
    }

    /// One value of the path for short tensors, in f64.
    fn normal_f64(&mut self) -> f64 {
        if let Some(v) = self.cached.take() {
            return v;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = std::f64::consts::TAU * u1;
        self.cached = Some(radius * theta.sin());
        radius * theta.cos()
    }
}

/// Sixteen uniforms to normals: pair j is (j, j + 8).
fn box_muller_16(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(8);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let theta = std::f32::consts::TAU * *b;
        *a = radius * theta.cos();
        *b = radius * theta.sin();
    }
}
