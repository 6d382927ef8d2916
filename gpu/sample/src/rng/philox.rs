//! Noise as CUDA draws it: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and half of Box-Muller.

/// One generator on a seed.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    offset: u32,
}

/// 2^-32 in f32, and 2^-32 * 2 pi, as CUDA's constants have them.
const UNIT: f64 = 2.328_306_4e-10_f32 as f64;
const ANGLE: f64 = (2.328_306_4e-10_f32 * 6.283_185_5_f32) as f64;

impl Philox {
    /// On a seed.
    pub fn new(seed: u64) -> Self {
        Philox { key: [seed as u32, (seed >> 32) as u32], offset: 0 }
    }

    /// The next `n` unit Gaussian values.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        let offset = self.offset;
        self.offset = offset.wrapping_add(1);
        let value = |i: usize| {
            let [x, y, ..] = rounds([offset, 0, i as u32, 0], self.key);
            let u = f64::from(x) * UNIT + UNIT / 2.0;
            let v = f64::from(y) * ANGLE + ANGLE / 2.0;
            ((-2.0 * u.ln()).sqrt() * v.sin()) as f32
        };
        (0..n).map(value).collect()
    }
}

fn rounds(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let a = u64::from(c[0]) * 0xD251_1F53;
        let b = u64::from(c[2]) * 0xCD9E_8D57;
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // The authors' known-answer test of philox4x32-10.
        assert_eq!(rounds([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn cuda_values_of_seed_0() {
        let drawn = Philox::new(0).randn(3);
        for (a, b) in drawn.iter().zip([-0.92466, -0.42534, -2.64385]) {
            assert!((a - b).abs() < 1e-5, "{drawn:?}");
        }
    }
}
