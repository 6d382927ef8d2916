//! What there is to mix: built-in and added models and adapters, each with its card once its header was read.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::io::catalogue;
use crate::session::{Card, Desk, Open, Work};

/// One thing on the shelf.
pub struct Item {
    /// How recipes name it.
    pub reference: String,
    /// Its name for people.
    pub name: String,
    /// Came with the program.
    pub builtin: bool,
    /// What it is, once its header was read: or why it is of no use.
    pub card: Option<Result<Card, String>>,
    /// The model the card was made against.
    pub against: String,
    /// The catalogue says it is an adapter; what the file says goes first.
    is_adapter: bool,
}

impl Item {
    /// Adapter, as far as is known.
    pub fn is_adapter(&self) -> bool {
        match &self.card {
            Some(Ok(card)) => matches!(card, Card::Adapter(_)),
            _ => self.is_adapter,
        }
    }

    /// The second line of its row: type and fit.
    pub fn line(&self) -> String {
        match &self.card {
            None => "reading its header".into(),
            Some(Err(error)) => error.clone(),
            Some(Ok(Card::Model(m))) => {
                let parameters = match m.parameters {
                    n if n >= 1_000_000_000 => format!("{:.2} B", n as f64 / 1e9),
                    n => format!("{:.1} M", n as f64 / 1e6),
                };
                format!("{} - {parameters} weights, {}", m.family, m.dtype)
            }
            Some(Ok(Card::Adapter(a))) => {
                let rank = a.rank.map_or(String::new(), |r| format!(" rank {r}"));
                let fit = match () {
                    () if a.matched == a.modules => format!("{}/{} fit", a.matched, a.modules),
                    () if a.matched == 0 => "does not fit, why?".into(),
                    () => format!("{} of {} fit, why?", a.matched, a.modules),
                };
                format!("{}{rank} - {fit}", a.kind)
            }
        }
    }

    /// True when everything of it can be used.
    pub fn is_sound(&self) -> bool {
        match &self.card {
            Some(Ok(Card::Adapter(a))) => a.matched == a.modules && a.trouble.is_none(),
            Some(Ok(Card::Model(m))) => m.trouble.is_none(),
            Some(Err(_)) => false,
            None => true,
        }
    }

    /// Words that call it up.
    pub fn triggers(&self) -> &[String] {
        match &self.card {
            Some(Ok(Card::Adapter(a))) => &a.triggers,
            _ => &[],
        }
    }
}

/// The shelf.
#[derive(Default)]
pub struct Shelf {
    /// Everything, built-in first.
    pub items: Vec<Item>,
    asked: HashSet<(String, String)>,
}

/// What of the shelf survives a restart.
#[derive(Default, Serialize, Deserialize)]
pub struct SavedShelf(Vec<String>);

impl Shelf {
    /// The built-in things and those added before.
    pub fn new(saved: &SavedShelf) -> Shelf {
        let mut shelf = Shelf::default();
        for item in catalogue::builtin() {
            shelf.push(item.reference, true, item.is_adapter);
        }
        for reference in &saved.0 {
            shelf.push(reference.clone(), false, true);
        }
        shelf
    }

    fn push(&mut self, reference: String, builtin: bool, is_adapter: bool) {
        if self.find(&reference).is_none() {
            let name = catalogue::short(&reference);
            self.items.push(Item { reference, name, builtin, card: None, against: String::new(), is_adapter });
        }
    }

    /// The added files that will still be there after a restart.
    pub fn to_save(&self) -> SavedShelf {
        let lasting = self.items.iter().filter(|i| !i.builtin && !i.reference.starts_with("drop:"));
        SavedShelf(lasting.map(|i| i.reference.clone()).collect())
    }

    /// The item of a reference.
    pub fn find(&self, reference: &str) -> Option<&Item> {
        let wanted = if reference == "builtin" { "builtin:mini" } else { reference };
        self.items.iter().find(|i| i.reference == wanted)
    }

    /// Puts a file on the shelf, on top of those added before, and asks for its card.
    pub fn add(
        &mut self,
        desk: &mut Desk,
        reference: &str,
        bundle: Option<admix_engine::files::Bundle>,
        against: &str,
    ) {
        self.items.retain(|i| i.reference != reference);
        let at = self.items.iter().position(|i| !i.builtin).unwrap_or(self.items.len());
        let name = catalogue::short(reference);
        let item = Item {
            reference: reference.into(),
            name,
            builtin: false,
            card: None,
            against: against.into(),
            is_adapter: true,
        };
        self.items.insert(at, item);
        self.asked.insert((reference.into(), against.into()));
        desk.submit(Work::Open(Open { reference: reference.into(), bundle, against: against.into() }));
    }

    /// Asks for the card of an item that has none for this model. Called for the rows in sight only.
    pub fn ask(&mut self, desk: &mut Desk, at: usize, against: &str) {
        let Some(item) = self.items.get(at) else { return };
        let settled = item.card.is_some() && (item.against == against || !item.is_adapter());
        if !settled && self.asked.insert((item.reference.clone(), against.into())) {
            desk.submit(Work::Open(Open { reference: item.reference.clone(), bundle: None, against: against.into() }));
        }
    }

    /// Takes a card in.
    pub fn learn(&mut self, reference: &str, against: String, card: Result<Card, String>) {
        // Asking again later is right: the file or the model may have changed.
        self.asked.remove(&(reference.to_string(), against.clone()));
        if let Some(item) = self.items.iter_mut().find(|i| i.reference == reference) {
            item.card = Some(card);
            item.against = against;
        }
    }

    /// Takes an added item off the shelf.
    pub fn remove(&mut self, reference: &str) {
        self.items.retain(|i| i.builtin || i.reference != reference);
    }

    /// Places of the items that contain every word of `search`, all of them when it is empty. What does not match a search is not shown
    /// then, but nothing is ever hidden for not fitting.
    pub fn matching(&self, search: &str) -> Vec<usize> {
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        let hit = |item: &Item| {
            let mut text = format!("{} {} {}", item.name, item.line(), item.triggers().join(" ")).to_lowercase();
            text.push_str(if item.is_adapter() { " adapter" } else { " model" });
            words.iter().all(|w| text.contains(w))
        };
        (0..self.items.len()).filter(|i| hit(&self.items[*i])).collect()
    }

    /// References of models: what can be a base or be mixed in.
    pub fn models(&self) -> Vec<(String, String)> {
        let models = self.items.iter().filter(|i| !i.is_adapter() && !matches!(i.card, Some(Err(_))));
        models.map(|i| (i.reference.clone(), i.name.clone())).collect()
    }
}
