//! SuperMerger's smoothAdd: the difference M - minus, smoothed by a median of 3 and a Gaussian of sigma 1 along every dimension.
//!
//! On the host: neighbourhoods of up to 81 elements in four dimensions, the oracle's own order of filters, and a method nobody drags a slider of.

use crate::method::{About, HostInputs, Method, Settings};

/// B + w smooth(M - minus).
pub struct SmoothAdd;

static ABOUT: About = About::new(
    "smooth_add",
    "Smooth add",
    "SuperMerger `smoothAdd`, https://github.com/hako-mikan/sd-webui-supermerger/blob/main/calcmode_en.md",
)
.models(1, 1)
.with_minus()
.with_origin()
.on_host();

impl Method for SmoothAdd {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let difference: Vec<f32> = inputs.models[0].iter().zip(inputs.minus[0]).map(|(m, c)| m - c).collect();
        let mut smooth = median(&difference, settings.shape);
        for axis in 0..settings.shape.len() {
            smooth = gaussian(&smooth, settings.shape, axis);
        }
        let w = settings.weights[0];
        inputs.base.iter().zip(&smooth).map(|(b, s)| (f64::from(*b) + w * f64::from(*s)) as f32).collect()
    }
}

/// Step between neighbours along an axis.
fn stride(shape: &[usize], axis: usize) -> usize {
    shape[axis + 1..].iter().product()
}

/// Place `i` of `len`, mirrored at the ends with the edge repeated (d c b a | a b c d | d c b a).
fn mirrored(i: isize, len: usize) -> usize {
    let period = 2 * len as isize;
    let at = i.rem_euclid(period) as usize;
    if at < len { at } else { 2 * len - 1 - at }
}

/// The median of every element's neighbourhood of 3 along each dimension.
fn median(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut near = Vec::new();
    let at = |e: usize| {
        near.clear();
        near.push(0usize);
        for axis in 0..shape.len() {
            let (step, len) = (stride(shape, axis), shape[axis]);
            let own = (e / step % len) as isize;
            let places: Vec<usize> = (-1..=1).map(|d| mirrored(own + d, len) * step).collect();
            near = near.iter().flat_map(|n| places.iter().map(move |p| n + p)).collect();
        }
        let mut found: Vec<f32> = near.iter().map(|i| values[*i]).collect();
        let middle = found.len() / 2;
        *found.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    (0..values.len()).map(at).collect()
}

/// A Gaussian of sigma 1, four neighbours to each side, along one dimension; sums in f64, the result in f32.
fn gaussian(values: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
    let (step, len) = (stride(shape, axis), shape[axis]);
    let weights: Vec<f64> = (-4..=4).map(|d: i32| (-0.5 * f64::from(d * d)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let at = |e: usize| {
        let own = e / step % len;
        let line = e - own * step;
        let value = |d: usize| f64::from(values[line + mirrored(own as isize + d as isize - 4, len) * step]);
        (weights.iter().enumerate().map(|(d, w)| w / sum * value(d)).sum::<f64>()) as f32
    };
    (0..values.len()).map(at).collect()
}
