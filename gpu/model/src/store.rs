//! Layers and the slots their weights live in.
//!
//! A model is built from its configuration alone: every layer allocates its packed buffers and registers a slot under the tensor's canonical
//! name. Filling a slot packs a tensor in checkpoint layout into the layer's buffer, at any time and any number of times: that is what
//! makes weights live. Programs recorded against the layers stay valid, because the buffers never move.

use std::collections::BTreeMap;
use std::sync::Arc;

use admix_tensor::kernels::{Activation, Epilogue, Pack, Picture, Source, Weight};
use admix_tensor::{Gpu, Recorder, Tensor};

use crate::ModelError;

/// Where one checkpoint tensor goes.
#[derive(Clone)]
pub struct Slot {
    /// Packed buffer, possibly shared with neighbours (fused q, k, v).
    pub target: Weight,
    /// Shape facts.
    pub pack: Pack,
    /// First column inside the target.
    pub column: usize,
    /// The tensor is a table whose rows are looked up: [rows, cols].
    pub table: bool,
    /// Pieces of a table that is larger than one binding, `target` being the first: each with its first row.
    pub more: Vec<(usize, Weight)>,
}

impl Slot {
    /// Elements the checkpoint tensor must have.
    pub fn elements(&self) -> usize {
        self.pack.out * self.pack.inp * self.pack.kernel * self.pack.kernel
    }

    /// Shape the checkpoint tensor must have, with 1 x 1 kernels also accepted as plain matrices.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        let p = &self.pack;
        let trimmed = match shape {
            [head @ .., 1, 1] if shape.len() == 4 && p.kernel == 1 => head,
            other => other,
        };
        if self.table {
            trimmed == [p.inp, p.out]
        } else if p.kernel > 1 {
            trimmed == [p.out, p.inp, p.kernel, p.kernel]
        } else if p.inp == 1 && trimmed.len() == 1 {
            trimmed == [p.out]
        } else {
            trimmed == [p.out, p.inp]
        }
    }

    /// Records the packing of `source` into place.
    pub fn fill(&self, rec: &mut Recorder, source: &Source) -> Result<(), ModelError> {
        if self.more.is_empty() && self.table {
            rec.pack_rows(source, self.pack.inp, self.pack.out, &self.target)?;
        } else if self.table {
            for (first, rows) in self.row_pieces() {
                self.fill_rows(rec, &source.rows(first, rows, self.pack.out), first, rows)?;
            }
        } else {
            rec.pack(source, self.pack, &self.target, self.column)?;
        }
        Ok(())
    }

    /// The pieces of a table: first row and rows of each.
    pub fn row_pieces(&self) -> Vec<(usize, usize)> {
        let firsts: Vec<usize> = std::iter::once(0).chain(self.more.iter().map(|(first, _)| *first)).collect();
        let ends = firsts.iter().skip(1).copied().chain([self.pack.inp]);
        firsts.iter().zip(ends).map(|(first, end)| (*first, end - first)).collect()
    }

    /// Records the packing of one of the [`Slot::row_pieces`]: `source` holds its rows alone.
    pub fn fill_rows(&self, rec: &mut Recorder, source: &Source, first: usize, rows: usize) -> Result<(), ModelError> {
        let target = self.more.iter().find(|(at, _)| *at == first).map_or(&self.target, |(_, weight)| weight);
        Ok(rec.pack_rows(source, rows, self.pack.out, target)?)
    }
}

/// All slots of a model by canonical tensor name, and the device they live on.
pub struct Store {
    gpu: Arc<Gpu>,
    /// Tells whether a tensor is kept as f16 (when the checkpoint's own values are f16 nothing is lost).
    keep_f16: Box<dyn Fn(&str) -> bool + Send + Sync>,
    slots: BTreeMap<String, Slot>,
    bytes: u64,
    /// Stands in for every buffer where nothing is allocated.
    planned: Option<Tensor>,
}

impl Store {
    /// An empty store. `keep_f16(name)` chooses the precision of each matrix on the device.
    pub fn new(gpu: &Arc<Gpu>, keep_f16: impl Fn(&str) -> bool + Send + Sync + 'static) -> Store {
        Store { gpu: gpu.clone(), keep_f16: Box::new(keep_f16), slots: BTreeMap::new(), bytes: 0, planned: None }
    }

    /// A store that allocates nothing: models built in it know their configuration and [`Store::bytes`], but cannot be filled or recorded.
    pub fn planned(
        gpu: &Arc<Gpu>,
        keep_f16: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Store, ModelError> {
        let stand_in = Tensor::empty(gpu, "stand-in", 1, 4)?;
        Ok(Store { planned: Some(stand_in), ..Store::new(gpu, keep_f16) })
    }

    fn allocate(&mut self, what: &str, packs: &[Pack], f16: bool) -> Result<Weight, ModelError> {
        let weight = match &self.planned {
            Some(stand_in) => Weight::planned(stand_in, packs, f16),
            None => Weight::empty(&self.gpu, what, packs, f16)?,
        };
        self.bytes += weight.data.bytes();
        Ok(weight)
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Slots by canonical name.
    pub fn slots(&self) -> &BTreeMap<String, Slot> {
        &self.slots
    }

    /// Bytes of weights on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One buffer for several matrices side by side, each registered under `<prefix>.weight`.
    pub fn matrices(&mut self, parts: &[(String, Pack)]) -> Result<Weight, ModelError> {
        let f16 = parts.iter().all(|(name, _)| (self.keep_f16)(&format!("{name}.weight")));
        let packs: Vec<Pack> = parts.iter().map(|(_, p)| *p).collect();
        let weight = self.allocate(&parts[0].0, &packs, f16)?;
        let mut column = 0;
        for (name, pack) in parts {
            let slot = Slot { target: weight.clone(), pack: *pack, column, table: false, more: Vec::new() };
            self.slots.insert(format!("{name}.weight"), slot);
            column += admix_tensor::padded(pack.columns());
        }
        Ok(weight)
    }

    /// Vectors side by side (biases of fused layers, or one norm parameter), f32, registered under the names given.
    pub fn vectors(&mut self, parts: &[(String, usize, bool)]) -> Result<Tensor, ModelError> {
        let packs: Vec<Pack> = parts.iter().map(|(_, n, glu)| Pack { glu: *glu, ..Pack::linear(*n, 1) }).collect();
        let weight = self.allocate(&parts[0].0, &packs, false)?;
        let mut column = 0;
        for ((name, ..), pack) in parts.iter().zip(&packs) {
            let slot = Slot { target: weight.clone(), pack: *pack, column, table: false, more: Vec::new() };
            self.slots.insert(name.clone(), slot);
            column += admix_tensor::padded(pack.columns());
        }
        Ok(weight.data.first_row(weight.n))
    }

    /// An embedding table [rows, cols] under `name`, in as many pieces as the device's bindings need (CLIP-L's token table in f32 has 151 MB,
    /// WebGPU binds 128 MiB).
    pub fn table(&mut self, name: &str, rows: usize, cols: usize, may_f16: bool) -> Result<Vec<Weight>, ModelError> {
        let f16 = may_f16 && (self.keep_f16)(name);
        let row = (admix_tensor::padded(cols) * if f16 { 2 } else { 4 }) as u64;
        let limit = self.gpu.limits.max_storage_buffer_binding_size.min(self.gpu.limits.max_buffer_size);
        // A source may be wider in memory than its packed form: f32 rows into f16.
        let most = (limit / row.max(cols as u64 * 4)) as usize / Source::ROWS * Source::ROWS;
        let whole = rows as u64 * row <= limit && rows as u64 * cols as u64 * 4 <= limit;
        let each = if whole || most == 0 { rows } else { most };
        let mut pieces = Vec::new();
        for first in (0..rows).step_by(each.max(1)) {
            let count = each.min(rows - first);
            let weight = self.allocate(name, &[Pack::linear(cols, count)], f16)?;
            pieces.push((first, Weight { k: count, n: cols, ..weight }));
        }
        let (pack, more) = (Pack::linear(cols, rows), pieces[1..].to_vec());
        let slot = Slot { target: pieces[0].1.clone(), pack, column: 0, table: true, more };
        self.slots.insert(name.into(), slot);
        Ok(pieces.into_iter().map(|(_, weight)| weight).collect())
    }

    /// A linear layer `<name>.weight` [out, inp] and, if wanted, `<name>.bias`.
    pub fn linear(&mut self, name: &str, out: usize, inp: usize, bias: bool) -> Result<Layer, ModelError> {
        self.layer(name, Pack::linear(out, inp), bias)
    }

    /// A convolution with a square kernel.
    pub fn conv(&mut self, name: &str, out: usize, inp: usize, kernel: usize) -> Result<Layer, ModelError> {
        self.layer(name, Pack { out, inp, kernel, glu: false }, true)
    }

    /// One layer of any shape.
    pub fn layer(&mut self, name: &str, pack: Pack, bias: bool) -> Result<Layer, ModelError> {
        let weight = self.matrices(&[(name.into(), pack)])?;
        let bias = if bias { Some(self.vectors(&[(format!("{name}.bias"), pack.out, pack.glu)])?) } else { None };
        Ok(Layer { weight, bias, side: None, glu: pack.glu, parts: vec![(name.into(), 0, pack.out)] })
    }

    /// Linear layers that read the same input, as one product: results stand side by side, each starting at a multiple of four columns.
    pub fn fused(&mut self, parts: &[(String, usize)], inp: usize, bias: bool) -> Result<Layer, ModelError> {
        let packs: Vec<_> = parts.iter().map(|(name, out)| (name.clone(), Pack::linear(*out, inp))).collect();
        let weight = self.matrices(&packs)?;
        let bias = if bias {
            let rows: Vec<_> = parts.iter().map(|(name, out)| (format!("{name}.bias"), *out, false)).collect();
            Some(self.vectors(&rows)?)
        } else {
            None
        };
        let mut at = 0;
        let columns = parts.iter().map(|(name, out)| {
            let here = (name.clone(), at, *out);
            at += admix_tensor::padded(*out);
            here
        });
        Ok(Layer { weight, bias, side: None, glu: false, parts: columns.collect() })
    }

    /// Gamma and beta of a normalisation over `c` channels.
    pub fn norm(&mut self, name: &str, c: usize) -> Result<Norm, ModelError> {
        let gamma = self.vectors(&[(format!("{name}.weight"), c, false)])?;
        let beta = self.vectors(&[(format!("{name}.bias"), c, false)])?;
        Ok(Norm { gamma, beta })
    }
}

/// Two narrow products beside a layer, all adapters' ranks side by side (see [`admix_tensor::kernels::adapter_bank`]).
#[derive(Clone)]
pub struct Bank {
    /// [all ranks, inp] (a convolution with the layer's own kernel).
    pub down: Weight,
    /// [all columns of the layer, all ranks], strengths inside.
    pub up: Weight,
}

/// A part of a layer whose inputs are scaled.
#[derive(Clone)]
pub struct Inputs {
    /// Factors of the inputs, [1, inp]. Less 1, for a product of their own, but for [`Side::replaces_input`].
    pub factors: Tensor,
    /// Ones at the part's columns and zeros elsewhere, [2, n], where the layer has other parts.
    pub mask: Option<Tensor>,
}

/// Everything that runs beside a layer of product P: y = rows o P(x) + sum over parts of P(columns o x) + up(down(x)), strengths inside.
#[derive(Clone)]
pub struct Side {
    /// What is added.
    pub bank: Option<Bank>,
    /// Factors of the product's columns, then of the bias's: [2, n].
    pub rows: Option<Tensor>,
    /// Parts whose inputs are scaled.
    pub inputs: Vec<Inputs>,
    /// Takes part in what is recorded from now on.
    pub active: bool,
}

impl Side {
    /// Whether scaled inputs take the place of the inputs, the 1 inside: where there is one part, and no factor of the outputs that would scale them
    /// again.
    pub fn replaces_input(&self) -> bool {
        self.rows.is_none() && self.inputs.iter().all(|i| i.mask.is_none())
    }
}

/// A linear layer or convolution with its optional bias and un-merged adapters.
#[derive(Clone)]
pub struct Layer {
    /// Packed weight.
    pub weight: Weight,
    /// [1, n].
    pub bias: Option<Tensor>,
    /// Un-merged adapters.
    pub side: Option<Box<Side>>,
    /// Columns are values and gates interleaved.
    pub glu: bool,
    /// (canonical name without `.weight`, first column, columns) of each fused part.
    pub parts: Vec<(String, usize, usize)>,
}

impl Layer {
    fn side(&self) -> Option<&Side> {
        self.side.as_deref().filter(|side| side.active)
    }

    /// y = activation(x w + bias) + residual. Un-merged adapters join before the activation.
    pub fn linear(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor, ModelError> {
        let e = Epilogue { bias: self.bias.as_ref(), activation, residual, ..Default::default() };
        let Some(side) = self.side() else { return Ok(rec.linear(x, &self.weight, e)?) };
        debug_assert!(activation == Activation::None || residual.is_none(), "one place to join");
        self.with_side(rec, side, x, e, |rec, x, w, e| Ok(rec.linear(x, w, e)?))
    }

    /// The layer with what runs beside it. `product` is its product with other weights of its shape; what `e` adds is added before its activation.
    fn with_side(
        &self,
        rec: &mut Recorder,
        side: &Side,
        x: &Tensor,
        e: Epilogue<'_>,
        product: impl Fn(&mut Recorder, &Tensor, &Weight, Epilogue<'_>) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let mut scaled = Vec::new();
        for inputs in &side.inputs {
            scaled.push(rec.column_factors(x, &inputs.factors)?);
        }
        let replaced = scaled.first().filter(|_| side.replaces_input());
        let apart = if replaced.is_some() { 0 } else { scaled.len() };
        // The last of the sums has the activation.
        let last = |is_last: bool| if is_last { e.activation } else { Activation::None };
        let alone = side.bank.is_none() && apart == 0;
        let own = Epilogue { factors: side.rows.as_ref(), activation: last(alone), ..e };
        let mut sum = product(rec, replaced.unwrap_or(x), &self.weight, own)?;
        for (at, (scaled, inputs)) in scaled.iter().zip(&side.inputs).enumerate().take(apart) {
            let is_last = side.bank.is_none() && at + 1 == apart;
            let e = Epilogue { factors: inputs.mask.as_ref(), ..join(&sum, last(is_last)) };
            sum = product(rec, scaled, &self.weight, e)?;
        }
        if let Some(bank) = &side.bank {
            let narrow = product(rec, x, &bank.down, Epilogue::default())?;
            sum = rec.linear(&narrow, &bank.up, join(&sum, last(true)))?;
        }
        Ok(sum)
    }

    /// activation(x w + bias + other).
    pub fn linear_joined(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        other: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, ModelError> {
        let e =
            Epilogue { bias: self.bias.as_ref(), residual: Some(other), residual_first: true, ..Default::default() };
        let e = Epilogue { activation, ..e };
        let Some(side) = self.side() else { return Ok(rec.linear(x, &self.weight, e)?) };
        self.with_side(rec, side, x, e, |rec, x, w, e| Ok(rec.linear(x, w, e)?))
    }

    /// value * gelu(gate) of a layer packed with interleaved gates; the result has half the columns.
    pub fn geglu(&self, rec: &mut Recorder, x: &Tensor) -> Result<Tensor, ModelError> {
        match (&self.bias, self.side()) {
            (Some(bias), None) => Ok(rec.geglu(x, &self.weight, bias)?),
            _ => {
                let wide = self.linear(rec, x, Activation::None, None)?;
                Ok(rec.geglu_gate(&wide)?)
            }
        }
    }

    /// 3 x 3 convolution of a zero-padded picture, then `row_bias` (from the given column on) and `residual`.
    pub fn conv3x3(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        size: Picture,
        stride: usize,
        row_bias: Option<(&Tensor, usize)>,
        residual: Option<&Tensor>,
    ) -> Result<(Tensor, Picture), ModelError> {
        let e = Epilogue { bias: self.bias.as_ref(), row_bias, residual, ..Default::default() };
        let Some(side) = self.side() else { return Ok(rec.conv3x3(x, size, &self.weight, stride, e)?) };
        let out = Picture { n: size.n, h: (size.h - 1) / stride + 1, w: (size.w - 1) / stride + 1 };
        let product = |rec: &mut Recorder, x: &Tensor, w: &Weight, e: Epilogue<'_>| -> Result<Tensor, ModelError> {
            Ok(rec.conv3x3(x, size, w, stride, e)?.0)
        };
        Ok((self.with_side(rec, side, x, e, product)?, out))
    }

    /// activation(conv(x) + residual) at stride 1.
    pub fn conv3x3_activated(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        size: Picture,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor, ModelError> {
        let e = Epilogue { bias: self.bias.as_ref(), activation, residual, residual_first: true, ..Default::default() };
        Ok(rec.conv3x3(x, size, &self.weight, 1, e)?.0)
    }

    /// Convolution of a picture of `in_size` (rows, columns) whose padding, if any, is already in place; un-merged adapters do not apply.
    pub fn conv_plain(
        &self,
        rec: &mut Recorder,
        x: &Tensor,
        in_size: (usize, usize),
        stride: usize,
        out: Picture,
    ) -> Result<Tensor, ModelError> {
        let y = rec.tensor(out.pixels(), self.weight.n)?;
        let e = Epilogue { bias: self.bias.as_ref(), ..Default::default() };
        rec.conv_into(x, in_size, &self.weight, stride, out, e, &y)?;
        Ok(y)
    }
}

/// What follows a product that joins `sum`.
fn join(sum: &Tensor, activation: Activation) -> Epilogue<'_> {
    Epilogue { residual: Some(sum), residual_first: true, activation, ..Default::default() }
}

/// Gamma and beta of a normalisation.
#[derive(Clone)]
pub struct Norm {
    /// [1, c].
    pub gamma: Tensor,
    /// [1, c].
    pub beta: Tensor,
}
