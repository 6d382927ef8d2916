//! What there is to mix: built-in and added models and adapters, each with its card once its header was read.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use admix_engine::files::Bundle;
use admix_engine::metadata::{Candidate, Wanted};
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
    /// What searches look through, put together when it is first needed.
    words: OnceCell<String>,
    /// Its bytes, where it has no path.
    bundle: Option<Bundle>,
}

impl Item {
    fn new(reference: String, builtin: bool, is_adapter: bool) -> Item {
        let (name, against, words) = (catalogue::short(&reference), String::new(), OnceCell::new());
        Item { reference, name, builtin, card: None, against, is_adapter, words, bundle: None }
    }

    /// True when it holds all that a picture needs, as far as is known: only then can it be model A.
    pub fn is_whole(&self) -> bool {
        match &self.card {
            Some(Ok(Card::Model(m))) => m.lacks.is_none() && m.trouble.is_none(),
            Some(_) => false,
            None => !self.is_adapter,
        }
    }

    /// What decides where it is listed: whole, an adapter, of no use.
    fn listed(&self) -> [bool; 3] {
        [self.is_whole(), self.is_adapter(), matches!(self.card, Some(Err(_)))]
    }

    fn words(&self) -> &str {
        self.words.get_or_init(|| {
            let kind = if self.is_adapter() { "adapter" } else { "model" };
            format!("{} {} {} {kind}", self.name, self.line(), self.triggers().join(" ")).to_lowercase()
        })
    }

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
            // The row is its name already, and the reason is what people look for.
            Some(Err(error)) => {
                let reason = error.strip_prefix(self.reference.as_str()).unwrap_or(error);
                format!("unreadable, why? {}", reason.trim_start_matches([':', ' ']))
            }
            Some(Ok(Card::Model(m))) => {
                let parameters = match m.parameters {
                    n if n >= 1_000_000_000 => format!("{:.2} B", n as f64 / 1e9),
                    n => format!("{:.1} M", n as f64 / 1e6),
                };
                let part = m.lacks.as_ref().map_or("", |_| "to mix in - ");
                format!("{part}{} - {parameters} weights, {}", m.family, m.dtype)
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
    /// Everything, built-in first. Change it through the methods only: they keep what is derived from it.
    pub items: Vec<Item>,
    asked: HashSet<(String, String)>,
    places: HashMap<String, usize>,
    lists: OnceCell<Lists>,
    found: Option<(String, Rc<Vec<usize>>)>,
}

/// References with names for people.
type Names = Rc<Vec<(String, String)>>;

/// What choices offer.
struct Lists {
    bases: Names,
    models: Names,
    adapters: Names,
}

/// Cards asked for at once.
const MOST_ASKED: usize = 24;

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
            self.places.insert(reference.clone(), self.items.len());
            self.items.push(Item::new(reference, builtin, is_adapter));
        }
    }

    /// Everything derived from the items is made anew.
    fn changed(&mut self) {
        self.places = self.items.iter().enumerate().map(|(i, item)| (item.reference.clone(), i)).collect();
        self.lists = OnceCell::new();
        self.found = None;
    }

    /// The added files that will still be there after a restart.
    pub fn to_save(&self) -> SavedShelf {
        let lasting = self.items.iter().filter(|i| !i.builtin && !i.reference.starts_with("drop:"));
        SavedShelf(lasting.map(|i| i.reference.clone()).collect())
    }

    /// The item of a reference.
    pub fn find(&self, reference: &str) -> Option<&Item> {
        self.items.get(self.place(reference)?)
    }

    /// The place of a reference among the items.
    pub fn place(&self, reference: &str) -> Option<usize> {
        self.places.get(if reference == "builtin" { "builtin:mini" } else { reference }).copied()
    }

    /// Puts a file on the shelf, on top of those added before, and asks for its card.
    pub fn add(&mut self, desk: &mut Desk, reference: &str, bundle: Option<Bundle>, against: &str) {
        self.items.retain(|i| i.reference != reference);
        let at = self.items.iter().position(|i| !i.builtin).unwrap_or(self.items.len());
        let item = Item::new(reference.into(), false, true);
        self.items.insert(at, Item { against: against.into(), bundle: bundle.clone(), ..item });
        self.changed();
        self.asked.insert((reference.into(), against.into()));
        desk.submit(Work::Open(Open { reference: reference.into(), bundle, against: against.into() }));
    }

    /// Everything, for looking for files by name or checksum: a person's own files first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate = |item: &Item| Candidate {
            reference: item.reference.clone(),
            kind: match &item.card {
                Some(Ok(Card::Adapter(_))) => Some(Wanted::Adapter),
                Some(Ok(Card::Model(_))) => Some(Wanted::Model),
                // Files that were only found are all taken for adapters at first.
                _ if !item.builtin => None,
                _ if item.is_adapter => Some(Wanted::Adapter),
                _ => Some(Wanted::Model),
            },
            bundle: item.bundle.clone(),
        };
        let (builtin, own): (Vec<&Item>, Vec<&Item>) = self.items.iter().partition(|i| i.builtin);
        own.into_iter().chain(builtin).map(candidate).collect()
    }

    /// Puts a file that was found at the end of the shelf; its header is read when its row comes into sight.
    pub fn discover(&mut self, reference: &str) {
        if self.find(reference).is_none() {
            self.push(reference.into(), false, true);
            self.lists = OnceCell::new();
            self.found = None;
        }
    }

    /// Asks for the card of an item that has none for this model. Called for the rows in sight only.
    pub fn ask(&mut self, desk: &mut Desk, at: usize, against: &str) {
        let Some(item) = self.items.get(at) else { return };
        let settled = item.card.is_some() && (item.against == against || !item.is_adapter());
        if !settled && self.asked.insert((item.reference.clone(), against.into())) {
            desk.submit(Work::Open(Open { reference: item.reference.clone(), bundle: None, against: against.into() }));
        }
    }

    /// Asks for the cards of items out of sight, so that a search finds them by type and trigger too; a few at a time, for the engine has other
    /// work. How many are read, while some are not.
    pub fn read_on(&mut self, desk: &mut Desk, against: &str) -> Option<usize> {
        let read = self.items.iter().filter(|i| i.card.is_some()).count();
        if read == self.items.len() {
            return None;
        }
        // Files are read before pictures are made: whoever waits for one must not wait for ten thousand headers.
        let most = if desk.waiting() > 0 { 0 } else { MOST_ASKED };
        let room = most.saturating_sub(self.asked.len());
        let unread = (0..self.items.len()).filter(|at| {
            let item = &self.items[*at];
            item.card.is_none() && !self.asked.contains(&(item.reference.clone(), against.to_string()))
        });
        let unread: Vec<usize> = unread.take(room).collect();
        unread.into_iter().for_each(|at| self.ask(desk, at, against));
        Some(read)
    }

    /// Takes a card in.
    pub fn learn(&mut self, reference: &str, against: String, card: Result<Card, String>) {
        // Asking again later is right: the file or the model may have changed.
        self.asked.remove(&(reference.to_string(), against.clone()));
        if let Some(item) = self.places.get(reference).and_then(|at| self.items.get_mut(*at)) {
            let before = item.listed();
            (item.card, item.against, item.words) = (Some(card), against, OnceCell::new());
            // Ten thousand names are not listed anew for every card that says what was assumed.
            if item.listed() != before {
                self.lists = OnceCell::new();
            }
            self.found = None;
        }
    }

    /// Takes an added item off the shelf.
    pub fn remove(&mut self, reference: &str) {
        self.items.retain(|i| i.builtin || i.reference != reference);
        self.changed();
    }

    /// Places of the items that contain every word of `search`, all of them when it is empty. What does not match a search is not shown
    /// then, but nothing is ever hidden for not fitting.
    pub fn matching(&mut self, search: &str) -> Rc<Vec<usize>> {
        if let Some((_, found)) = self.found.as_ref().filter(|(of, _)| of == search) {
            return found.clone();
        }
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        let hit = |item: &Item| words.is_empty() || words.iter().all(|w| item.words().contains(w.as_str()));
        let found = Rc::new((0..self.items.len()).filter(|i| hit(&self.items[*i])).collect::<Vec<_>>());
        self.found = Some((search.into(), found.clone()));
        found
    }

    fn lists(&self) -> &Lists {
        self.lists.get_or_init(|| {
            let all = |keep: &dyn Fn(&Item) -> bool| -> Names {
                let kept = self.items.iter().filter(|i| keep(i) && !matches!(i.card, Some(Err(_))));
                Rc::new(kept.map(|i| (i.reference.clone(), i.name.clone())).collect())
            };
            Lists {
                bases: all(&|i| i.is_whole()),
                models: all(&|i| !i.is_adapter()),
                adapters: all(&|i| i.is_adapter()),
            }
        })
    }

    /// Models that hold all that a picture needs: what can be model A.
    pub fn bases(&self) -> Names {
        self.lists().bases.clone()
    }

    /// All models, those of a U-Net alone too: what can be mixed in.
    pub fn models(&self) -> Names {
        self.lists().models.clone()
    }

    /// All adapters.
    pub fn adapters(&self) -> Names {
        self.lists().adapters.clone()
    }

    /// Adapters that came one by one: neither built in nor in a folder that is watched.
    pub fn loose(&self, watched: &[std::path::PathBuf]) -> Vec<String> {
        let is_watched = |reference: &str| watched.iter().any(|f| std::path::Path::new(reference).starts_with(f));
        let loose = self.items.iter().filter(|i| !i.builtin && i.is_adapter() && !matches!(i.card, Some(Err(_))));
        loose.map(|i| i.reference.clone()).filter(|reference| !is_watched(reference)).collect()
    }

    /// Many rows, for tests of how quickly they are drawn.
    #[cfg(test)]
    pub fn fill(&mut self, references: impl Iterator<Item = String>) {
        for reference in references {
            self.push(reference, false, true);
        }
        self.changed();
    }
}
