//! The blocks of the autoencoder on pictures that may lie in strips of rows (see [`admix_tensor::kernels::strips`]): at 1024 x 1024 pixels the
//! widest of Stable Diffusion's have 1 GiB, and WebGPU binds 128 MiB. Nothing is approximated: no block sees less than the whole picture.

use std::ops::Range;

use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::strips::{Strips, cut, rows_at_once};
use admix_tensor::kernels::{Activation, Picture};
use admix_tensor::{Recorder, Tensor, padded};

use super::{Half, Middle, ResNet};
use crate::ModelError;
use crate::store::{Layer, Norm};

/// Normalisation epsilon of every VAE block in diffusers.
const EPS: f32 = 1e-6;

/// The recording of one pass.
pub(super) struct Pass<'a> {
    /// Groups of every normalisation.
    pub groups: usize,
    pub rec: &'a mut Recorder,
}

impl Pass<'_> {
    fn norm(&mut self, n: &Norm, x: &Tensor, size: Picture, act: Activation, pad: usize) -> Result<Tensor, ModelError> {
        Ok(self.rec.group_norm(x, size, self.groups, EPS, &n.gamma, &n.beta, act, pad)?)
    }

    /// 3 x 3 convolution of x enlarged `scale` times.
    pub fn spread(&mut self, conv: &Layer, mut x: Strips, scale: usize) -> Result<Strips, ModelError> {
        let size = Picture { h: x.size.h * scale, w: x.size.w * scale, ..x.size };
        let each = rows_at_once(self.rec, size, x.cols.max(conv.weight.n));
        let mut out = Strips::empty(size, conv.weight.n);
        for rows in cut(size.h, each) {
            let (first, count) = (rows.start as isize - 1, rows.len() + 2);
            let p = self.rec.strip_lines(&x, scale, first, count, 1, size.w + 2)?;
            x.let_go((rows.end - 1) / scale);
            out.push(conv.conv3x3(self.rec, &p, Picture { h: rows.len(), ..size }, 1, None, None)?.0);
        }
        Ok(out)
    }

    /// 3 x 3 convolution of every second pixel. The VAE pads only right and below: (0, 1, 0, 1), then no padding in the convolution.
    pub fn halve(&mut self, conv: &Layer, mut x: Strips) -> Result<Strips, ModelError> {
        let wide = x.size.w + 1;
        let size = Picture { h: (x.size.h - 2) / 2 + 1, w: (wide - 3) / 2 + 1, ..x.size };
        let each = rows_at_once(self.rec, x.size, x.cols).div_ceil(2);
        let mut out = Strips::empty(size, conv.weight.n);
        for rows in cut(size.h, each) {
            let count = 2 * rows.len() + 1;
            let p = self.rec.strip_lines(&x, 1, 2 * rows.start as isize, count, 0, wide)?;
            x.let_go(2 * rows.end);
            out.push(conv.conv_plain(self.rec, &p, (count, wide), 2, Picture { h: rows.len(), ..size })?);
        }
        Ok(out)
    }

    /// conv(silu(norm(x))) + residual, the residual after a layer of its own where there is one.
    fn norm_conv(
        &mut self,
        n: &Norm,
        conv: &Layer,
        mut x: Strips,
        each: usize,
        mut residual: Option<(Strips, Option<&Layer>)>,
    ) -> Result<Strips, ModelError> {
        let size = x.size;
        let mut out = Strips::empty(size, conv.weight.n);
        let is_whole = each >= size.h && x.as_whole().is_some();
        let stats = if is_whole { None } else { Some(self.rec.strip_stats(&x, self.groups, EPS)?) };
        for rows in cut(size.h, each) {
            let p = match (&stats, x.as_whole()) {
                (Some(stats), _) => {
                    let (groups, act) = (self.groups, Activation::Silu);
                    self.rec.strip_norm(&x, stats, groups, &n.gamma, &n.beta, act, rows.clone())?
                }
                (None, Some(whole)) => self.norm(n, whole, size, Activation::Silu, 1)?,
                (None, None) => return Err(ModelError::Size("the picture has no rows".into())),
            };
            // The next rows begin by looking at the last of these.
            x.let_go(if rows.end == size.h { size.h } else { rows.end - 1 });
            let beside = self.residual(&mut residual, rows.clone())?;
            let part = Picture { h: rows.len(), ..size };
            out.push(conv.conv3x3(self.rec, &p, part, 1, None, beside.as_ref())?.0);
        }
        Ok(out)
    }

    /// Those rows of the residual, which are not needed again.
    fn residual(
        &mut self,
        residual: &mut Option<(Strips, Option<&Layer>)>,
        rows: Range<usize>,
    ) -> Result<Option<Tensor>, ModelError> {
        let Some((x, layer)) = residual else { return Ok(None) };
        let part = self.rec.strip(x, rows.clone())?;
        x.let_go(rows.end);
        match layer {
            Some(layer) => Ok(Some(layer.linear(self.rec, &part, Activation::None, None)?)),
            None => Ok(Some(part)),
        }
    }

    pub fn resnet(&mut self, r: &ResNet, x: Strips) -> Result<Strips, ModelError> {
        // As it is cut already, so that no row moves.
        let each = rows_at_once(self.rec, x.size, x.cols.max(r.conv1.weight.n)).min(x.each());
        let h = self.norm_conv(&r.norm1, &r.conv1, x.clone(), each, None)?;
        self.norm_conv(&r.norm2, &r.conv2, h, each, Some((x, r.shortcut.as_ref())))
    }

    /// The blocks at the smallest size. Attention looks at all of a picture: there it has to be in one piece.
    pub fn middle(&mut self, m: &Middle, x: Strips) -> Result<Strips, ModelError> {
        let mut x = self.resnet(&m.first, x)?;
        if let Some(a) = &m.attention {
            let size = x.size;
            let whole = self.rec.join_strips(&x)?;
            drop(x);
            let h = self.norm(&a.norm, &whole, size, Activation::None, 0)?;
            let qkv = a.qkv.linear(self.rec, &h, Activation::None, None)?;
            let step = padded(whole.cols);
            let part = |i: usize| Operand { tensor: &qkv, at: i * step };
            let tokens = size.h * size.w;
            let s = Heads { n: size.n, heads: 1, d: whole.cols, tq: tokens, tk: tokens, causal: false };
            let h = self.rec.attention(part(0), part(1), part(2), s)?;
            x = Strips::whole(size, a.out.linear(self.rec, &h, Activation::None, Some(&whole))?);
        }
        self.resnet(&m.second, x)
    }

    /// The last normalisation and convolution, in one piece, and its size.
    pub fn finish(&mut self, half: &Half, x: Strips) -> Result<(Tensor, Picture), ModelError> {
        let each = rows_at_once(self.rec, x.size, x.cols).min(x.each());
        let out = self.norm_conv(&half.norm_out, &half.conv_out, x, each, None)?;
        Ok((self.rec.join_strips(&out)?, out.size))
    }
}
