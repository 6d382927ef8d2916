//! Pictures of studies, kept while the program runs: a strip that is drawn again is there at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use admix_engine::mix::Recipe;

use crate::session::Finished;

/// Pixels kept in all; the oldest pictures leave first.
const MOST_PIXELS: usize = 64 << 20;

/// Finished pictures by what makes them.
#[derive(Default)]
pub struct Cache {
    held: HashMap<String, Arc<Finished>>,
    order: VecDeque<String>,
    pixels: usize,
}

fn pixels(finished: &Finished) -> usize {
    finished.pictures.iter().map(|p| p.width * p.height).sum()
}

impl Cache {
    /// What a picture depends on: the recipe, and the files it names as they are now. `states` remembers those from one cell to the next.
    pub fn key(recipe: &Recipe, is_quick: bool, states: &mut HashMap<String, String>) -> String {
        let mut recipe = recipe.clone();
        let mut key = format!("{is_quick} {}", recipe.to_json(false));
        for source in recipe.references_mut() {
            let name = &source.reference;
            let state = states.entry(name.clone()).or_insert_with(|| crate::io::state_of(name).unwrap_or_default());
            key.push_str(state);
        }
        key
    }

    /// The picture of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Finished>> {
        self.held.get(key).cloned()
    }

    /// Keeps a picture.
    pub fn put(&mut self, key: String, finished: Arc<Finished>) {
        self.pixels += pixels(&finished);
        if let Some(old) = self.held.insert(key.clone(), finished) {
            self.pixels -= pixels(&old);
        } else {
            self.order.push_back(key);
        }
        while self.pixels > MOST_PIXELS && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.held.remove(&oldest) {
                self.pixels -= pixels(&gone);
            }
        }
    }
}
