//! Hires-fix: the finished latents are enlarged, noised again and denoised at the larger size (A1111's `Hires. fix`, ComfyUI's second KSampler).

use admix_sample::{Knob, KnobValues};

use crate::EngineError;
use crate::decode::Grid;

/// How much larger.
pub const SCALE: Knob =
    Knob::number("hires_scale", "Hires scale", 1.0, 8.0, 1.0, "a second pass at this many times the size; 1: none");

/// How much of the second run is done.
pub const STRENGTH: Knob = Knob::number(
    "hires_strength",
    "Hires denoising strength",
    0.0,
    1.0,
    0.7,
    "how far the second pass changes the enlarged picture",
);

/// Steps of the second run.
pub const STEPS: Knob =
    Knob::number("hires_steps", "Hires steps", 0.0, 1000.0, 0.0, "steps of the second pass; 0: as many as the first");

/// How it is enlarged.
pub const UPSCALER: Knob = Knob::choice(
    "hires_upscaler",
    "Hires upscaler",
    &[
        "latent_bilinear",
        "latent_nearest",
        "latent_bicubic",
        "picture_lanczos",
        "picture_bicubic",
        "picture_nearest",
        "latent_nearest_exact",
    ],
    "what is enlarged, and how: the latents, or the picture (decoded and encoded again)",
);

/// All of them.
pub const ALL: &[Knob] = &[SCALE, STRENGTH, STEPS, UPSCALER];

/// A second pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hires {
    /// Times larger.
    pub scale: f64,
    /// Share of its run.
    pub strength: f64,
    /// Its steps, if others than the first's.
    pub steps: Option<usize>,
    /// How to get there.
    pub upscaler: Upscaler,
}

/// See [`UPSCALER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upscaler {
    /// Enlarges latents.
    Latent(Filter),
    /// Enlarges the decoded picture.
    Picture(Filter),
}

/// How values between cells are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The cell at the left or upper end of a position (torch's `nearest`).
    Nearest,
    /// The cell at its middle (torch's `nearest-exact`).
    NearestExact,
    /// Straight lines.
    Bilinear,
    /// Keys' cubic (a = -0.75 on latents as torch, -0.5 on pictures as PIL).
    Bicubic,
    /// Windowed sinc of three lobes.
    Lanczos,
}

impl Hires {
    /// The second pass that knobs ask for; none at scale 1.
    pub fn read(values: &KnobValues) -> Option<Hires> {
        let scale = values.get(&SCALE);
        let upscaler = match values.get(&UPSCALER) as usize {
            1 => Upscaler::Latent(Filter::Nearest),
            2 => Upscaler::Latent(Filter::Bicubic),
            3 => Upscaler::Picture(Filter::Lanczos),
            4 => Upscaler::Picture(Filter::Bicubic),
            5 => Upscaler::Picture(Filter::Nearest),
            6 => Upscaler::Latent(Filter::NearestExact),
            _ => Upscaler::Latent(Filter::Bilinear),
        };
        let steps = values.get(&STEPS).round() as usize;
        let hires = Hires { scale, strength: values.get(&STRENGTH), steps: (steps > 0).then_some(steps), upscaler };
        (scale > 1.0).then_some(hires)
    }

    /// Edges of the second pass in pixels, whole latent cells. Errors: too large.
    pub fn size(&self, width: usize, height: usize, factor: usize) -> Result<(usize, usize), EngineError> {
        let edge = |v: usize| (v as f64 * self.scale) as usize / factor * factor;
        let (w, h) = (edge(width), edge(height));
        if w.max(h) > 8192 {
            let limit = 8192.0 / width.max(height) as f64;
            return Err(EngineError::Input(format!(
                "hires_scale = {} makes {w}x{h} pixels; the most is 8192, a scale of {limit:.2}",
                self.scale
            )));
        }
        Ok((w, h))
    }
}

/// Latents at another size as torch's `interpolate` without corner alignment: `nearest`, `bilinear`, `bicubic` (a = -0.75).
pub(crate) fn latents(from: &Grid, h: usize, w: usize, filter: Filter) -> Grid {
    let rows = taps(from.h, h, filter);
    let columns = taps(from.w, w, filter);
    let mut data = Vec::with_capacity(h * w * from.c);
    for row in &rows {
        for column in &columns {
            for c in 0..from.c {
                let value = |y: usize, x: usize| f64::from(from.data[(y * from.w + x) * from.c + c]);
                let across = |y: usize| column.iter().map(|(x, k)| k * value(y, *x)).sum::<f64>();
                data.push(row.iter().map(|(y, k)| k * across(*y)).sum::<f64>() as f32);
            }
        }
    }
    Grid { h, w, c: from.c, data }
}

/// Latents [h, w, c] (NHWC of one sample) at another size [h, w].
pub fn enlarged(data: &[f32], [h, w, c]: [usize; 3], to: [usize; 2], filter: Filter) -> Vec<f32> {
    latents(&Grid { h, w, c, data: data.to_vec() }, to[0], to[1], filter).data
}

/// For each of `to` positions: cells of `from` and their weights.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Vec<(usize, f64)>> {
    let scale = from as f64 / to as f64;
    let clamp = |i: i64| i.clamp(0, from as i64 - 1) as usize;
    let one = |i: usize| match filter {
        Filter::Nearest => vec![(clamp((i as f64 * scale) as i64), 1.0)],
        Filter::NearestExact => vec![(clamp(((i as f64 + 0.5) * scale) as i64), 1.0)],
        Filter::Bilinear => {
            let at = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
            vec![(clamp(at as i64), 1.0 - at.fract()), (clamp(at as i64 + 1), at.fract())]
        }
        Filter::Bicubic | Filter::Lanczos => {
            let at = (i as f64 + 0.5) * scale - 0.5;
            let (first, t) = (at.floor(), at - at.floor());
            let a = -0.75;
            let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
            let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            (-1..3).zip(weights).map(|(d, k)| (clamp(first as i64 + d), k)).collect()
        }
    };
    (0..to).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch 2: interpolate(arange(6).reshape(1, 1, 2, 3) ** 2 / 10, size=(3, 4), mode=..., align_corners=False).
    #[test]
    fn latents_grow_as_in_torch() {
        let from = Grid { h: 2, w: 3, c: 1, data: (0..6).map(|i| (i * i) as f32 / 10.0).collect() };
        for (filter, expected) in [
            (Filter::Nearest, NEAREST),
            (Filter::NearestExact, NEAREST_EXACT),
            (Filter::Bilinear, BILINEAR),
            (Filter::Bicubic, BICUBIC),
        ] {
            let found = latents(&from, 3, 4, filter).data;
            let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far <= 2e-6, "{filter:?}: {found:?}");
        }
    }

    const NEAREST: [f32; 12] = [0.0, 0.0, 0.1, 0.4, 0.0, 0.0, 0.1, 0.4, 0.9, 0.9, 1.6, 2.5];
    const NEAREST_EXACT: [f32; 12] = [0.0, 0.1, 0.1, 0.4, 0.9, 1.6, 1.6, 2.5, 0.9, 1.6, 1.6, 2.5];
    const BILINEAR: [f32; 12] = [0.0, 0.0625, 0.2125, 0.4, 0.45, 0.7, 1.075, 1.45, 0.9, 1.3374999, 1.9375, 2.5];
    const BICUBIC: [f32; 12] = [
        -0.0815644, -0.0747121, 0.0643931, 0.2355031, 0.4212891, 0.6399414, 1.1101563, 1.4930663, 0.9241424, 1.3545948,
        2.1559193, 2.7506294,
    ];
}
