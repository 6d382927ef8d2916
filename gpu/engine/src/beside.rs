//! Adapters beside the weights: y = rows o (W x) + W (columns o x) + sum over adapters of weight scale up(down(x)), one pair of products a layer
//! for all of them (see [`admix_mix::beside`]).
//!
//! Their factors stay in the [`Pool`]; what acts is gathered from there into a bank at every layer. A changed weight rewrites `up` halves of banks
//! and the few numbers of rows and columns, another adapter its own columns and rows: nothing is merged, and nothing that stayed the same is touched.

use std::collections::{BTreeMap, HashMap};

use admix_mix::Mixer;
use admix_model::store::{Bank, Inputs, Layer, Side};
use admix_model::text::TextEncoder;
use admix_model::unet::UNet;
use admix_tensor::kernels::{Pack, Weight};
use admix_tensor::{Gpu, Recorder, Tensor, padded};

use crate::EngineError;
use crate::networks::{Encoder, Networks};
use crate::pool::{Form, Pool, line};

/// One adapter's part of what lies beside a layer.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The adapter's number in the recipe, and its checksum.
    adapter: usize,
    key: String,
    /// The tensor.
    name: String,
    /// First of the bank's ranks, how many, and first column of the layer.
    first: usize,
    ranks: usize,
    column: usize,
    /// Strength of its product, and the strength that the bank holds now: 0 while it does not act.
    scale: f32,
    written: f32,
    /// Its weight, and factors, less 1, of outputs (in the order of the layer's columns) and inputs.
    weight: f32,
    rows: Option<Vec<f32>>,
    biased: bool,
    columns: Option<Vec<f32>>,
    /// Whether its rows and columns act now.
    acts: bool,
}

/// Numbers for [`Side::rows`], and for each part with scaled inputs its first column, its columns and its factors.
type Factors = (Option<Vec<f32>>, Vec<(usize, usize, Vec<f32>)>);

/// The factors of all entries that act, where any entry has some.
fn factors(entries: &[Entry], layer: &Layer) -> Factors {
    let n = padded(layer.weight.n);
    let mut rows = entries.iter().any(|e| e.rows.is_some()).then(|| vec![1.0; 2 * n]);
    for entry in entries.iter().filter(|e| e.acts) {
        if let (Some(all), Some(own)) = (&mut rows, &entry.rows) {
            for (i, factor) in own.iter().enumerate() {
                all[entry.column + i] += entry.weight * factor;
                if entry.biased {
                    all[n + entry.column + i] += entry.weight * factor;
                }
            }
        }
    }
    let rest = if rows.is_none() && layer.parts.len() == 1 { 1.0 } else { 0.0 };
    let mut inputs = Vec::new();
    for (_, column, out) in &layer.parts {
        let own: Vec<(&Entry, &Vec<f32>)> =
            entries.iter().filter(|e| e.column == *column).filter_map(|e| Some((e, e.columns.as_ref()?))).collect();
        if own.is_empty() {
            continue;
        }
        let mut all = vec![rest; layer.weight.k];
        for (entry, factors) in own.iter().filter(|(e, _)| e.acts) {
            all.iter_mut().zip(*factors).for_each(|(all, factor)| *all += entry.weight * factor);
        }
        inputs.push((*column, padded(*out), all));
    }
    (rows, inputs)
}

/// Writes the factors of what acts.
fn write_factors(gpu: &Gpu, layer: &Layer, entries: &[Entry], side: &Side) {
    let (rows, inputs) = factors(entries, layer);
    if let (Some(values), Some(target)) = (rows, &side.rows) {
        target.write(gpu, &values);
    }
    for ((_, _, values), target) in inputs.iter().zip(&side.inputs) {
        target.factors.write(gpu, values);
    }
}

/// Memory for what `entries` put beside a layer; `ranks`: of their products, all together.
fn new_side(gpu: &Gpu, layer: &Layer, entries: &[Entry], ranks: usize) -> Result<Side, EngineError> {
    let (inp, kernel, n) = (layer.weight.k, layer.weight.kernel, layer.weight.n);
    let bank = if ranks > 0 {
        let down = Pack { out: ranks, inp, kernel, glu: false };
        let down = Weight::empty(gpu, "adapters down", &[down], false)?;
        Some(Bank { down, up: Weight::empty(gpu, "adapters up", &[Pack::linear(n, ranks)], false)? })
    } else {
        None
    };
    let n = padded(n);
    let (rows, scaled) = factors(entries, layer);
    let rows = rows.map(|_| Tensor::empty(gpu, "adapters rows", 2, n)).transpose()?;
    let mut inputs = Vec::new();
    for (column, columns, _) in scaled {
        let factors = Tensor::empty(gpu, "adapters inputs", 1, inp)?;
        let mask = (0..2 * n).map(|i| f32::from(u8::from((column..column + columns).contains(&i))));
        let mask =
            (layer.parts.len() > 1).then(|| Tensor::upload(gpu, "adapters part", &mask.collect::<Vec<f32>>(), 2, n));
        inputs.push(Inputs { factors, mask: mask.transpose()? });
    }
    Ok(Side { bank, rows, inputs, active: true })
}

/// Whether the memory beside a layer, made for `held`, fits `entries`.
fn fits(side: &Side, layer: &Layer, held: &[Entry], entries: &[Entry], ranks: usize) -> bool {
    let parts = |entries: &[Entry]| -> Vec<usize> {
        let scaled = |column: &usize| entries.iter().any(|e| e.column == *column && e.columns.is_some());
        layer.parts.iter().map(|(_, column, _)| *column).filter(scaled).collect()
    };
    side.bank.as_ref().map_or(0, |bank| bank.down.n) == ranks
        && side.rows.is_some() == entries.iter().any(|e| e.rows.is_some())
        && parts(held) == parts(entries)
}

/// What lies beside the layers.
pub(crate) struct Beside {
    pub pool: Pool,
    /// By the name of a layer's first part.
    banks: HashMap<String, Vec<Entry>>,
}

impl Beside {
    /// Nothing yet.
    pub fn new(pool: Pool) -> Beside {
        Beside { pool, banks: HashMap::new() }
    }
}

/// Every layer that an adapter can lie beside, and whether it has memory.
fn layers<'a>(
    unet: &'a mut UNet,
    encoders: &'a mut [Encoder],
    [has_text, has_unet, _]: [bool; 3],
) -> Vec<(&'a mut Layer, bool)> {
    let text = encoders.iter_mut().flat_map(|e| TextEncoder::layers_mut(&mut e.text));
    let unet = unet.layers_mut().into_iter().map(|layer| (layer, has_unet));
    unet.chain(text.map(|layer| (layer, has_text))).collect()
}

impl Networks {
    /// Puts the adapters that stay out of the weights beside their layers; layers without memory get theirs when their turn comes.
    /// Returns the part of the sampling range each such adapter acts in, by its number in the recipe.
    pub fn attach_side(&mut self, mixer: &Mixer) -> Result<BTreeMap<usize, (f64, f64)>, EngineError> {
        let attached = self.attach(mixer);
        if attached.is_err() {
            self.beside.banks.clear();
        }
        attached
    }

    /// What fails on the way has recorded banks that were never written: the caller forgets them.
    fn attach(&mut self, mixer: &Mixer) -> Result<BTreeMap<usize, (f64, f64)>, EngineError> {
        let gpu = self.gpu().clone();
        let mut ranges = BTreeMap::new();
        let mut layers = layers(&mut self.unet, &mut self.encoders, self.allocated);
        let mut keys = HashMap::new();
        let mut forms = HashMap::new();
        self.beside.pool.begin();
        for (adapter, key, factors) in mixer.side_adapters() {
            if forms.is_empty() {
                for (layer, _) in &layers {
                    let (inp, kernel, glu) = (layer.weight.k, layer.weight.kernel, layer.glu);
                    let parts = layer.parts.iter();
                    forms
                        .extend(parts.map(|(n, _, out)| (format!("{n}.weight"), Form { out: *out, inp, kernel, glu })));
                }
            }
            self.beside.pool.hold(&key, &factors, |name| forms.get(name).copied())?;
            keys.insert(adapter, key);
        }
        let mut rec = Recorder::new(&gpu);
        for (layer, has_memory) in &mut layers {
            let Some((bank, ..)) = layer.parts.first() else { continue };
            let mut wanted: Vec<Entry> = Vec::new();
            let mut ranks = 0;
            let (inp, kernel, glu) = (layer.weight.k, layer.weight.kernel, layer.glu);
            for (name, column, out) in layer.parts.iter().filter(|_| !keys.is_empty()) {
                for part in mixer.side_parts(&format!("{name}.weight")) {
                    ranges.insert(part.adapter, part.range);
                    let scale = part.factors.map_or(0.0, |f| (f.scale * part.weight) as f32);
                    let own = part.factors.map_or(0, |f| padded(f.rank));
                    let form = Form { out: *out, inp, kernel, glu };
                    wanted.push(Entry {
                        adapter: part.adapter,
                        key: keys.get(&part.adapter).cloned().unwrap_or_default(),
                        name: format!("{name}.weight"),
                        first: ranks,
                        ranks: own,
                        column: *column,
                        scale,
                        written: scale,
                        weight: part.weight as f32,
                        rows: part.rows.map(|rows| line(rows, form)),
                        biased: part.biased,
                        columns: part.columns.map(<[f32]>::to_vec),
                        acts: true,
                    });
                    ranks += own;
                }
            }
            let held = self.beside.banks.remove(bank).unwrap_or_default();
            if wanted.is_empty() || !*has_memory {
                layer.side = None;
                continue;
            }
            let (side, held) = match layer.side.take().filter(|side| fits(side, layer, &held, &wanted, ranks)) {
                Some(side) => (*side, held),
                None => (new_side(&gpu, layer, &wanted, ranks)?, Vec::new()),
            };
            for (at, entry) in wanted.iter().enumerate() {
                let Some(bank) = side.bank.as_ref().filter(|_| entry.ranks > 0) else { continue };
                let Some((_, down, up)) = self.beside.pool.get(&entry.key, &entry.name) else { continue };
                let same = |h: &&Entry| (&h.key, &h.name, h.first) == (&entry.key, &entry.name, entry.first);
                let before = held.get(at).filter(same);
                if before.is_none() {
                    rec.bank_down(down, entry.first, &bank.down)?;
                }
                if before.is_none_or(|h| h.written != entry.written) {
                    rec.bank_up(up, [entry.first, entry.column], entry.scale, &bank.up)?;
                }
            }
            write_factors(&gpu, layer, &wanted, &side);
            layer.side = Some(Box::new(Side { active: true, ..side }));
            self.beside.banks.insert(bank.clone(), wanted);
        }
        if !rec.is_empty() {
            rec.finish().submit();
        }
        let mut text = self.encoders.iter_mut().flat_map(|encoder| encoder.text.layers_mut());
        self.is_text_steered = text.any(|layer| layer.side.is_some());
        Ok(ranges)
    }

    /// Chooses which un-merged adapters take part in the U-Net as it is recorded next: the strengths of the others become zero. Text encoders have
    /// read their prompts by then, with all of them.
    pub fn set_active(&mut self, is_active: impl Fn(usize) -> bool) -> Result<(), EngineError> {
        let chosen = self.activate(is_active);
        if chosen.is_err() {
            self.beside.banks.clear();
        }
        chosen
    }

    fn activate(&mut self, is_active: impl Fn(usize) -> bool) -> Result<(), EngineError> {
        let gpu = self.gpu().clone();
        let mut rec = Recorder::new(&gpu);
        for layer in self.unet.layers_mut() {
            let held = layer.parts.first().and_then(|(name, ..)| self.beside.banks.get_mut(name));
            let (Some(mut side), Some(entries)) = (layer.side.take(), held) else { continue };
            let (mut moved, mut active) = (false, false);
            for entry in entries.iter_mut() {
                let acts = is_active(entry.adapter);
                moved |= acts != entry.acts;
                entry.acts = acts;
                active |= acts && entry.weight != 0.0;
                let scale = if acts { entry.scale } else { 0.0 };
                if scale != entry.written
                    && let Some(bank) = side.bank.as_ref().filter(|_| entry.ranks > 0)
                    && let Some((_, _, up)) = self.beside.pool.get(&entry.key, &entry.name)
                {
                    rec.bank_up(up, [entry.first, entry.column], scale, &bank.up)?;
                    entry.written = scale;
                }
            }
            if moved {
                write_factors(&gpu, layer, entries, &side);
            }
            side.active = active;
            layer.side = Some(side);
        }
        if !rec.is_empty() {
            rec.finish().submit();
        }
        Ok(())
    }
}
