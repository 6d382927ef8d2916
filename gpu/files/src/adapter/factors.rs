//! Two narrow matrices and their product.

/// Two matrices whose scaled product is the change of a weight, seen as the matrix [out, in * kh * kw].
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Rows of the weight.
    pub out: usize,
    /// Columns of the weight, kernel included.
    pub inp: usize,
    /// Rank.
    pub rank: usize,
    /// [out, rank].
    pub up: Vec<f32>,
    /// [rank, inp].
    pub down: Vec<f32>,
    /// Factor of the product.
    pub scale: f64,
}

impl Factors {
    /// Factors [out, rank] and [rank, inp]. `Err`: their sizes do not fit together.
    pub fn new(up: Vec<f32>, down: Vec<f32>, rank: usize, scale: f64) -> Result<Factors, String> {
        let (out, inp) = (up.len().checked_div(rank).unwrap_or(0), down.len().checked_div(rank).unwrap_or(0));
        if rank == 0 || out * rank != up.len() || inp * rank != down.len() || out == 0 || inp == 0 {
            return Err(format!("its factors of {} and {} elements have no common rank {rank}", up.len(), down.len()));
        }
        Ok(Factors { out, inp, rank, up, down, scale })
    }

    /// Tucker factors: `up` [out, m], `mid` [m, n, taps], `down` [n, inp]; the middle is folded into `down`.
    pub fn tucker(
        up: Vec<f32>,
        mid: &[f32],
        down: &[f32],
        [m, n, taps]: [usize; 3],
        scale: f64,
    ) -> Result<Factors, String> {
        let inp = down.len().checked_div(n).unwrap_or(0);
        if mid.len() != m * n * taps || inp * n != down.len() {
            return Err("its factors do not fit together".into());
        }
        Factors::new(up, fold(mid, down, m, n, inp, taps), m, scale)
    }

    /// `scale * up @ down`, [out, inp], summed in f64: the reference for what the device computes.
    pub fn delta(&self) -> Vec<f32> {
        self.delta_wide().into_iter().map(|v| v as f32).collect()
    }

    /// [`Factors::delta`] in f64.
    pub fn delta_wide(&self) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.out * self.inp);
        for row in self.up.chunks(self.rank) {
            let mut sums = vec![0f64; self.inp];
            for (u, down) in row.iter().zip(self.down.chunks(self.inp)) {
                for (sum, d) in sums.iter_mut().zip(down) {
                    *sum += f64::from(*u) * f64::from(*d);
                }
            }
            out.extend(sums.iter().map(|s| s * self.scale));
        }
        out
    }
}

/// Tucker's middle and `down` as one matrix: [m, i * k] = sum over n of mid[m, n, k] down[n, i].
fn fold(mid: &[f32], down: &[f32], m: usize, n: usize, i: usize, k: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * i * k);
    for a in 0..m {
        for b in 0..i {
            for c in 0..k {
                let sum: f64 = (0..n).map(|j| f64::from(mid[(a * n + j) * k + c]) * f64::from(down[j * i + b])).sum();
                out.push(sum as f32);
            }
        }
    }
    out
}
