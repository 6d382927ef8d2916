//! numpy's and torch's ways to make sequences, where the last digit matters.

/// numpy.linspace(start, stop, n) in f64: the last entry is exactly `stop`; one point is `start`.
pub fn linspace(start: f64, stop: f64, n: usize) -> Vec<f64> {
    let step = if n > 1 { (stop - start) / (n - 1) as f64 } else { 0.0 };
    (0..n).map(|i| if n > 1 && i == n - 1 { stop } else { start + i as f64 * step }).collect()
}

/// torch.linspace(start, stop, n) in f32: from both ends towards the middle, each value rounded once (fused multiply-add).
pub fn linspace_f32(start: f32, stop: f32, n: usize) -> Vec<f32> {
    if n < 2 {
        return vec![start; n];
    }
    let step = (stop - start) / (n - 1) as f32;
    let from_end = |i: usize| (-step).mul_add((n - 1 - i) as f32, stop);
    (0..n).map(|i| if i < n / 2 { step.mul_add(i as f32, start) } else { from_end(i) }).collect()
}

/// numpy.interp of `table` over 0, 1, ...: linear, clamped at both ends.
pub fn interp(table: &[f64], at: f64) -> f64 {
    let Some(last) = table.len().checked_sub(1) else { return 0.0 };
    let at = at.clamp(0.0, last as f64);
    let low = (at.floor() as usize).min(last);
    let high = (low + 1).min(last);
    table[low] + (table[high] - table[low]) * (at - low as f64)
}

/// `n` falling levels, evenly spread along the logarithm of `levels`, linear between them; the levels themselves where there are as many.
pub fn log_linear(levels: &[f64], n: usize) -> Vec<f64> {
    if levels.len() == n {
        return levels.to_vec();
    }
    let logs: Vec<f64> = levels.iter().map(|v| v.ln()).collect();
    linspace(0.0, (levels.len() - 1) as f64, n).into_iter().map(|at| interp(&logs, at).exp()).collect()
}

/// The integral of e^(c x) x^k from `a` to `b`, for c not 0.
pub fn integrate_exp(c: f64, k: usize, a: f64, b: f64) -> f64 {
    // By parts, downwards: the primitive is e^(c x) / c times (x^k - k/c x^(k-1) + k(k-1)/c^2 x^(k-2) - ...).
    let primitive = |x: f64| {
        let (mut sum, mut factor) = (0.0, 1.0);
        for j in (0..=k).rev() {
            sum += factor * x.powi(j as i32);
            factor *= -(j as f64) / c;
        }
        sum / c
    };
    (c * b).exp() * (primitive(b) - primitive(a) * (-(c * (b - a))).exp())
}

/// Coefficients, constant first, of the polynomial that is 1 at `points[k]` and 0 at the others.
pub fn lagrange(points: &[f64], k: usize) -> Vec<f64> {
    let mut out = vec![1.0];
    for (_, p) in points.iter().enumerate().filter(|(j, _)| *j != k) {
        let scale = 1.0 / (points[k] - p);
        let mut next = vec![0.0; out.len() + 1];
        for (j, c) in out.iter().enumerate() {
            next[j] -= c * p * scale;
            next[j + 1] += c * scale;
        }
        out = next;
    }
    out
}

/// ln of the gamma function for x > 0 (Lanczos, g = 7, 9 terms: about 1e-15 relative).
fn ln_gamma(x: f64) -> f64 {
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let sum: f64 = C.iter().enumerate().skip(1).map(|(i, c)| c / (x + i as f64)).sum::<f64>() + C[0];
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun 26.5.8).
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges quickly on one side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    // Lentz's method.
    let tiny = 1e-300;
    let (mut c, mut d, mut value) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)), 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d, tiny);
            c = nonzero(1.0 + term / c, tiny);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * value
}

fn nonzero(v: f64, tiny: f64) -> f64 {
    if v.abs() < tiny { tiny } else { v }
}

/// The p-quantile of the beta distribution, by halving.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let mid = 0.5 * (low + high);
        if beta_cdf(mid, a, b) < p { low = mid } else { high = mid }
    }
    0.5 * (low + high)
}

/// The integral of a polynomial of degree 7 or less from `a` to `b`, exactly (Gauss-Legendre, 4 points).
pub fn integrate(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    const POINTS: [(f64, f64); 2] =
        [(0.339_981_043_584_856_3, 0.652_145_154_862_546_1), (0.861_136_311_594_052_6, 0.347_854_845_137_453_85)];
    let (mid, half) = (0.5 * (a + b), 0.5 * (b - a));
    POINTS.iter().map(|(x, w)| w * half * (f(mid - half * x) + f(mid + half * x))).sum()
}

/// Solves the n by n system `rows` * x = `right` by elimination with pivoting; none if it is singular.
pub fn solve(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for c in 0..n {
        let pivot = (c..n).max_by(|i, j| rows[*i][c].abs().total_cmp(&rows[*j][c].abs()))?;
        rows.swap(c, pivot);
        right.swap(c, pivot);
        if rows[c][c] == 0.0 {
            return None;
        }
        for r in 0..n {
            if r != c {
                let f = rows[r][c] / rows[c][c];
                let top = rows[c].clone();
                rows[r].iter_mut().zip(top).for_each(|(v, t)| *v -= f * t);
                right[r] -= f * right[c];
            }
        }
    }
    Some((0..n).map(|i| right[i] / rows[i][i]).collect())
}
