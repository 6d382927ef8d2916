//! The recording of one pass: everything between the scaled latents and the prediction.

use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::{Activation, Picture};
use admix_tensor::{Recorder, Tensor, padded};

use super::{Attention, Block, Conditioning, ResNet, Side, Tap, Transformer, Tweaks, UNet};
use crate::ModelError;

/// The recording of one pass.
pub(super) struct Step<'a> {
    pub unet: &'a UNet,
    pub cond: &'a Conditioning,
    pub rec: &'a mut Recorder,
    pub tweaks: &'a Tweaks,
    /// Filled where the tweaks ask for it.
    pub tap: Option<Tap>,
}

impl Step<'_> {
    pub fn forward(&mut self, input: &Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let unet = self.unet;
        let padded_input = self.rec.pad1(input, size)?;
        let (mut x, mut size) = unet.conv_in.conv3x3(self.rec, &padded_input, size, 1, None, None)?;
        drop(padded_input);
        let mut skips = vec![(x.clone(), size)];
        for (i, level) in unet.down.iter().enumerate() {
            for (j, resnet) in level.resnets.iter().enumerate() {
                x = self.resnet(resnet, x, size)?;
                if let Some(t) = level.transformers.get(j) {
                    x = self.transformer(t, x, size, (Side::Down, i, j))?;
                }
                skips.push((x.clone(), size));
            }
            if let Some(conv) = &level.resample {
                let p = self.rec.pad1(&x, size)?;
                (x, size) = conv.conv3x3(self.rec, &p, size, 2, None, None)?;
                skips.push((x.clone(), size));
            }
        }
        x = self.resnet(&unet.mid.resnets[0], x, size)?;
        x = self.transformer(&unet.mid.transformers[0], x, size, (Side::Mid, 0, 0))?;
        x = self.resnet(&unet.mid.resnets[1], x, size)?;
        let count = skips.len();
        for (i, level) in unet.up.iter().enumerate() {
            for (j, resnet) in level.resnets.iter().enumerate() {
                if let Some((skip, _)) = skips.pop() {
                    self.reweigh(&x, &skip, size, i, count - skips.len() - 1, count)?;
                    let joined = self.rec.concat(&x, &skip)?;
                    drop((x, skip));
                    x = self.resnet(resnet, joined, size)?;
                }
                if let Some(t) = level.transformers.get(j) {
                    x = self.transformer(t, x, size, (Side::Up, i, j))?;
                }
            }
            if let Some(conv) = &level.resample {
                // Up to the size of the skip that comes next, so that odd sizes meet again (diffusers' upsample_size).
                let next = skips.last().map_or(size, |s| s.1);
                let p = self.rec.place(&x, size, (next.h, next.w), 1, 1, (next.h + 2, next.w + 2))?;
                (x, size) = conv.conv3x3(self.rec, &p, next, 1, None, None)?;
            }
        }
        let c = &unet.config;
        let n = &unet.norm_out;
        let h = self.rec.group_norm(
            &x,
            size,
            c.norm_num_groups,
            c.norm_eps as f32,
            &n.gamma,
            &n.beta,
            Activation::Silu,
            1,
        )?;
        Ok(unet.conv_out.conv3x3(self.rec, &h, size, 1, None, None)?.0)
    }

    /// What FreeU and skip tuning do to the backbone and a skip before they are joined; both are read nowhere else from here on.
    fn reweigh(
        &mut self,
        x: &Tensor,
        skip: &Tensor,
        size: Picture,
        block: usize,
        number: usize,
        count: usize,
    ) -> Result<(), ModelError> {
        if let Some([b1, b2, s1, s2]) = self.tweaks.freeu
            && let Some((b, s)) = [(b1, s1), (b2, s2)].get(block)
        {
            self.rec.scale_columns(x, x.cols / 2, *b as f32)?;
            self.rec.low_pass(skip, size, *s as f32)?;
        }
        if let Some(factor) = self.tweaks.skip_factor(number, count) {
            self.rec.scale_columns(skip, skip.cols, factor as f32)?;
        }
        Ok(())
    }

    fn resnet(&mut self, r: &ResNet, x: Tensor, size: Picture) -> Result<Tensor, ModelError> {
        let c = &self.unet.config;
        let (groups, eps) = (c.norm_num_groups, c.norm_eps as f32);
        let h = self.rec.group_norm(&x, size, groups, eps, &r.norm1.gamma, &r.norm1.beta, Activation::Silu, 1)?;
        let time = Some((&self.cond.time_row, r.time_at));
        let (h, _) = r.conv1.conv3x3(self.rec, &h, size, 1, time, None)?;
        let h = self.rec.group_norm(&h, size, groups, eps, &r.norm2.gamma, &r.norm2.beta, Activation::Silu, 1)?;
        let shortcut = match &r.shortcut {
            Some(layer) => layer.linear(self.rec, &x, Activation::None, None)?,
            None => x,
        };
        Ok(r.conv2.conv3x3(self.rec, &h, size, 1, None, Some(&shortcut))?.0)
    }

    fn transformer(
        &mut self,
        t: &Transformer,
        x: Tensor,
        size: Picture,
        place: (Side, usize, usize),
    ) -> Result<Tensor, ModelError> {
        let change = self.tweaks.attention_at(place);
        let groups = self.unet.config.norm_num_groups;
        let rec = &mut *self.rec;
        let h = rec.group_norm(&x, size, groups, 1e-6, &t.norm.gamma, &t.norm.beta, Activation::None, 0)?;
        let mut h = t.proj_in.linear(rec, &h, Activation::None, None)?;
        let tokens = size.h * size.w;
        let (n, heads, d) = (size.n, t.heads, t.d);
        let step = padded(h.cols);
        for b in t.blocks.iter().filter(|_| change != Some(Attention::Skipped)) {
            let y = rec.layer_norm(&h, 1e-5, &b.norm1.gamma, &b.norm1.beta)?;
            let qkv = b.qkv.linear(rec, &y, Activation::None, None)?;
            let part = |i: usize| Operand { tensor: &qkv, at: i * step };
            let s = Heads { n, heads, d, tq: tokens, tk: tokens, causal: false };
            if self.tweaks.tap && place.0 == Side::Mid && self.tap.is_none() {
                self.tap = Some(Tap { mass: rec.attention_mass(&qkv, step, s)?, cells: size });
            }
            let y = match change {
                Some(Attention::Identity) => {
                    let y = rec.tensor(h.rows, h.cols)?;
                    rec.copy_columns(&qkv, 0, 2 * step, &y, h.rows)?;
                    y
                }
                Some(Attention::Blurred(sigma)) => {
                    // The reference's kernel: six deviations wide, and odd.
                    let reach = (6.0 * sigma.unwrap_or(0.0)).ceil() as usize / 2;
                    let q = rec.blur(part(0), h.cols, size, sigma, reach)?;
                    rec.attention(Operand { tensor: &q, at: 0 }, part(1), part(2), s)?
                }
                _ => rec.attention(part(0), part(1), part(2), s)?,
            };
            h = b.out1.linear(rec, &y, Activation::None, Some(&h))?;

            let y = rec.layer_norm(&h, 1e-5, &b.norm2.gamma, &b.norm2.beta)?;
            let q = b.q.linear(rec, &y, Activation::None, None)?;
            let kv = &self.cond.keys[b.kv_index];
            let s = Heads { tk: self.cond.tokens, ..s };
            let y = rec.attention(
                Operand { tensor: &q, at: 0 },
                Operand { tensor: kv, at: 0 },
                Operand { tensor: kv, at: step },
                s,
            )?;
            h = b.out2.linear(rec, &y, Activation::None, Some(&h))?;

            let y = rec.layer_norm(&h, 1e-5, &b.norm3.gamma, &b.norm3.beta)?;
            h = feed_forward(rec, b, &y, h)?;
        }
        t.proj_out.linear(rec, &h, Activation::None, Some(&x))
    }
}

/// h + the feed-forward layers of y: [tokens, c]. Inside they are eight times as wide, so where that is more than a binding holds (Stable
/// Diffusion 1 at 1024 x 1024 pixels) they take some rows at a time; no row depends on another.
fn feed_forward(rec: &mut Recorder, b: &Block, y: &Tensor, h: Tensor) -> Result<Tensor, ModelError> {
    let wide = (padded(b.ff_in.weight.n) * 4) as u64;
    // Slices begin at a multiple of 256 bytes: 64 rows of four elements do at any width.
    let most = (rec.gpu().limits.max_storage_buffer_binding_size / wide) as usize / 64 * 64;
    if y.rows <= most || most == 0 {
        let y = b.ff_in.geglu(rec, y)?;
        return b.ff_out.linear(rec, &y, Activation::None, Some(&h));
    }
    let out = rec.tensor(h.rows, h.cols)?;
    for start in (0..y.rows).step_by(most) {
        let rows = most.min(y.rows - start);
        let part = b.ff_in.geglu(rec, &y.slice_rows(start, rows))?;
        let part = b.ff_out.linear(rec, &part, Activation::None, Some(&h.slice_rows(start, rows)))?;
        rec.copy(&part, 0, &out, (start * out.stride * 4) as u64, part.bytes());
    }
    Ok(out)
}
