//! Low frequencies of the base and high ones of the model, along all dimensions of a tensor.
//!
//! On the host: Fourier transforms of any length along every dimension, in f64.

use crate::method::{About, HostInputs, Knob, Method, Settings};

/// A cut through the spectrum of both, tilted from a step to a weighted sum.
pub struct Crossover;

static KNOBS: &[Knob] = &[Knob::number(
    "tilt",
    "Tilt",
    0.0,
    4.0,
    0.0,
    "0 cuts sharply between low and high frequencies, 0.5 gradually, 1 is a weighted sum, 2 cuts the other way round.",
)];

/// Real and imaginary part.
type Complex = [f64; 2];

/// Fourier transform of `len` values `step` apart, by the factors of the length; `sign` -1 forth, 1 back (without the division).
fn transform(input: &[Complex], step: usize, len: usize, sign: f64) -> Vec<Complex> {
    if len <= 1 {
        return input.iter().take(len).copied().collect();
    }
    let radix = (2..).find(|p| len.is_multiple_of(*p) || p * p > len).filter(|p| len.is_multiple_of(*p)).unwrap_or(len);
    let part = len / radix;
    let parts: Vec<Vec<Complex>> =
        (0..radix).map(|r| transform(&input[r * step..], step * radix, part, sign)).collect();
    let root = |k: usize| {
        let angle = sign * 2.0 * std::f64::consts::PI * (k % len) as f64 / len as f64;
        (angle.cos(), angle.sin())
    };
    let roots: Vec<(f64, f64)> = (0..len).map(root).collect();
    let at = |k: usize| {
        parts.iter().enumerate().fold([0.0, 0.0], |sum: Complex, (r, values)| {
            let ([x, y], (c, s)) = (values[k % part], roots[r * k % len]);
            [sum[0] + x * c - y * s, sum[1] + x * s + y * c]
        })
    };
    (0..len).map(at).collect()
}

/// The shape of the spectrum of real values: half of the last dimension.
fn half(shape: &[usize]) -> Vec<usize> {
    let mut half = shape.to_vec();
    if let Some(last) = half.last_mut() {
        *last = *last / 2 + 1;
    }
    half
}

/// Transforms along all dimensions but the last.
fn across(data: &mut [Complex], shape: &[usize], sign: f64) {
    for axis in 0..shape.len().saturating_sub(1) {
        let (step, len): (usize, usize) = (shape[axis + 1..].iter().product(), shape[axis]);
        for first in (0..data.len()).filter(|e| (e / step).is_multiple_of(len)) {
            let line = transform(&data[first..], step, len, sign);
            line.into_iter().enumerate().for_each(|(k, v)| data[first + k * step] = v);
        }
    }
}

/// The spectrum of real values, half of the last dimension (numpy's rfftn).
fn spectrum(values: &[f32], shape: &[usize]) -> Vec<Complex> {
    let last = shape.last().copied().unwrap_or(1);
    let lines = values.chunks(last.max(1)).flat_map(|line| {
        let line: Vec<Complex> = line.iter().map(|v| [f64::from(*v), 0.0]).collect();
        transform(&line, 1, last, -1.0).into_iter().take(last / 2 + 1).collect::<Vec<_>>()
    });
    let mut data: Vec<Complex> = lines.collect();
    across(&mut data, &half(shape), -1.0);
    data
}

/// The real values of a spectrum (numpy's irfftn).
fn values(mut data: Vec<Complex>, shape: &[usize]) -> Vec<f32> {
    across(&mut data, &half(shape), 1.0);
    let last = shape.last().copied().unwrap_or(1);
    let scale = 1.0 / shape.iter().product::<usize>().max(1) as f64;
    let line = |known: &[Complex]| {
        // The other half mirrors this one; the imaginary parts of the ends have no counterpart and count for nothing.
        let value = |k: usize| match k {
            0 => [known[0][0], 0.0],
            k if 2 * k == last => [known[k][0], 0.0],
            k if k < known.len() => known[k],
            k => [known[last - k][0], -known[last - k][1]],
        };
        let full: Vec<Complex> = (0..last).map(value).collect();
        transform(&full, 1, last, 1.0).into_iter().map(|v| (v[0] * scale) as f32).collect::<Vec<f32>>()
    };
    data.chunks(last / 2 + 1).flat_map(line).collect()
}

/// `count` numbers from `first` to `last`.
fn linspace(first: f32, last: f32, count: usize) -> Vec<f32> {
    let step = (last - first) / (count.max(2) - 1) as f32;
    (0..count)
        .map(|i| if 2 * i < count { first + step * i as f32 } else { last - step * (count - 1 - i) as f32 })
        .collect()
}

/// The model's share of every frequency.
fn filter(shape: &[usize], alpha: f64, tilt: f64) -> Vec<f32> {
    let tilt = tilt - (tilt / 4.0).floor() * 4.0;
    let inverted = tilt > 2.0;
    let alpha = if inverted { 1.0 - alpha } else { alpha };
    let gradient = |axis: usize| -> Vec<f32> {
        let size = shape[axis];
        if axis + 1 == shape.len() || size == 1 {
            return linspace(0.0, 1.0, size);
        }
        // Negative frequencies are in the second half of a dimension.
        let middle = (size / 2) as f32;
        let rising = linspace(0.0, ((size - 1) / 2) as f32, size - size / 2);
        rising.into_iter().chain(linspace(middle, 1.0, size / 2)).map(|v| v / middle).collect()
    };
    let gradients: Vec<Vec<f32>> = (0..shape.len()).map(gradient).collect();
    let mesh = |e: usize| -> f32 {
        let place = |axis: usize| e / shape[axis + 1..].iter().product::<usize>() % shape[axis];
        if shape.len() == 1 {
            return gradients[0][e];
        }
        let squares: f32 = (0..shape.len()).map(|axis| gradients[axis][place(axis)].powi(2)).sum();
        (squares / shape.len() as f32).sqrt()
    };
    let cot = 1.0 / (std::f64::consts::PI * tilt / 2.0).tan();
    let share = |m: f32| -> f32 {
        let edge = (1.0 - alpha) as f32;
        if tilt < 1e-10 || (tilt - 4.0).abs() < 1e-10 {
            f32::from(u8::from(m > edge))
        } else if (tilt - 2.0).abs() < 1e-10 {
            f32::from(u8::from(m < edge))
        } else if tilt <= 1.0 || (tilt > 2.0 && tilt <= 3.0) {
            (f64::from(m) * cot + alpha * cot + alpha - cot).clamp(0.0, 1.0) as f32
        } else {
            (f64::from(m) * cot - alpha * cot + alpha).clamp(0.0, 1.0) as f32
        }
    };
    let whole = |e: usize| if inverted { 1.0 - share(mesh(e)) } else { share(mesh(e)) };
    (0..shape.iter().product()).map(whole).collect()
}

static ABOUT: About = About::new(
    "crossover",
    "Crossover",
    "sd-mecha 1.1.8 `crossover`, https://github.com/ljleb/sd-mecha; alpha is the weight",
)
.knobs(KNOBS)
.models(1, 1)
.on_host();

impl Method for Crossover {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let (alpha, tilt) = (settings.weights[0].clamp(0.0, 1.0), settings.knob(KNOBS, "tilt"));
        let model = inputs.models[0];
        let pairs = || inputs.base.iter().zip(model);
        if alpha == 1.0 {
            return model.to_vec();
        }
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-8 + 1e-5 * b.abs();
        if alpha == 0.0 || tilt == 1.0 || pairs().all(near) {
            return pairs().map(|(a, b)| (f64::from(*a) + alpha * (f64::from(*b) - f64::from(*a))) as f32).collect();
        }
        let (mut a, b) = (spectrum(inputs.base, settings.shape), spectrum(model, settings.shape));
        let share = filter(&half(settings.shape), alpha, tilt);
        for ((a, b), f) in a.iter_mut().zip(&b).zip(&share) {
            *a = [a[0] + f64::from(*f) * (b[0] - a[0]), a[1] + f64::from(*f) * (b[1] - a[1])];
        }
        values(a, settings.shape)
    }
}
