//! Everything a person sets and can undo: the recipe, and what of it is switched off.

use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::{AdapterUse, ModelUse, Reference, Sample, Stage};
use admix_engine::mix::{method, methods};
use admix_engine::sample::registry;
use admix_engine::select::triggers;
use serde::{Deserialize, Serialize};

/// The prompt of a first start.
pub const FIRST_PROMPT: &str = "red apple";

/// The merge whose weights are shares however many models it has: what they leave is the share of what they are mixed into.
const SUM: &str = "weighted_sum";

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
    ///
    /// A sampler by another tool's name becomes ours with its knobs. The strength of a picture to start from goes: here every picture begins with noise.
    pub fn adopt(&mut self, mut recipe: Recipe) {
        admix_engine::settings::spell_out(&mut recipe.sample);
        recipe.sample.strength = None;
        self.recipe.sample.strength = None;
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
            (Some(reference), None) => self.add_stage(reference),
        }
    }

    /// Mixes one more model in: as B, or beside B where the method takes more, or else as a merge on top.
    pub fn mix_in(&mut self, reference: &str) {
        match self.recipe.merge.last().map(|s| (s.models.len(), method(&s.method).ok())) {
            Some((count, Some(m))) if m.models().contains(&(count + 1)) && !self.is_between() => {
                self.add_model(self.recipe.merge.len() - 1, reference);
            }
            _ => self.add_stage(reference),
        }
    }

    /// True when a thing is in the mix.
    pub fn uses(&self, reference: &str) -> bool {
        let recipe = &self.recipe;
        recipe.base.reference == reference
            || recipe.adapters.iter().any(|a| a.source.reference == reference)
            || recipe.merge.iter().flat_map(|s| &s.models).any(|m| m.source.reference == reference)
    }

    /// One more merge on the result so far.
    pub fn add_stage(&mut self, reference: &str) {
        self.recipe.merge.push(Stage {
            method: methods().first().map_or("weighted_sum", |m| m.name()).into(),
            models: vec![ModelUse::new(reference, 0.5)],
            params: Default::default(),
            blocks: Default::default(),
            seed: None,
        });
    }

    /// One more model in a stage. Where weights are shares all parts give way alike: of two halves and a third model come three thirds.
    pub fn add_model(&mut self, at: usize, reference: &str) {
        let Some(stage) = self.recipe.merge.get_mut(at) else { return };
        let mut weight = 0.5;
        if stage.method == SUM {
            // What is mixed into is a part too.
            let parts = stage.models.len() as f64 + 1.0;
            let thousandths = |w: f64| (w * 1000.0).round() / 1000.0;
            for model in &mut stage.models {
                model.weight = thousandths(model.weight * parts / (parts + 1.0));
            }
            weight = thousandths(1.0 / (parts + 1.0));
        }
        stage.models.push(ModelUse::new(reference, weight));
    }

    /// Takes a model out of a stage: a stage that it leaves without enough of them gets the first method that the rest suffices for.
    pub fn remove_model(&mut self, at: usize, model: usize) {
        let Some(stage) = self.recipe.merge.get_mut(at) else { return };
        if model < stage.models.len() {
            stage.models.remove(model);
        }
        let count = stage.models.len();
        if count == 0 {
            self.recipe.merge.remove(at);
        } else if method(&stage.method).is_ok_and(|m| !m.models().contains(&count))
            && let Some(m) = methods().iter().find(|m| m.models().contains(&count))
        {
            self.set_method(at, m.name(), &[]);
        }
    }

    /// The base and the first model mixed in change places, and so do their shares.
    pub fn swap(&mut self) {
        let Some(model) = self.recipe.merge.first_mut().and_then(|s| s.models.first_mut()) else { return };
        std::mem::swap(&mut self.recipe.base, &mut model.source);
        model.weight = 1.0 - model.weight;
    }

    /// Another method for a stage. Knobs that it does not have leave; models it lacks come from `spare`, models too many leave.
    pub fn set_method(&mut self, at: usize, name: &str, spare: &[(String, String)]) {
        let Some(stage) = self.recipe.merge.get_mut(at) else { return };
        let Ok(m) = method(name) else { return };
        stage.method = name.into();
        stage.params.retain(|k, _| m.knobs().iter().any(|knob| knob.name == k));
        let (low, high) = (*m.models().start(), *m.models().end());
        while stage.models.len() < low {
            let held =
                |r: &str| r == self.recipe.base.reference || stage.models.iter().any(|m| m.source.reference == r);
            let Some((next, _)) = spare.iter().find(|(r, _)| !held(r)).or(spare.first()) else { break };
            stage.models.push(ModelUse::new(next, 0.5));
        }
        stage.models.truncate(high);
        for model in &mut stage.models {
            model.params.retain(|k, _| m.model_knobs().iter().any(|knob| knob.name == k));
        }
    }

    /// Knobs of sampling that nothing in use has would be an error: they leave.
    pub fn keep_fitting_knobs(&mut self) {
        let known = super::study::sampling_knobs(self);
        let kept = |name: &String| known.iter().any(|k| k.name == name) || !is_sampling_knob(name);
        self.recipe.sample.set.retain(|name, _| kept(name));
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

    /// What is mixed, in a line: "mini 70 + flat 30, ink 0.8". Weights by block and shares beyond 0 to 100 are named.
    pub fn summary(&self) -> String {
        let short = |r: &str| crate::io::catalogue::short(r);
        let mut out = short(&self.recipe.base.reference);
        for (at, stage) in self.recipe.merge.iter().enumerate() {
            match self.percents_at(at) {
                Some(percents) => {
                    out = if at == 0 { out } else { format!("({out})") };
                    out.push_str(&format!(" {}", percents[0]));
                    for (model, percent) in stage.models.iter().zip(&percents[1..]) {
                        out.push_str(&format!(" + {} {percent}", short(&model.source.reference)));
                    }
                    if percents.iter().any(|p| !(0..=100).contains(p)) {
                        out.push_str(" extrapolated");
                    }
                }
                None => {
                    let has_weights = method(&stage.method).is_ok_and(|m| m.weighted());
                    for model in &stage.models {
                        out.push_str(&format!(" + {}", short(&model.source.reference)));
                        if has_weights {
                            out.push_str(&format!(" x {:.2}", model.weight));
                        }
                    }
                }
            }
            out.push_str(if stage.blocks.is_empty() { "" } else { " by block" });
        }
        for (adapter, on) in self.recipe.adapters.iter().zip(&self.on) {
            if *on {
                out.push_str(&format!(", {} {:.2}", short(&adapter.source.reference), adapter.weight));
                out.push_str(if adapter.blocks.is_empty() { "" } else { " by block" });
            }
        }
        out
    }

    /// What a stage is mixed into, by the names of its models: "mini + fluent-3d".
    pub fn names_below(&self, at: usize) -> String {
        let models = self.recipe.merge.iter().take(at).flat_map(|s| s.models.iter().map(|m| &m.source));
        let names = std::iter::once(&self.recipe.base).chain(models).map(|r| crate::io::catalogue::short(&r.reference));
        names.collect::<Vec<_>>().join(" + ")
    }

    /// Shares in whole percent where a stage's weights are shares: of what it is mixed into, then of its models. Together they are 100.
    pub fn percents_at(&self, at: usize) -> Option<Vec<i64>> {
        let stage = self.recipe.merge.get(at)?;
        let is_shared = self.is_between_at(at) || stage.method == SUM;
        is_shared.then(|| {
            let models: Vec<i64> = stage.models.iter().map(|m| (m.weight * 100.0).round() as i64).collect();
            std::iter::once(100 - models.iter().sum::<i64>()).chain(models).collect()
        })
    }

    /// True where the second model's weight is a share, so that the first has the rest.
    pub fn is_between(&self) -> bool {
        self.is_between_at(0)
    }

    /// The same for any stage.
    pub fn is_between_at(&self, at: usize) -> bool {
        let stage = self.recipe.merge.get(at).filter(|s| s.models.len() == 1);
        stage.and_then(|s| method(&s.method).ok()).is_some_and(|m| m.is_between())
    }

    /// True when there is something to export that no file holds.
    pub fn is_mixed(&self) -> bool {
        !self.recipe.merge.is_empty() || self.on.iter().any(|on| *on)
    }

    /// The first trigger of an adapter, unless the prompt has one of them already.
    pub fn add_first_trigger(&mut self, triggers: &[String]) {
        let prompt = self.recipe.sample.prompt.as_deref().unwrap_or_default();
        if let Some(first) = triggers::lacking(prompt, triggers) {
            self.add_to_prompt(first);
        }
    }

    /// A word of the prompt for adapters' triggers.
    pub fn add_to_prompt(&mut self, words: &str) {
        let prompt = self.recipe.sample.prompt.get_or_insert_default();
        if !triggers::holds(prompt, words) {
            if !prompt.trim().is_empty() {
                prompt.push_str(", ");
            }
            prompt.push_str(words);
        }
    }

    /// A click on a trigger: what the prompt has goes, what it has not comes.
    pub fn toggle_in_prompt(&mut self, words: &str) {
        if !triggers::holds(self.recipe.sample.prompt.as_deref().unwrap_or_default(), words) {
            return self.add_to_prompt(words);
        }
        let prompt = self.recipe.sample.prompt.get_or_insert_default();
        let parts: Vec<&str> = prompt.split(',').collect();
        let kept: Vec<&str> = parts.iter().copied().filter(|part| part.trim() != words.trim()).collect();
        *prompt = match kept.len() < parts.len() {
            true => kept.join(",").trim_start().to_owned(),
            // In the middle of other words.
            false => triggers::without(prompt, words),
        };
    }

    /// Takes triggers out of the prompt again: parts between commas that are nothing but one of them.
    pub fn take_from_prompt(&mut self, triggers: &[String]) {
        let Some(prompt) = &mut self.recipe.sample.prompt else { return };
        let is_trigger = |part: &str| triggers.iter().any(|t| t.trim().eq_ignore_ascii_case(part.trim()));
        if prompt.split(',').skip(1).any(is_trigger) {
            let kept = prompt.split(',').enumerate().filter(|(i, part)| *i == 0 || !is_trigger(part));
            *prompt = kept.map(|(_, part)| part).collect::<Vec<_>>().join(",");
        }
    }
}

/// True for what some sampler, schedule or guidance calls a knob; other names mean something to the engine itself.
fn is_sampling_knob(name: &str) -> bool {
    registry::all_knobs().iter().any(|k| k.name == name)
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
    fn triggers_come_and_go_as_whole_parts() {
        let mut d = Document::default();
        d.recipe.sample.prompt = Some("a knight, nightmare".into());
        let triggers = ["night".to_string()];
        d.add_first_trigger(&triggers);
        assert_eq!(d.recipe.sample.prompt.as_deref(), Some("a knight, nightmare, night"));
        d.add_first_trigger(&triggers);
        d.take_from_prompt(&triggers);
        assert_eq!(d.recipe.sample.prompt.as_deref(), Some("a knight, nightmare"));
        // What the prompt begins with is what the picture shows.
        d.recipe.sample.prompt = Some("night, trees".into());
        d.take_from_prompt(&triggers);
        assert_eq!(d.recipe.sample.prompt.as_deref(), Some("night, trees"));
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
    fn shares_of_three_are_thirds_and_named() {
        let mut d = Document::default();
        d.set_second(Some("builtin:flat"));
        d.add_model(0, "builtin:twemoji");
        assert_eq!(d.summary(), "mini 34 + flat 33 + twemoji 33");
        d.add_model(0, "x");
        assert_eq!(d.percents_at(0), Some(vec![25, 25, 25, 25]));
        d.recipe.merge[0].models.truncate(1);
        d.recipe.merge[0].models[0].weight = 1.5;
        d.recipe.merge[0].blocks.insert("unet.mid".into(), 0.5);
        assert_eq!(d.summary(), "mini -50 + flat 150 extrapolated by block");
        d.add_stage("y");
        assert_eq!((d.names_below(0), d.names_below(1)), ("mini".into(), "mini + flat".into()));
        // Where weights are no shares nothing is scaled.
        d.set_method(0, "ties", &[]);
        d.add_model(0, "z");
        assert_eq!((d.recipe.merge[0].models[0].weight, d.percents_at(0)), (1.5, None));
    }

    #[test]
    fn a_click_on_a_trigger_turns_it_over() {
        let mut d = Document::default();
        let mut click = |prompt: &str| {
            d.recipe.sample.prompt = Some(prompt.into());
            d.toggle_in_prompt("night");
            d.recipe.sample.prompt.clone().unwrap_or_default()
        };
        assert_eq!(click("nightmare"), "nightmare, night");
        assert_eq!(click("a cat, night, red"), "a cat, red");
        assert_eq!(click("night, trees"), "trees");
        assert_eq!(click("a night sky, nightmare"), "a sky, nightmare");
        assert_eq!(click("night"), "");
    }

    #[test]
    fn methods_bring_the_models_they_need() {
        let mut d = Document::default();
        d.set_second(Some("builtin:flat"));
        let spare = [("builtin:mini".into(), "mini".into()), ("x".into(), "x".into()), ("y".into(), "y".into())];
        for m in methods() {
            d.set_method(0, m.name(), &spare);
            assert!(m.models().contains(&d.recipe.merge[0].models.len()), "{}", m.name());
            d.recipe.check().expect("no knob of another method is left");
        }
        assert!(d.recipe.merge[0].models.iter().all(|m| m.source.reference != "builtin:mini"));
        d.add_stage("z");
        d.set_method(0, "weighted_sum", &spare);
        d.recipe.merge[0].models.truncate(1);
        assert_eq!(d.summary(), "(mini 50 + flat 50) 50 + z 50");
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
