//! Libraries as one list of entries, wherever their files are.

use crate::card::Entry;
use crate::home::Home;
use crate::library::Target;
use crate::place::Place;
use crate::stated;
use admix_files::checkpoint::{Checkpoint, ModelFamily};

/// What was found where.
#[derive(Default)]
pub struct Shelf {
    /// All adapters.
    pub entries: Vec<Entry>,
    /// Where each entry's files are.
    pub places: Vec<Place>,
    /// What keeps a person's words on each entry.
    pub homes: Vec<Home>,
    /// One line for each thing a person should know: files passed over, folders that cannot be written.
    pub notes: Vec<String>,
}

impl Shelf {
    /// Adds one.
    pub fn put(&mut self, entry: Entry, place: Place, home: Home) {
        self.entries.push(entry);
        self.places.push(place);
        self.homes.push(home);
    }

    /// Adds everything of another shelf behind what is there.
    pub fn append(&mut self, mut other: Shelf) {
        self.entries.append(&mut other.entries);
        self.places.append(&mut other.places);
        self.homes.append(&mut other.homes);
        self.notes.append(&mut other.notes);
    }

    /// Gives copies of the built-in adapters on this shelf their cards.
    pub fn adopt_shipped(&mut self) {
        let shipped: Vec<Entry> =
            self.entries.iter().filter(|e| e.reference.starts_with("builtin:")).cloned().collect();
        stated::adopt(&mut self.entries, &shipped);
    }
}

/// The class of a checkpoint, as cards name it.
pub fn target(model: &Checkpoint) -> Target {
    let family = (model.family != ModelFamily::Other).then(|| model.family.id().to_owned());
    Target { family, context: model.unet.as_ref().map(|unet| unet.cross_attention(0)) }
}
