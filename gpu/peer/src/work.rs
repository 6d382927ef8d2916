//! What both are asked to do.

/// A kernel call with its sizes. All numbers are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `y [m, n] = x [m, k] w^T`, w: [n, k] as a checkpoint holds it.
    Linear {
        /// Rows.
        m: usize,
        /// Input features.
        k: usize,
        /// Output features.
        n: usize,
    },
    /// A 3 x 3 convolution with stride 1 and padding 1.
    Conv {
        /// Pictures in the batch.
        n: usize,
        /// Rows and columns of pixels.
        edge: usize,
        /// Input channels.
        c: usize,
        /// Output channels.
        o: usize,
    },
    /// softmax(q k^T / sqrt(d)) v.
    Attention {
        /// Samples in the batch.
        n: usize,
        /// Heads.
        heads: usize,
        /// Queries and keys of a sample.
        tokens: usize,
        /// Elements of a head.
        d: usize,
    },
}

impl Work {
    /// Name and sizes.
    pub fn name(&self) -> String {
        match self {
            Work::Linear { m, k, n } => format!("linear {m}x{k} -> {n}"),
            Work::Conv { n, edge, c, o } => format!("conv3x3 {n}x{edge}x{edge}, {c} -> {o}"),
            Work::Attention { n, heads, tokens, d } => format!("attention {n}x{heads} heads of {d}, {tokens} tokens"),
        }
    }

    /// Floating-point operations, a multiply-add as two.
    pub fn flop(&self) -> f64 {
        let count = match *self {
            Work::Linear { m, k, n } => m * k * n,
            Work::Conv { n, edge, c, o } => n * edge * edge * c * o * 9,
            Work::Attention { n, heads, tokens, d } => 2 * n * heads * tokens * tokens * d,
        };
        2.0 * count as f64
    }

    /// Uniform numbers in [-1, 1) for every input, in the layout of the field: linear x [m, k] and w [n, k]; convolution x [n, c, h, w] and
    /// w [o, c, 3, 3]; attention q, k and v [n, heads, tokens, d].
    pub(crate) fn inputs(&self) -> Vec<Vec<f32>> {
        let counts = match *self {
            Work::Linear { m, k, n } => vec![m * k, n * k],
            Work::Conv { n, edge, c, o } => vec![n * c * edge * edge, o * c * 9],
            Work::Attention { n, heads, tokens, d } => vec![n * heads * tokens * d; 3],
        };
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        counts.iter().map(|count| (0..*count).map(|_| next()).collect()).collect()
    }

    /// The result on the host, sums in f64: what both are held against. For small sizes.
    pub(crate) fn on_host(&self, inputs: &[Vec<f32>]) -> Vec<f32> {
        let at = |of: usize, index: usize| f64::from(inputs[of][index]);
        let mut out = Vec::new();
        match *self {
            Work::Linear { m, k, n } => {
                for row in 0..m {
                    out.extend(
                        (0..n).map(|o| (0..k).map(|i| at(0, row * k + i) * at(1, o * k + i)).sum::<f64>() as f32),
                    );
                }
            }
            Work::Conv { n, edge, c, o } => {
                for i in 0..n * o * edge * edge {
                    let (x, y, out_channel, picture) =
                        (i % edge, i / edge % edge, i / edge / edge % o, i / edge / edge / o);
                    let mut sum = 0.0;
                    for tap in 0..9 {
                        let (row, column) = (y + tap / 3, x + tap % 3);
                        if (1..=edge).contains(&row) && (1..=edge).contains(&column) {
                            for channel in 0..c {
                                let pixel = ((picture * c + channel) * edge + row - 1) * edge + column - 1;
                                sum += at(0, pixel) * at(1, (out_channel * c + channel) * 9 + tap);
                            }
                        }
                    }
                    out.push(sum as f32);
                }
            }
            Work::Attention { n, heads, tokens, d } => {
                for query in 0..n * heads * tokens {
                    let first = query / tokens * tokens;
                    let score = |key: usize| {
                        (0..d).map(|i| at(0, query * d + i) * at(1, key * d + i)).sum::<f64>() / (d as f64).sqrt()
                    };
                    let weights: Vec<f64> = (first..first + tokens).map(|key| score(key).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    let value = |i: usize| {
                        weights.iter().enumerate().map(|(key, w)| w * at(2, (first + key) * d + i)).sum::<f64>()
                    };
                    out.extend((0..d).map(|i| (value(i) / total) as f32));
                }
            }
        }
        out
    }
}
