//! Adapters beside the weights: y = W x + sum over adapters of weight scale up(down(x)), one pair of products a layer for all of them.
//!
//! Their factors stay in the [`Pool`]; what acts is gathered from there into a bank at every layer. A changed weight rewrites `up` halves of banks,
//! another adapter its own columns and rows: nothing is merged, and nothing that stayed the same is touched.

use std::collections::{BTreeMap, HashMap};

use admix_mix::Mixer;
use admix_model::store::{Layer, Side};
use admix_model::text::TextEncoder;
use admix_model::unet::UNet;
use admix_tensor::kernels::{Pack, Weight};
use admix_tensor::{Recorder, padded};

use crate::EngineError;
use crate::networks::{Encoder, Networks};
use crate::pool::{Form, Pool};

/// One adapter's part of a bank.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The adapter's number in the recipe, and its checksum.
    adapter: usize,
    key: String,
    /// The tensor.
    name: String,
    /// First of the bank's ranks, and first column of the layer.
    first: usize,
    column: usize,
    /// Strength, and the strength that the bank holds now: 0 while it does not act.
    scale: f32,
    written: f32,
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
            self.beside.pool.hold(key, &factors, |name| forms.get(name).copied())?;
            keys.insert(adapter, key);
        }
        let mut rec = Recorder::new(&gpu);
        for (layer, has_memory) in &mut layers {
            let Some((bank, ..)) = layer.parts.first() else { continue };
            let mut wanted: Vec<Entry> = Vec::new();
            let mut ranks = 0;
            for (name, column, _) in layer.parts.iter().filter(|_| !keys.is_empty()) {
                for part in mixer.side_parts(&format!("{name}.weight")) {
                    ranges.insert(part.adapter, part.range);
                    let scale = (part.factors.scale * part.weight) as f32;
                    wanted.push(Entry {
                        adapter: part.adapter,
                        key: keys.get(&part.adapter).copied().unwrap_or_default().into(),
                        name: format!("{name}.weight"),
                        first: ranks,
                        column: *column,
                        scale,
                        written: scale,
                    });
                    ranks += padded(part.factors.rank);
                }
            }
            let held = self.beside.banks.remove(bank).unwrap_or_default();
            if wanted.is_empty() || !*has_memory {
                layer.side = None;
                continue;
            }
            let (side, held) = match layer.side.take().filter(|side| side.down.n == ranks) {
                Some(side) => (*side, held),
                None => {
                    let (inp, kernel) = (layer.weight.k, layer.weight.kernel);
                    let down = Pack { out: ranks, inp, kernel, glu: false };
                    let down = Weight::empty(&gpu, "adapters down", &[down], false)?;
                    let up = Weight::empty(&gpu, "adapters up", &[Pack::linear(layer.weight.n, ranks)], false)?;
                    (Side { down, up, active: true }, Vec::new())
                }
            };
            for (at, entry) in wanted.iter().enumerate() {
                let Some((_, down, up)) = self.beside.pool.get(&entry.key, &entry.name) else { continue };
                let same = |h: &&Entry| (&h.key, &h.name, h.first) == (&entry.key, &entry.name, entry.first);
                let before = held.get(at).filter(same);
                if before.is_none() {
                    rec.bank_down(down, entry.first, &side.down)?;
                }
                if before.is_none_or(|h| h.written != entry.written) {
                    rec.bank_up(up, [entry.first, entry.column], entry.scale, &side.up)?;
                }
            }
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
        let mut rec = Recorder::new(&self.gpu().clone());
        for layer in self.unet.layers_mut() {
            let Some(side) = &mut layer.side else { continue };
            let entries = layer.parts.first().and_then(|(name, ..)| self.beside.banks.get_mut(name));
            side.active = false;
            for entry in entries.into_iter().flatten() {
                let scale = if is_active(entry.adapter) { entry.scale } else { 0.0 };
                side.active |= scale != 0.0;
                if scale != entry.written
                    && let Some((_, _, up)) = self.beside.pool.get(&entry.key, &entry.name)
                {
                    rec.bank_up(up, [entry.first, entry.column], scale, &side.up)?;
                    entry.written = scale;
                }
            }
        }
        if !rec.is_empty() {
            rec.finish().submit();
        }
        Ok(())
    }
}
