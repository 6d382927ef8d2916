//! Matrix product and convolution: one shader, `shaders/gemm.wgsl`.
//!
//! Weights are packed `[tap][k][n]` (see [`super::pack`]); activations are rows with K contiguous. Convolutions read a zero-padded NHWC picture
//! as an implicit GEMM, so no patch matrix is ever written. Sums are f32.

use super::activation::Activation;
use crate::{Launch, Recorder, Tensor, TensorError, Tier, padded};

/// Packed weights of a linear layer or a convolution.
#[derive(Clone, Debug)]
pub struct Weight {
    /// `taps * padded(k)` rows of `n` columns. With `f16`, the buffer holds f16 pairs and `data` counts half as many elements.
    pub data: Tensor,
    /// Stored as f16 pairs (exact when the checkpoint's weights are f16).
    pub f16: bool,
    /// Input features or channels.
    pub k: usize,
    /// Output features or channels, padding columns included where several matrices stand side by side.
    pub n: usize,
    /// Kernel edge: 1 for linear layers.
    pub kernel: usize,
}

/// What follows the product.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// Multiply the columns of the product (first row) and the bias (second row): [2, n], what rescales a layer's outputs from beside it.
    pub factors: Option<&'a Tensor>,
    /// Added per column: [1, n].
    pub bias: Option<&'a Tensor>,
    /// Also added per column, from element `.1` (a multiple of 4) on: the time embedding of a ResNet block. One row for all pictures of a
    /// convolution, or one row for each.
    pub row_bias: Option<(&'a Tensor, usize)>,
    /// Applied to the biased sum.
    pub activation: Activation,
    /// Added last: [m, n].
    pub residual: Option<&'a Tensor>,
    /// Add the residual before the activation instead: an un-merged adapter joining its layer.
    pub residual_first: bool,
    /// Multiplies the bare product: the strength of an un-merged adapter.
    pub scale: f32,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Epilogue {
            factors: None,
            bias: None,
            row_bias: None,
            activation: Activation::None,
            residual: None,
            residual_first: false,
            scale: 1.0,
        }
    }
}

/// Size of a padded picture that a convolution reads: `n` pictures of (`h` + 2 pad) x (`w` + 2 pad).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pictures in the batch.
    pub n: usize,
    /// Rows of pixels, padding not counted.
    pub h: usize,
    /// Columns of pixels, padding not counted.
    pub w: usize,
}

impl Picture {
    /// Pixels in all.
    pub fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// Rows of the zero-padded tensor a 3 x 3 convolution reads.
    pub fn padded_pixels(&self) -> usize {
        self.n * (self.h + 2) * (self.w + 2)
    }
}

impl Recorder {
    /// `y = activation(x w + bias) + residual`. x: [m, k], w: [k, n], y: [m, n].
    pub fn linear(&mut self, x: &Tensor, w: &Weight, e: Epilogue<'_>) -> Result<Tensor, TensorError> {
        let y = self.tensor(x.rows, w.n)?;
        self.gemm(x, w, e, &y, [1, 1, 0, 0, 0, 0], false)?;
        Ok(y)
    }

    /// Like [`Recorder::linear`], into a tensor that exists.
    pub fn linear_into(&mut self, x: &Tensor, w: &Weight, e: Epilogue<'_>, y: &Tensor) -> Result<(), TensorError> {
        self.gemm(x, w, e, y, [1, 1, 0, 0, 0, 0], false)
    }

    /// GEGLU's first half: `value * gelu(gate)` where w holds values and gates interleaved by fours ([`super::pack::Pack::glu`]).
    /// x: [m, k], w: [k, 2 n], bias: [1, 2 n] interleaved likewise, y: [m, n].
    pub fn geglu(&mut self, x: &Tensor, w: &Weight, bias: &Tensor) -> Result<Tensor, TensorError> {
        if self.gpu().tier == Tier::Gpu {
            let e = Epilogue { bias: Some(bias), ..Default::default() };
            // The product is twice as wide as the result: some rows at a time where it is larger than a binding (SDXL at 1024 pixels).
            let most =
                (self.gpu().limits.max_storage_buffer_binding_size / (4 * padded(w.n) as u64)) as usize / 64 * 64;
            if x.rows <= most || most == 0 {
                let wide = self.linear(x, w, e)?;
                return self.geglu_gate(&wide);
            }
            let y = self.tensor(x.rows, w.n / 2)?;
            for start in (0..x.rows).step_by(most) {
                let wide = self.linear(&x.slice_rows(start, most.min(x.rows - start)), w, e)?;
                let part = self.geglu_gate(&wide)?;
                self.copy(&part, 0, &y, (start * y.stride * 4) as u64, part.bytes());
            }
            return Ok(y);
        }
        let y = self.tensor(x.rows, w.n / 2)?;
        self.gemm(x, w, Epilogue { bias: Some(bias), ..Default::default() }, &y, [1, 1, 0, 0, 0, 0], true)?;
        Ok(y)
    }

    /// 3 x 3 convolution of a picture that is already zero-padded by 1 (see [`super::group_norm`], [`super::picture`]).
    /// x: [n (h+2) (w+2), c], result: [n ho wo, o] with ho = (h - 1) / stride + 1 (padding 1 on every side).
    pub fn conv3x3(
        &mut self,
        x: &Tensor,
        size: Picture,
        w: &Weight,
        stride: usize,
        e: Epilogue<'_>,
    ) -> Result<(Tensor, Picture), TensorError> {
        let out = Picture { n: size.n, h: (size.h - 1) / stride + 1, w: (size.w - 1) / stride + 1 };
        let y = self.tensor(out.pixels(), w.n)?;
        self.conv_into(x, (size.h + 2, size.w + 2), w, stride, out, e, &y)?;
        Ok((y, out))
    }

    /// The general form: x holds pictures of `in_size` (rows, columns) whose padding is already in place.
    pub fn conv_into(
        &mut self,
        x: &Tensor,
        in_size: (usize, usize),
        w: &Weight,
        stride: usize,
        out: Picture,
        e: Epilogue<'_>,
        y: &Tensor,
    ) -> Result<(), TensorError> {
        debug_assert!((out.h - 1) * stride + w.kernel <= in_size.0 && (out.w - 1) * stride + w.kernel <= in_size.1);
        let geometry = [w.kernel, stride, out.w, out.h * out.w, in_size.1, in_size.0 * in_size.1].map(|v| v as u32);
        self.gemm(x, w, e, y, geometry, false)
    }

    fn gemm(
        &mut self,
        x: &Tensor,
        w: &Weight,
        e: Epilogue<'_>,
        y: &Tensor,
        geometry: [u32; 6],
        glu: bool,
    ) -> Result<(), TensorError> {
        debug_assert_eq!(x.stride, padded(w.k), "input features");
        let conv = geometry[0] != 1 || geometry[2] != 0;
        let (m, n4) = (y.rows as u32, (padded(w.n) / 4) as u32);
        let params = [
            m,
            (x.stride / 4) as u32,
            n4,
            (x.stride / 4) as u32,
            n4,
            (y.stride / 4) as u32,
            e.residual.map_or(0, |r| r.stride / 4) as u32,
            e.activation as u32,
            geometry[0],
            geometry[1],
            geometry[2],
            geometry[3],
            geometry[4],
            geometry[5],
            e.bias.is_some().into(),
            e.residual.map_or(0, |_| 1 + u32::from(e.residual_first)),
            e.row_bias.is_some().into(),
            e.row_bias.map_or(0, |(_, at)| at / 4) as u32,
            e.scale.to_bits(),
            e.row_bias.map_or(0, |(t, _)| if t.rows > 1 { t.stride / 4 } else { 0 }) as u32,
            e.factors.is_some().into(),
            0,
            0,
            0,
        ];
        debug_assert!(!glu || e.factors.is_none());
        let tiled = self.gpu().tier == Tier::Gpu;
        // Lanes run along columns: eight of them when there are that many column pairs, so that a SIMD group reads whole cache lines.
        // Two shapes only: every further variant costs a first run about half a second of compilation.
        let pairs = n4.div_ceil(2);
        let (wx, wy) = (if pairs >= 8 { 8 } else { 4 }, 4);
        let defines = [
            ("CONV", conv.into()),
            ("W_F16", w.f16.into()),
            ("TILED", tiled.into()),
            ("GLU", glu.into()),
            ("WX", wx),
            ("WY", wy),
        ];
        let tiled_defines = [("CONV", u32::from(conv)), ("W_F16", w.f16.into()), ("TILED", 1)];
        let (defines, groups): (&[_], _) = if tiled {
            (&tiled_defines, [n4.div_ceil(16), m.div_ceil(64), 1])
        } else {
            (&defines, [pairs.div_ceil(wx), m.div_ceil(8 * wy), 1])
        };
        self.launch(Launch {
            shader: "gemm",
            defines,
            params: &params,
            reads: &[
                x,
                &w.data,
                e.bias.unwrap_or(x),
                e.row_bias.map_or(x, |(t, _)| t),
                e.residual.unwrap_or(x),
                e.factors.unwrap_or(x),
            ],
            writes: &[y],
            groups,
        })
    }
}

/// CPU twin of the matrix product: f64 sums. x: [m, k], w: [n, k] (checkpoint layout), result [m, n].
pub fn linear_reference(x: &[f32], w: &[f32], bias: Option<&[f32]>, m: usize, k: usize, n: usize) -> Vec<f32> {
    let mut y = vec![0f32; m * n];
    for row in 0..m {
        for col in 0..n {
            let sum: f64 = (0..k).map(|i| f64::from(x[row * k + i]) * f64::from(w[col * k + i])).sum();
            y[row * n + col] = (sum + bias.map_or(0.0, |b| f64::from(b[col]))) as f32;
        }
    }
    y
}

/// CPU twin of the convolution. x: NHWC, w: [o, c, kernel, kernel] (checkpoint layout), zero padding `pad` on every side, result NHWC.
pub fn conv_reference(
    x: &[f32],
    size: Picture,
    c: usize,
    w: &[f32],
    o: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
) -> Vec<f32> {
    let (ho, wo) = ((size.h + 2 * pad - kernel) / stride + 1, (size.w + 2 * pad - kernel) / stride + 1);
    let mut y = vec![0f32; size.n * ho * wo * o];
    for n in 0..size.n {
        for (oy, ox) in (0..ho).flat_map(|oy| (0..wo).map(move |ox| (oy, ox))) {
            for out in 0..o {
                let mut sum = 0f64;
                for (ty, tx) in (0..kernel).flat_map(|ty| (0..kernel).map(move |tx| (ty, tx))) {
                    let (iy, ix) = ((oy * stride + ty).wrapping_sub(pad), (ox * stride + tx).wrapping_sub(pad));
                    if iy < size.h && ix < size.w {
                        for i in 0..c {
                            let value = x[((n * size.h + iy) * size.w + ix) * c + i];
                            sum += f64::from(value) * f64::from(w[((out * c + i) * kernel + ty) * kernel + tx]);
                        }
                    }
                }
                y[((n * ho + oy) * wo + ox) * o + out] = sum as f32;
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Pack;
    use crate::kernels::testing::*;

    // f32 sums of k products, f64 in the twin: the error grows like sqrt(k) 6e-8; 2e-6 leaves a factor of ten.
    const TOLERANCE: f64 = 2e-6;

    #[test]
    fn linear_matches_its_twin() {
        for gpu in devices() {
            for (m, k, n, f16) in
                [(1, 1, 1, false), (7, 5, 3, true), (77, 33, 130, false), (65, 64, 64, true), (130, 96, 42, true)]
            {
                let (x, w, b) = (random(m * k, 1), random(n * k, 2), random(n, 3));
                let w = if f16 { round_f16(&w) } else { w };
                let residual = random(m * n, 4);
                let weight = packed(&gpu, &w, Pack::linear(n, k), f16);
                let (bias, left) = (upload(&gpu, &b, n), upload(&gpu, &residual, n));
                let mut rec = Recorder::new(&gpu);
                let e = Epilogue {
                    bias: Some(&bias),
                    activation: Activation::Silu,
                    residual: Some(&left),
                    ..Default::default()
                };
                let y = rec.linear(&upload(&gpu, &x, k), &weight, e).expect("records");
                let expected: Vec<f32> = linear_reference(&x, &w, Some(&b), m, k, n)
                    .iter()
                    .zip(&residual)
                    .map(|(v, r)| Activation::Silu.apply(*v) + r)
                    .collect();
                let found = run(&gpu, rec, &y);
                assert!(distance(&found, &expected) < TOLERANCE, "{m}x{k}x{n} {:?}", gpu.tier);
            }
        }
    }

    #[test]
    fn factors_reach_product_and_bias_apart() {
        for gpu in devices() {
            for (m, k, n) in [(1, 1, 1), (7, 5, 3), (65, 64, 130)] {
                let (x, w, b) = (random(m * k, 1), random(n * k, 2), random(n, 3));
                let factors = random(2 * n, 5);
                let weight = packed(&gpu, &w, Pack::linear(n, k), false);
                let (bias, rows) = (upload(&gpu, &b, n), upload(&gpu, &factors, n));
                let mut rec = Recorder::new(&gpu);
                let e = Epilogue { bias: Some(&bias), factors: Some(&rows), ..Default::default() };
                let y = rec.linear(&upload(&gpu, &x, k), &weight, e).expect("records");
                let plain = linear_reference(&x, &w, None, m, k, n);
                let at = |i: usize| plain[i] * factors[i % n] + b[i % n] * factors[n + i % n];
                let expected: Vec<f32> = (0..m * n).map(at).collect();
                assert!(distance(&run(&gpu, rec, &y), &expected) < TOLERANCE, "{m}x{k}x{n} {:?}", gpu.tier);
            }
        }
    }

    #[test]
    fn geglu_matches_its_twin() {
        for gpu in devices() {
            for (m, k, n) in [(5, 8, 4), (33, 20, 13)] {
                let (x, w, b) = (random(m * k, 1), random(2 * n * k, 2), random(2 * n, 3));
                let pack = Pack { glu: true, ..Pack::linear(2 * n, k) };
                let weight = packed(&gpu, &w, pack, false);
                let bias = packed(&gpu, &b, Pack { glu: true, ..Pack::linear(2 * n, 1) }, false);
                // The packed bias is the first row of a four-row matrix.
                let row = bias.data.first_row(pack.columns());
                let mut rec = Recorder::new(&gpu);
                let y = rec.geglu(&upload(&gpu, &x, k), &weight, &row).expect("records");
                let wide = linear_reference(&x, &w, Some(&b), m, k, 2 * n);
                let expected: Vec<f32> = (0..m * n)
                    .map(|i| wide[i / n * 2 * n + i % n] * Activation::Gelu.apply(wide[i / n * 2 * n + n + i % n]))
                    .collect();
                let y = y.with_cols(n);
                assert!(distance(&run(&gpu, rec, &y), &expected) < TOLERANCE, "{m}x{k}x{n} {:?}", gpu.tier);
            }
        }
    }

    #[test]
    fn geglu_fits_small_bindings() {
        let (m, k, n) = (130, 8, 64);
        let (x, w, b) = (random(m * k, 1), random(2 * n * k, 2), random(2 * n, 3));
        let pack = Pack { glu: true, ..Pack::linear(2 * n, k) };
        let mut found = Vec::new();
        // The product takes 66,560 bytes, the result half of that.
        for limit in [u64::MAX, 40_000] {
            let options = crate::DeviceOptions { tier: Some(Tier::Gpu), default_limits: true, ..Default::default() };
            let mut gpu = pollster::block_on(crate::Gpu::open(&options)).expect("a Vulkan driver");
            let own = std::sync::Arc::get_mut(&mut gpu).expect("nobody else has it");
            own.limits.max_storage_buffer_binding_size = own.limits.max_storage_buffer_binding_size.min(limit);
            let weight = packed(&gpu, &w, pack, false);
            let bias = packed(&gpu, &b, Pack { glu: true, ..Pack::linear(2 * n, 1) }, false);
            let mut rec = Recorder::new(&gpu);
            let y = rec.geglu(&upload(&gpu, &x, k), &weight, &bias.data.first_row(pack.columns())).expect("records");
            found.push(run(&gpu, rec, &y));
        }
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn convolution_matches_its_twin() {
        for gpu in devices() {
            for (size, c, o, stride, f16) in [
                (Picture { n: 1, h: 1, w: 1 }, 4, 4, 1, false),
                (Picture { n: 2, h: 9, w: 13 }, 6, 10, 1, true),
                (Picture { n: 2, h: 9, w: 13 }, 20, 7, 2, false),
                (Picture { n: 1, h: 16, w: 8 }, 32, 64, 2, true),
            ] {
                let (x, w, b) = (random(size.pixels() * c, 1), round_f16(&random(o * c * 9, 2)), random(o, 3));
                let weight = packed(&gpu, &w, Pack { out: o, inp: c, kernel: 3, glu: false }, f16);
                let bias = upload(&gpu, &b, o);
                // Four columns of something else, then a row of `o` for all pictures, or for each.
                for rows in [1, size.n] {
                    let wide = o + 4;
                    let more = random(rows * wide, 4);
                    let row_bias = upload(&gpu, &more, wide);
                    let mut rec = Recorder::new(&gpu);
                    let padded = rec.pad1(&upload(&gpu, &x, c), size).expect("records");
                    let e = Epilogue { bias: Some(&bias), row_bias: Some((&row_bias, 4)), ..Default::default() };
                    let (y, out) = rec.conv3x3(&padded, size, &weight, stride, e).expect("records");
                    let mut expected = conv_reference(&x, size, c, &w, o, 3, stride, 1);
                    assert_eq!(out.pixels() * o, expected.len());
                    for (i, v) in expected.iter_mut().enumerate() {
                        let picture = if rows == 1 { 0 } else { i / (out.h * out.w * o) };
                        *v += b[i % o] + more[picture * wide + 4 + i % o];
                    }
                    let found = run(&gpu, rec, &y);
                    assert!(distance(&found, &expected) < TOLERANCE, "{size:?} {c}->{o} {rows} rows {:?}", gpu.tier);
                }
            }
        }
    }
}
