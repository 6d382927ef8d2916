//! Pictures at another size, bit for bit as Pillow does it (`src/libImaging/Resample.c`): A1111 and diffusers enlarge with it.
//!
//! Across first, then down, each rounded to 8 bits; weights in fixed point with 22 binary digits.

use crate::upscale::Filter;

/// Binary digits of a weight.
const DIGITS: u32 = 22;

/// How far a filter reaches, and its weight at a distance.
fn weight(filter: Filter) -> (f64, fn(f64) -> f64) {
    fn sinc(x: f64) -> f64 {
        let x = x * std::f64::consts::PI;
        if x == 0.0 { 1.0 } else { x.sin() / x }
    }
    match filter {
        Filter::Nearest | Filter::NearestExact => (0.0, |_| 1.0),
        Filter::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
        // Keys' cubic, a = -0.5.
        Filter::Bicubic => (2.0, |x| match x.abs() {
            x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            x if x < 2.0 => ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0,
            _ => 0.0,
        }),
        Filter::Lanczos => (3.0, |x| if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }),
    }
}

/// For each of `to` positions: the first of `from` pixels and the weights from there on.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<(usize, Vec<i64>)> {
    let scale = from as f64 / to as f64;
    let (reach, weight) = weight(filter);
    let wide = scale.max(1.0);
    if reach == 0.0 {
        // Added up as there: which of two pixels an exact middle takes depends on it.
        let centres = std::iter::successors(Some(0.5 * scale), |at| Some(at + scale));
        return centres.take(to).map(|at| ((at as usize).min(from - 1), vec![1 << DIGITS])).collect();
    }
    let one = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - reach * wide + 0.5).max(0.0) as usize;
        let end = ((centre + reach * wide + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end).map(|x| weight((x as f64 - centre + 0.5) / wide)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: f64| {
            let w = w / sum * f64::from(1 << DIGITS);
            (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i64
        };
        (first, weights.into_iter().map(fixed).collect())
    };
    (0..to).map(one).collect()
}

/// RGB pixels of a picture at another size. Sizes are at least 1.
pub(crate) fn resize(rgb: &[u8], from: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<u8> {
    let ([width, height], [wide, high]) = (from, to);
    // Sums `count` pixels, `stride` bytes apart, by their weights.
    let sum = |data: &[u8], at: usize, stride: usize, weights: &[i64]| {
        let sum: i64 = weights.iter().enumerate().map(|(k, w)| w * i64::from(data[at + k * stride])).sum();
        ((sum + (1 << (DIGITS - 1))) >> DIGITS).clamp(0, 255) as u8
    };
    let mut across = Vec::with_capacity(height * wide * 3);
    let columns = taps(width, wide, filter);
    for y in 0..height {
        for (first, weights) in &columns {
            across.extend((0..3).map(|c| sum(rgb, (y * width + first) * 3 + c, 3, weights)));
        }
    }
    let mut out = Vec::with_capacity(high * wide * 3);
    for (first, weights) in taps(height, high, filter) {
        out.extend((0..wide * 3).map(|i| sum(&across, first * wide * 3 + i, wide * 3, &weights)));
    }
    out
}
