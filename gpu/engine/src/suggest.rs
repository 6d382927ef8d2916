//! Adapters for a prompt: cards, files and a model brought together. What `admix suggest`, the studio and the browser tab ask (Stylus, Luo et
//! al. 2024, arXiv 2404.18928); how the choice is made stands in `admix_select`.

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::checkpoint::Checkpoint;
use admix_mix::recipe::{AdapterUse, Recipe, Sample};
use admix_select::compose::{Choice, Settings, Suggestion, Topic, weight};
use admix_select::evidence::{Files, suggest};
use admix_select::masks::Candidate;
use admix_select::shelf::target;
use admix_select::{Card, Filter, Home, Library, Place, Shelf, Words, triggers};

/// The adapters of some libraries beside one model, ready to be asked.
pub struct Adviser {
    library: Library,
    filter: Filter,
    files: Files,
    places: Vec<Place>,
    homes: Vec<Home>,
    entries: HashMap<String, u32>,
}

/// A proposed adapter.
pub struct Proposal<'a> {
    /// The words it serves.
    pub topic: &'a Topic,
    /// How well, and how strongly.
    pub choice: &'a Choice,
    /// What a recipe calls it.
    pub reference: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its card, a person's words over it.
    pub card: &'a Card,
}

impl Adviser {
    /// Brings a shelf's adapters together with the model they shall fit; `filter` may narrow them down further.
    pub fn new(words: Arc<Words>, shelf: Shelf, model: &Checkpoint, filter: Filter) -> Adviser {
        // The first of several under one reference counts.
        let named = |at: usize| (shelf.entries[at].reference.clone(), at as u32);
        let entries = (0..shelf.entries.len()).rev().map(named).collect();
        Adviser {
            files: Files::new(shelf.places.clone(), model),
            library: Library::new(words, shelf.entries),
            filter: Filter { target: target(model), ..filter },
            places: shelf.places,
            homes: shelf.homes,
            entries,
        }
    }

    /// The cards.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Chooses adapters for a prompt.
    pub async fn suggest(&self, prompt: &str) -> Suggestion {
        suggest(prompt, &self.library, &self.filter, &self.files, &Settings::default()).await
    }

    /// What is proposed, the best first.
    pub fn proposals<'a>(&'a self, suggestion: &'a Suggestion) -> Vec<Proposal<'a>> {
        suggestion.ranked().into_iter().map(|(topic, choice)| self.proposal(topic, choice)).collect()
    }

    fn proposal<'a>(&'a self, topic: &'a Topic, choice: &'a Choice) -> Proposal<'a> {
        let entry = &self.library.entries()[choice.entry as usize];
        Proposal { topic, choice, reference: &entry.reference, name: &entry.name, card: &entry.found }
    }

    /// What a candidate has on, with Stylus's weights for as many as share a topic there.
    pub fn adapters<'a>(&'a self, suggestion: &'a Suggestion, candidate: &Candidate) -> Vec<(Proposal<'a>, f64)> {
        let of = |(topic, choice, sharing): (usize, usize, usize)| {
            let topic = suggestion.topics.get(topic)?;
            let proposal = self.proposal(topic, topic.choices.get(choice)?);
            let weight = weight(proposal.card, sharing);
            Some((proposal, weight))
        };
        candidate.on().filter_map(of).collect()
    }

    /// The recipe of a candidate on a base: nothing but the adapters that are on. `with_triggers` adds the first trigger of each whose triggers
    /// the prompt lacks; Stylus adds none.
    pub fn recipe(
        &self,
        base: &str,
        prompt: &str,
        (suggestion, candidate): (&Suggestion, &Candidate),
        with_triggers: bool,
    ) -> Recipe {
        let mut recipe = Recipe::new(base);
        let mut prompt = prompt.to_owned();
        for (proposal, weight) in self.adapters(suggestion, candidate) {
            if let Some(first) = triggers::lacking(&prompt, &proposal.card.triggers).filter(|_| with_triggers) {
                prompt = format!("{prompt}, {first}");
            }
            recipe.adapters.push(AdapterUse::new(proposal.reference, weight));
        }
        recipe.sample = Sample { prompt: Some(prompt), ..Sample::default() };
        recipe
    }

    fn at(&self, reference: &str) -> Option<usize> {
        self.entries.get(reference).map(|at| *at as usize)
    }

    /// The card of an adapter, by what recipes call it.
    pub fn card(&self, reference: &str) -> Option<&Card> {
        self.at(reference).map(|at| &self.library.entries()[at].found)
    }

    /// What keeps a person's words on an adapter.
    pub fn home(&self, reference: &str) -> Option<&Home> {
        self.at(reference).map(|at| &self.homes[at])
    }

    /// Adapters whose tensors nobody has hashed yet: too large for it to be done on the way.
    pub fn unhashed(&self) -> Vec<(String, Place)> {
        let open = self.library.entries().iter().zip(&self.places).filter(|(entry, _)| entry.key.is_none());
        open.map(|(entry, place)| (entry.reference.clone(), place.clone())).collect()
    }

    /// Notes the hash of an adapter's tensors, here and in its catalogue; true if a person has said something of these tensors, so that the cards
    /// have to be read again.
    ///
    /// # Errors
    /// A catalogue that cannot be written.
    pub async fn learn_key(&mut self, reference: &str, key: String) -> admix_select::Result<bool> {
        let Some(at) = self.at(reference) else { return Ok(false) };
        let is_said = self.homes[at].learn_key(&key).await?;
        self.library.set_key(at as u32, key);
        Ok(is_said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admix_files::builtin;
    use admix_select::folders;
    use admix_select::masks::{Masks, candidates};
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn candidates_become_recipes() {
        let shelf = folders::open(&[], true, Path::new("no/own"), &|_, _| {}, &AtomicBool::new(false)).expect("ships");
        let model = Checkpoint::open(builtin::resolve_model("builtin").expect("ships")).expect("opens");
        let words = folders::shipped_words().expect("ships");
        let adviser = Adviser::new(words, shelf, &model, Filter::default());
        let prompt = "a horned horse at night";
        let found = pollster::block_on(adviser.suggest(prompt));
        let all = candidates(&found, Masks::Paper, 8, 1);
        let of = |at: usize, triggers| adviser.recipe("builtin", prompt, (&found, &all[at]), triggers);
        let everything = of(0, false);
        let names: Vec<&str> = everything.adapters.iter().map(|a| a.source.reference.as_str()).collect();
        assert_eq!((names.as_slice(), all.len()), (["builtin:unicorn", "builtin:night"].as_slice(), 4));
        assert_eq!(everything.sample.prompt.as_deref(), Some(prompt));
        assert_eq!(of(0, true).sample.prompt.as_deref(), Some("a horned horse at night, unicorn"));
        assert!(of(all.len() - 1, true).adapters.is_empty());
        assert!(adviser.unhashed().is_empty() && adviser.card("builtin:unicorn").is_some());
        assert_eq!(adviser.proposals(&found).len(), 2);
    }
}
