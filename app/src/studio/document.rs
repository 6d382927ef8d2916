//! Everything a person sets and can undo: the recipe, and what of it is switched off.

use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::{AdapterUse, ModelUse, Reference, Sample, Stage};
use serde::{Deserialize, Serialize};

/// The prompt of a first start.
pub const FIRST_PROMPT: &str = "red apple";

/// The settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The recipe, switched-off adapters included.
    pub recipe: Recipe,
    /// Which adapters are on, in the recipe's order.
    pub on: Vec<bool>,
    /// Keep the seed from one picture to the next.
    pub seed_locked: bool,
}

impl Default for Document {
    fn default() -> Document {
        let mut recipe = Recipe::new("builtin:mini");
        recipe.sample = Sample {
            prompt: Some(FIRST_PROMPT.into()),
            negative: Some(String::new()),
            sampler: Some("dpmpp_2m".into()),
            schedule: Some("karras".into()),
            steps: Some(20),
            cfg: Some(5.0),
            seed: Some(1),
            width: Some(128),
            height: Some(128),
            batch: Some(1),
            ..Sample::default()
        };
        Document { recipe, on: Vec::new(), seed_locked: false }
    }
}

impl Document {
    /// The settings of a recipe, with what it leaves open taken from these.
    pub fn adopt(&mut self, recipe: Recipe) {
        let sample = recipe.sample.or(&self.recipe.sample);
        // Knobs belong to their sampler: those of the old settings must not linger.
        let set = recipe.sample.set.clone();
        self.recipe = recipe;
        self.recipe.sample = Sample { set, ..sample };
        self.on = vec![true; self.recipe.adapters.len()];
    }

    /// What is rendered: the recipe without what is switched off.
    pub fn effective(&self) -> Recipe {
        let mut recipe = self.recipe.clone();
        let mut on = self.on.iter().copied().chain(std::iter::repeat(true));
        recipe.adapters.retain(|_| on.next().unwrap_or(true));
        recipe
    }

    /// Puts another model at the bottom.
    pub fn set_base(&mut self, reference: &str) {
        self.recipe.base = Reference::new(reference);
    }

    /// The model mixed in, with its weight.
    pub fn second(&self) -> Option<(&str, f64)> {
        let model = self.recipe.merge.first()?.models.first()?;
        Some((&model.source.reference, model.weight))
    }

    /// Mixes a model in at half, or takes the one mixed in away.
    pub fn set_second(&mut self, reference: Option<&str>) {
        match (reference, self.recipe.merge.first_mut().and_then(|s| s.models.first_mut())) {
            (None, _) => self.recipe.merge.clear(),
            (Some(reference), Some(model)) => model.source = Reference::new(reference),
            (Some(reference), None) => self.recipe.merge.push(Stage {
                method: "weighted_sum".into(),
                models: vec![ModelUse::new(reference, 0.5)],
                params: Default::default(),
                blocks: Default::default(),
                seed: None,
            }),
        }
    }

    /// Adds an adapter, or finds it: its place in the list.
    pub fn add_adapter(&mut self, reference: &str) -> usize {
        self.on.resize(self.recipe.adapters.len(), true);
        if let Some(at) = self.recipe.adapters.iter().position(|a| a.source.reference == reference) {
            self.on[at] = true;
            return at;
        }
        self.recipe.adapters.push(AdapterUse::new(reference, 1.0));
        self.on.push(true);
        self.recipe.adapters.len() - 1
    }

    /// Takes an adapter out.
    pub fn remove_adapter(&mut self, at: usize) {
        self.on.resize(self.recipe.adapters.len(), true);
        if at < self.recipe.adapters.len() {
            self.recipe.adapters.remove(at);
            self.on.remove(at);
        }
    }

    /// Moves an adapter one place up or down.
    pub fn move_adapter(&mut self, at: usize, down: bool) {
        self.on.resize(self.recipe.adapters.len(), true);
        let to = if down { at + 1 } else { at.wrapping_sub(1) };
        if at < self.on.len() && to < self.on.len() {
            self.recipe.adapters.swap(at, to);
            self.on.swap(at, to);
        }
    }

    /// What is mixed, in a line: "mini 70 + flat 30, ink 0.8".
    pub fn summary(&self) -> String {
        let short = |r: &str| crate::io::catalogue::short(r);
        let base = short(&self.recipe.base.reference);
        let mut out = match self.second() {
            Some((second, weight)) if self.is_between() => {
                let percent = (weight * 100.0).round();
                format!("{base} {} + {} {percent}", 100.0 - percent, short(second))
            }
            Some((second, weight)) => format!("{base} + {} x {weight:.2}", short(second)),
            None => base,
        };
        for (adapter, on) in self.recipe.adapters.iter().zip(&self.on) {
            if *on {
                out.push_str(&format!(", {} {:.2}", short(&adapter.source.reference), adapter.weight));
            }
        }
        out
    }

    /// True where the second model's weight is a share, so that the first has the rest.
    pub fn is_between(&self) -> bool {
        self.recipe
            .merge
            .first()
            .is_some_and(|s| ["weighted_sum", "slerp", "nuslerp", "karcher"].contains(&s.method.as_str()))
    }

    /// True when there is something to export that no file holds.
    pub fn is_mixed(&self) -> bool {
        !self.recipe.merge.is_empty() || self.on.iter().any(|on| *on)
    }

    /// A word of the prompt for adapters' triggers.
    pub fn add_to_prompt(&mut self, words: &str) {
        let prompt = self.recipe.sample.prompt.get_or_insert_default();
        if !prompt.contains(words) {
            if !prompt.trim().is_empty() {
                prompt.push_str(", ");
            }
            prompt.push_str(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_keep_their_switches() {
        let mut d = Document::default();
        for name in ["a", "b", "c"] {
            d.add_adapter(name);
        }
        d.on[1] = false;
        d.move_adapter(1, true);
        assert_eq!(d.on, [true, true, false]);
        d.move_adapter(0, false);
        d.move_adapter(2, true);
        let names: Vec<_> = d.effective().adapters.iter().map(|a| a.source.reference.clone()).collect();
        assert_eq!(names, ["a", "c"]);
        d.remove_adapter(0);
        assert_eq!(d.on, [true, false]);
        assert_eq!(d.add_adapter("b"), 1, "an adapter is there once");
        assert_eq!(d.on, [true, true]);
    }

    #[test]
    fn the_summary_names_both_and_their_shares() {
        let mut d = Document::default();
        assert_eq!(d.summary(), "mini");
        d.set_second(Some("builtin:flat"));
        d.recipe.merge[0].models[0].weight = 0.3;
        d.add_adapter("/x/ink.safetensors");
        assert_eq!(d.summary(), "mini 70 + flat 30, ink 1.00");
        assert!(d.is_mixed());
        d.set_second(None);
        assert!(d.recipe.merge.is_empty());
    }

    #[test]
    fn survives_a_restart() {
        let mut d = Document::default();
        d.set_second(Some("builtin:flat"));
        d.add_adapter("ink");
        let text = serde_json::to_string(&d).expect("serialises");
        assert_eq!(serde_json::from_str::<Document>(&text).expect("reads"), d);
    }
}
