//! What goes into the mix and out of it again: models, adapters, the export, and what it takes.

use super::Studio;
use super::notices::Fix;
use crate::io::pick;
use crate::session::{Card, Export, ModelCard, Work};

impl Studio {
    /// Takes another model as the base.
    pub fn use_base(&mut self, reference: &str) {
        if self.shelf.find(reference).is_some_and(|i| !i.is_whole() && i.card.is_some()) {
            // A U-Net alone cannot make a picture: it goes on top of what can.
            return self.document.mix_in(reference);
        }
        let before = self.native_size();
        self.document.set_base(reference);
        // The size follows the model, unless somebody chose one.
        let sample = &self.document.recipe.sample;
        let chosen = before.is_some_and(|[w, h]| (sample.width, sample.height) != (Some(w), Some(h)));
        if let (false, Some([width, height])) = (chosen, self.native_size()) {
            self.document.recipe.sample.width = Some(width);
            self.document.recipe.sample.height = Some(height);
        }
    }

    /// What is known of the model in use, once its card is there.
    pub fn model_card(&self) -> Option<&ModelCard> {
        match &self.shelf.find(&self.document.recipe.base.reference)?.card {
            Some(Ok(Card::Model(m))) => Some(m),
            _ => None,
        }
    }

    /// Pixels the model in use was made for, once its card is there.
    pub fn native_size(&self) -> Option<[u32; 2]> {
        self.model_card().map(|m| m.native)
    }

    /// Puts an adapter into the mix, with its first trigger if the prompt has none of them.
    pub fn use_adapter(&mut self, reference: &str) {
        self.document.add_adapter(reference);
        self.prefs.mix_open = true;
        let triggers = self.shelf.find(reference).map(|i| i.triggers().to_vec()).unwrap_or_default();
        self.document.add_first_trigger(&triggers);
    }

    /// Takes an adapter out, and with it those of its triggers that no other adapter of the mix has.
    pub fn drop_adapter(&mut self, at: usize) {
        let Some(gone) = self.document.recipe.adapters.get(at).map(|a| a.source.reference.clone()) else { return };
        self.document.remove_adapter(at);
        let triggers = |reference: &str| self.shelf.find(reference).map_or(&[][..], |i| i.triggers());
        let rest = &self.document.recipe.adapters;
        let is_needed = |t: &String| {
            let is = |other: &String| other.trim().eq_ignore_ascii_case(t.trim());
            rest.iter().any(|a| triggers(&a.source.reference).iter().any(is))
        };
        let leave: Vec<String> = triggers(&gone).iter().filter(|t| !is_needed(t)).cloned().collect();
        self.document.take_from_prompt(&leave);
    }

    /// True when the mix is the one last exported.
    pub fn is_exported(&self) -> bool {
        let now = self.document.effective();
        self.exported.as_ref().is_some_and(|e| {
            (&e.base, &e.merge, &e.adapters, &e.combine) == (&now.base, &now.merge, &now.adapters, &now.combine)
        })
    }

    /// Hands exports to the engine whose place was chosen.
    pub(super) fn begin_exports(&mut self) {
        let places = std::mem::take(&mut *self.export_places.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (recipe, place) in places {
            self.notices.clear_fix(&Fix::ExportAgain);
            let id = self.desk.submit(Work::Export(Box::new(Export { recipe: recipe.clone(), place })));
            self.exporting.insert(id, recipe);
        }
    }

    /// Writes the mix as a checkpoint.
    pub fn export(&mut self) {
        let recipe = self.document.effective();
        let name =
            format!("{}.safetensors", self.document.summary().replace([' ', '+', ',', '/'], "-").replace("--", "-"));
        let (places, inbox) = (self.export_places.clone(), self.inbox.clone());
        pick::save_place(&name, &self.inbox, move |place| {
            places.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((recipe, place));
            inbox.wake();
        });
    }

    /// Bytes a render of these settings takes, and a line about it.
    pub fn memory_estimate(&self) -> Option<(f64, String)> {
        let m = self.model_card()?;
        let s = &self.document.recipe.sample;
        let pixels = f64::from(s.width.unwrap_or(m.native[0])) * f64::from(s.height.unwrap_or(m.native[1]));
        let models = 1.0 + self.document.recipe.merge.iter().map(|s| s.models.len() as f64).sum::<f64>();
        let weights = m.parameters as f64 * 2.0;
        // Activations grow with pixels and with the network's width, which grows with the root of its size.
        let activations = pixels * (m.parameters as f64).sqrt() / 18.0 * f64::from(s.batch.unwrap_or(1));
        let needed = weights * if models > 1.0 { 1.2 } else { 1.0 } + activations;
        let text = match self.free_memory() {
            Some(free) => format!("about {} of {} free", bytes(needed), bytes(free)),
            None => format!("about {} of device memory", bytes(needed)),
        };
        Some((needed, text))
    }

    /// Bytes that a model may take on the device, where that is known.
    pub fn free_memory(&self) -> Option<f64> {
        let now = web_time::Instant::now();
        // Asking the system takes a tenth of a millisecond, and the answer is for people.
        let held = self.free.get().filter(|(at, _)| now.duration_since(*at).as_secs() < 2);
        let (_, free) = held.unwrap_or_else(|| (now, self.gpu.memory(0)));
        if held.is_none() {
            self.free.set(Some((now, free)));
        }
        free.map(|bytes| bytes as f64)
    }
}

/// Bytes in words.
fn bytes(n: f64) -> String {
    if n >= 1e9 { format!("{:.1} GB", n / 1e9) } else { format!("{:.0} MB", n / 1e6) }
}
