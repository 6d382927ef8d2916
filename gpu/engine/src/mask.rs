//! Inpainting: a picture is changed where a mask is white, by the rules of three programs.
//!
//! - diffusers (`StableDiffusionInpaintPipeline`): after every step the rest is the picture with noise of the level reached.
//! - A1111: the network's estimate of the clean latent is the picture's in the rest; the finished picture is laid over the original.
//! - ComfyUI (`KSamplerX0Inpaint`): the network sees the rest as the picture with noise of the level at hand, and its estimate there is the picture's.
//!
//! Models with five more channels read the mask and the masked picture as well (Rombach et al. 2022); diffusers then does nothing else.

use std::sync::Arc;

use admix_sample::{Knob, KnobValues, Op};
use admix_tensor::{Gpu, Recorder, Tensor};

use crate::EngineError;
use crate::denoise::{Denoiser, Registers};
use crate::picture::Picture;

/// Whose rules.
pub const RULE: Knob = Knob::choice(
    "inpaint_rule",
    "Inpainting rule",
    &["diffusers", "a1111", "comfy"],
    "how what the mask leaves is held in place: after each step (diffusers), in the network's estimate (a1111), before and after the network (comfy)",
);

/// Blur of the mask.
pub const BLUR: Knob = Knob::number(
    "mask_blur",
    "Mask blur",
    0.0,
    64.0,
    0.0,
    "pixels (standard deviation) by which the mask's edge is softened; A1111's default is 4",
);

/// Which side is painted anew.
pub const INVERT: Knob =
    Knob::choice("mask_invert", "Mask invert", &["no", "yes"], "no: white is painted anew; yes: black is");

/// All of them.
pub const ALL: &[Knob] = &[RULE, BLUR, INVERT];

/// See [`RULE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// After each step.
    Diffusers,
    /// In the estimate.
    A1111,
    /// Around the network.
    Comfy,
}

impl Rule {
    /// The rule a knob's value names.
    pub fn of(values: &KnobValues) -> Rule {
        match values.get(&RULE) as usize {
            1 => Rule::A1111,
            2 => Rule::Comfy,
            _ => Rule::Diffusers,
        }
    }
}

/// A mask of one picture: 1 where it is painted anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row, 0 to 1.
    pub data: Vec<f32>,
}

impl Mask {
    /// From a picture's brightness (ITU-R 601, as PIL's mode L), scaled to a size, with the knobs of inversion and blur applied.
    pub fn new(picture: &Picture, width: usize, height: usize, values: &KnobValues) -> Mask {
        let fitted = picture.resized(width, height);
        let invert = values.get(&INVERT) == 1.0;
        let grey = |p: &[u8]| {
            let l = (u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 0x8000) >> 16;
            let l = l as f32 / 255.0;
            if invert { 1.0 - l } else { l }
        };
        let mask = Mask { width, height, data: fitted.rgb.chunks_exact(3).map(grey).collect() };
        mask.blurred(values.get(&BLUR))
    }

    /// Gaussian blur of standard deviation `sigma`, as wide as A1111's (2.5 sigma to each side), edges mirrored as OpenCV does.
    fn blurred(self, sigma: f64) -> Mask {
        let reach = (2.5 * sigma + 0.5) as i64;
        if sigma <= 0.0 || reach == 0 {
            return self;
        }
        let weights: Vec<f64> = (-reach..=reach).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mirrored = |i: i64, n: i64| {
            // 1 0 | 1 2 ... : the edge itself is not repeated.
            let period = (2 * n - 2).max(1);
            let i = i.rem_euclid(period);
            (if i < n { i } else { period - i }) as usize
        };
        let pass = |data: &[f32], across: bool| -> Vec<f32> {
            let (w, h) = (self.width, self.height);
            let at = |x: usize, y: usize, d: i64| {
                let (x, y) =
                    if across { (mirrored(x as i64 + d, w as i64), y) } else { (x, mirrored(y as i64 + d, h as i64)) };
                f64::from(data[y * w + x])
            };
            let sum = |x: usize, y: usize| (-reach..=reach).zip(&weights).map(|(d, g)| g * at(x, y, d)).sum::<f64>();
            (0..w * h).map(|i| (sum(i % w, i / w) / total) as f32).collect()
        };
        let data = pass(&pass(&self.data, true), false);
        Mask { data, ..self }
    }

    /// The mask of latents [h, w], by the rule's way of shrinking: diffusers takes the nearest of a two-valued mask, A1111 rounds a bicubic one,
    /// ComfyUI averages.
    pub fn latent(&self, w: usize, h: usize, rule: Rule) -> Vec<f32> {
        let (sx, sy) = (self.width as f64 / w as f64, self.height as f64 / h as f64);
        let pixel = |x: usize, y: usize| self.data[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let cell = |i: usize| {
            let (x, y) = ((i % w) as f64, (i / w) as f64);
            match rule {
                Rule::Diffusers => f32::from(pixel((x * sx) as usize, (y * sy) as usize) >= 0.5),
                Rule::A1111 => {
                    let (left, top) = ((x * sx) as usize, (y * sy) as usize);
                    let (right, bottom) = (((x + 1.0) * sx).ceil() as usize, ((y + 1.0) * sy).ceil() as usize);
                    let count = ((right - left) * (bottom - top)).max(1);
                    let cells = (top..bottom).flat_map(|v| (left..right).map(move |u| (u, v)));
                    (cells.map(|(u, v)| f64::from(pixel(u, v))).sum::<f64>() / count as f64).round_ties_even() as f32
                }
                Rule::Comfy => {
                    let (cx, cy) = ((x + 0.5) * sx - 0.5, (y + 0.5) * sy - 0.5);
                    let (cx, cy) = (cx.max(0.0), cy.max(0.0));
                    let (u, v, fx, fy) = (cx as usize, cy as usize, cx.fract() as f32, cy.fract() as f32);
                    let row = |v: usize| pixel(u, v) * (1.0 - fx) + pixel(u + 1, v) * fx;
                    row(v) * (1.0 - fy) + row(v + 1) * fy
                }
            }
        };
        (0..w * h).map(cell).collect()
    }

    /// The picture without what is painted anew (grey there): what inpainting models read.
    pub fn hide(&self, picture: &Picture) -> Vec<f32> {
        let unit = picture.to_unit();
        let keep = |i: usize| if self.data[i / 3] < 0.5 { unit[i] } else { 0.0 };
        (0..unit.len()).map(keep).collect()
    }

    /// `changed` where the mask is 1, `original` where it is 0.
    pub fn overlay(&self, original: &Picture, changed: &Picture) -> Picture {
        let mix = |i: usize| {
            let m = self.data[i / 3];
            (f32::from(changed.rgb[i]) * m + f32::from(original.rgb[i]) * (1.0 - m)).round() as u8
        };
        Picture { rgb: (0..changed.rgb.len()).map(mix).collect(), ..changed.clone() }
    }
}

/// What a run needs to hold the rest of a picture in place.
pub(crate) struct Inpaint {
    rule: Rule,
    mask: Tensor,
    kept: Tensor,
    noise: Tensor,
    saved: Tensor,
}

impl Inpaint {
    /// `mask` [h w] of one latent, `kept` [h w, channels] the picture's latents, `noise` [n h w, channels] the run's first noise.
    pub fn new(gpu: &Arc<Gpu>, rule: Rule, mask: &[f32], kept: &[f32], noise: &[f32]) -> Result<Inpaint, EngineError> {
        let channels = kept.len() / mask.len().max(1);
        let n = noise.len() / kept.len().max(1);
        let rows = n * mask.len();
        let wide: Vec<f32> = mask.iter().flat_map(|m| std::iter::repeat_n(*m, channels)).collect();
        let make = |name: &str, data: &[f32]| Tensor::upload(gpu, name, data, rows, channels);
        Ok(Inpaint {
            rule,
            mask: make("mask", &wide.repeat(n))?,
            kept: make("kept", &kept.repeat(n))?,
            noise: make("kept noise", noise)?,
            saved: Tensor::empty(gpu, "saved", rows, channels)?,
        })
    }

    fn blend(&self, gpu: &Arc<Gpu>, x: &Tensor, sigma: f64) -> Result<(), EngineError> {
        let mut rec = Recorder::new(gpu);
        rec.blend(x, &self.mask, (&self.kept, 1.0), (&self.noise, sigma as f32))?;
        rec.finish().submit();
        Ok(())
    }

    fn copy(gpu: &Arc<Gpu>, from: &Tensor, to: &Tensor) {
        let mut rec = Recorder::new(gpu);
        rec.copy(from, 0, to, 0, to.bytes());
        rec.finish().submit();
    }

    /// One step of the plan, with the rule around it.
    pub fn submit_step(
        &self,
        denoiser: &Denoiser<'_>,
        ops: &[Op],
        registers: &Registers,
        noise: &mut dyn FnMut(usize) -> Vec<f32>,
    ) -> Result<(), EngineError> {
        let gpu = denoiser.gpu;
        if self.rule == Rule::Diffusers {
            denoiser.submit_step(ops, registers, noise)?;
            if let Some(Op::StepEnd { x, sigma, .. }) = ops.last() {
                self.blend(gpu, registers.get(x.0), *sigma)?;
            }
            return Ok(());
        }
        for part in ops.chunk_by(|a, b| !matches!(a, Op::Denoise { .. }) && !matches!(b, Op::Denoise { .. })) {
            let [Op::Denoise { x, sigma, out, .. }] = part else {
                denoiser.submit_step(part, registers, noise)?;
                continue;
            };
            let (x, out) = (registers.get(x.0), registers.get(out.0));
            if self.rule == Rule::Comfy {
                Self::copy(gpu, x, &self.saved);
                self.blend(gpu, x, *sigma)?;
            }
            denoiser.submit_step(part, registers, noise)?;
            if self.rule == Rule::Comfy {
                Self::copy(gpu, &self.saved, x);
            }
            self.blend(gpu, out, 0.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(data: &[u8], width: usize, values: &KnobValues) -> Mask {
        let picture = Picture { width, height: data.len() / width, rgb: data.iter().flat_map(|v| [*v; 3]).collect() };
        Mask::new(&picture, width, data.len() / width, values)
    }

    #[test]
    fn masks_shrink_by_each_rule() {
        let data: Vec<u8> = [[0, 255, 255, 255], [0, 255, 255, 255], [255, 0, 0, 0], [0, 0, 0, 255]].concat();
        let mask = mask(&data, 4, &KnobValues::new());
        assert_eq!(mask.latent(2, 2, Rule::Diffusers), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(mask.latent(2, 2, Rule::Comfy), [0.5, 1.0, 0.25, 0.25]);
        assert_eq!(mask.latent(2, 2, Rule::A1111), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn blur_and_inversion() {
        let mut values = KnobValues::new();
        values.set("mask_blur", 2.0);
        let line: Vec<u8> = (0..32).map(|i| if i < 16 { 0 } else { 255 }).collect();
        let soft = mask(&line.repeat(16), 32, &values);
        assert!(soft.data.windows(2).take(31).all(|w| w[0] <= w[1] + 1e-6));
        assert!((soft.data[15] + soft.data[16] - 1.0).abs() < 1e-5 && soft.data[0] == 0.0);
        values.set("mask_invert", 1.0);
        let other = mask(&line.repeat(16), 32, &values);
        assert!(soft.data.iter().zip(&other.data).all(|(a, b)| (a + b - 1.0).abs() < 1e-5));
    }
}
